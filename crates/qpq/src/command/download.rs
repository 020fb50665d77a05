//! `qpq download`; in the REPL `/download N [DIR]`.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueHint};
use qpq_client::{Destination, Error, safe_name};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::output::bar::Bar;
use crate::target::{self, Target};
use crate::view::json::{self, DownloadLine};
use crate::view::{content, sanitize};

/// Save the file of a message, and check that it is what its sender sent.
///
/// It is written to the directory and nowhere else, whatever its name; what is there already is not replaced without
/// asking. After an interruption the same command goes on where it stopped.
#[derive(Args)]
pub struct Download {
    /// A person or a group (in the REPL the current conversation if left out), the number of the message, and the
    /// directory if it is not the current one.
    #[arg(value_name = "@USER|#GROUP N [DIR]", required = true, num_args = 1..=3)]
    words: Vec<OsString>,
    /// The directory.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    to: Option<PathBuf>,
    /// Replace a file of the same name.
    #[arg(long)]
    force: bool,
}

impl Download {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let (from, rest) = target::split(&self.words);
        let (number, directory) = match rest {
            [number] => (number, self.to),
            [number, directory] if self.to.is_none() => (number, Some(target::path(directory, ctx))),
            _ => return Err(Failure::Usage("name one message and at most one directory".into())),
        };
        let number: u64 = number.to_str().and_then(|number| number.parse().ok()).ok_or_else(|| {
            Failure::Usage("a message is named by its number, which stands beside it in `history`".into())
        })?;
        let from: Option<Target> = from.map(|from| from.parse().map_err(Failure::Usage)).transpose()?;
        let id = match from {
            Some(from) => from.existing(ctx)?,
            None => ctx.current()?,
        };
        let directory = directory.unwrap_or_else(|| PathBuf::from("."));
        let file = ctx.client()?.attachment(id, number)?;
        let mut into = Destination { directory, name: None, replace: self.force };
        if !decide(ctx, &file.name, &mut into)? {
            return Err(Failure::Refused("nothing was downloaded".into()));
        }
        let client = ctx.connected()?;
        let mut bar = Bar::new(&ctx.output, &ctx.signals, &file.name);
        let outcome = client.download(id, number, &into, ctx.whole_timeout(), &mut |progress| bar.show(progress));
        drop(bar);
        if ctx.session.is_some() {
            ctx.signals.forget_interrupt();
        }
        let saved = outcome.map_err(go_on_later)?;
        let sha256 = json::hex(&saved.sha256);
        let path = saved.path.display().to_string();
        let text = format!("saved {} ({})\nSHA-256 {sha256}", sanitize::line(&path), content::size(saved.size));
        ctx.output.show(&DownloadLine { kind: "download", path, size: saved.size, sha256 }, &text)
    }
}

/// Asks a person what to do about a file that is there. False: nothing. Programs are refused later on.
fn decide(ctx: &Ctx, name: &str, into: &mut Destination) -> Result<bool, Failure> {
    let asks = !ctx.output.json && io::stdin().is_terminal() && io::stderr().is_terminal();
    let mut name = safe_name(name);
    while asks && !into.replace && into.directory.join(&name).symlink_metadata().is_ok() {
        let question =
            format!("{} is there already; replace it? [y]es, [N]o, or another name: ", sanitize::line(&name));
        match answer(&question)?.as_str() {
            "y" | "Y" | "yes" => into.replace = true,
            "" | "n" | "N" | "no" => return Ok(false),
            other => {
                name = safe_name(other);
                into.name = Some(name.clone());
            }
        }
    }
    Ok(true)
}

fn answer(question: &str) -> Result<String, Failure> {
    let mut stderr = io::stderr();
    let _ = write!(stderr, "{question}").and_then(|()| stderr.flush());
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    read.map_err(|error| Failure::Refused(format!("cannot read the answer: {error}")))?;
    Ok(line.trim().to_owned())
}

fn go_on_later(error: Error) -> Failure {
    match error {
        Error::Offline(reason) => Failure::Offline(format!(
            "the server cannot be reached ({reason}); the same command goes on where the download stopped"
        )),
        Error::TimedOut(waited) => Failure::Offline(format!(
            "the server sent nothing for {} s; the same command goes on where the download stopped",
            waited.as_secs()
        )),
        other => other.into(),
    }
}
