//! `qpq send-file`; in the REPL `/send-file PATH`.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, ValueHint};
use qpq_client::{Body, Error};

use super::send;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::output::bar::Bar;
use crate::repl::chat;
use crate::target::{self, Target};
use crate::view::{content, json, sanitize};

/// Send a file, and wait until the server has it and the message about it on disk.
///
/// It is encrypted here, under a key of its own; the server learns about how large it is and nothing else. After an
/// interruption of any kind the same command goes on where it stopped, as long as the file has the same content. Without
/// a connection for as long as --timeout the exit code is 3.
#[derive(Args)]
pub struct SendFile {
    /// A person or a group (in the REPL the current conversation if left out), and the file.
    #[arg(value_name = "@USER|#GROUP PATH", required = true, num_args = 1..=2, value_hint = ValueHint::FilePath)]
    words: Vec<OsString>,
}

impl SendFile {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let (to, rest) = target::split(&self.words);
        let [path] = rest else { return Err(Failure::Usage("name one file".into())) };
        let path = target::path(path, ctx);
        // Before anything else, so that a misspelled name is told at once.
        std::fs::metadata(&path)
            .map_err(|error| Failure::Refused(format!("cannot read {}: {error}", path.display())))?;
        let client = ctx.connected()?;
        let to: Option<Target> = to.map(|to| to.parse().map_err(Failure::Usage)).transpose()?;
        let id = match to {
            Some(to) => to.resolve(ctx)?,
            None => ctx.current()?,
        };
        let mut bar = Bar::new(&ctx.output, &ctx.signals, &file_name(&path));
        let sent = client.send_file(id, &path, None, ctx.whole_timeout(), &mut |progress| bar.show(progress));
        drop(bar);
        if ctx.session.is_some() {
            ctx.signals.forget_interrupt();
        }
        let message = sent.map_err(go_on_later)?;
        ctx.begin();
        if ctx.session.is_some() {
            return chat::sent(ctx, id, message);
        }
        send::confirm(ctx, id, message)?;
        // It may have been taken back meanwhile.
        let Some(Body::Attachment(file)) = client.sent_message(id, message)?.map(|message| message.content.body) else {
            return Ok(());
        };
        let what = format!("{}, {}", content::size(file.size), file.media_type);
        ctx.output.say(&format!("{} ({what})\nSHA-256 {}", sanitize::name(&file.name, 60), json::hex(&file.sha256)))
    }
}

/// What was begun is remembered.
fn go_on_later(error: Error) -> Failure {
    match error {
        Error::Offline(reason) => Failure::Offline(format!(
            "the server cannot be reached ({reason}); the file was not sent yet, the same command goes on where it stopped"
        )),
        Error::TimedOut(waited) => Failure::Offline(format!(
            "the server did not take more of the file for {} s; it was not sent yet, the same command goes on where it \
             stopped",
            waited.as_secs()
        )),
        other => other.into(),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
