//! `qpq send`

use std::io::{self, Read as _};

use clap::Args;
use qpq_client::{ConversationId, Error, MessageId, limits};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::repl::chat;
use crate::target::Target;
use crate::view::conversation;
use crate::view::json::{self, SendLine};

/// Send a message, and wait until the server has it on disk.
///
/// When the server cannot be reached the message is stored, goes out with the next connection, and the exit code is 3.
#[derive(Args)]
pub struct Send {
    /// A person or a group (quote the # in most shells).
    #[arg(value_name = "@USER|#GROUP")]
    to: Target,
    /// The text; `-` reads it from standard input.
    #[arg(allow_hyphen_values = true)]
    text: String,
}

impl Send {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let text = if self.text == "-" { from_stdin()? } else { self.text };
        if text.trim().is_empty() {
            return Err(Error::BadInput("there is no text to send".into()).into());
        }
        let client = ctx.connected()?;
        let id = self.to.resolve(ctx)?;
        let message = client.send_text(id, &text)?;
        confirm(ctx, id, message)
    }
}

/// Waits until the server has the message, and says so.
pub fn confirm(ctx: &mut Ctx, id: ConversationId, message: MessageId) -> Result<(), Failure> {
    let client = ctx.client()?;
    let conversation = ctx.conversation(id)?;
    let stored = chat::find(&client, id, message)?;
    let line = |status| SendLine::of(message, json::address(&conversation), status, stored.as_ref());
    match ctx.wait("waiting for the server", |slice| client.wait_sent(message, slice)) {
        Ok(()) => ctx.output.show(&line("sent"), &format!("sent to {}", conversation::label(&conversation))),
        Err(Failure::Client(Error::Offline(_) | Error::TimedOut(_))) => {
            if ctx.output.json {
                ctx.output.line(&json::line(&line("waiting")))?;
            }
            let why = client.status()?.detail;
            let text = format!(
                "the server did not confirm the message in time ({why}); it is stored and goes out with the next \
                 connection, for example with `qpq sync`"
            );
            Err(Failure::Offline(text))
        }
        Err(failure) => Err(failure),
    }
}

/// The whole input without its last newline. Reads no more than can be sent.
fn from_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let limit = limits::TEXT as u64 + 2;
    let read = io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Refused(format!("cannot read standard input: {error}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::Refused("standard input is not UTF-8 text of at most 64 KiB".into()))?;
    Ok(text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text).to_owned())
}
