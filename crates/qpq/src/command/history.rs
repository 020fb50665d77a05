//! `qpq history`

use clap::Args;
use qpq_client::{ConversationId, Message};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::target::Target;
use crate::view::{json, message};

/// Show the stored messages of a conversation, oldest first.
#[derive(Args)]
pub struct History {
    /// A person or a group; in the REPL the current conversation, and a number means --limit.
    #[arg(value_name = "@USER|#GROUP")]
    conversation: Option<Target>,
    /// At most this many of the newest messages.
    #[arg(long, short = 'n', value_name = "N", default_value_t = LIMIT)]
    limit: usize,
    /// Only messages that contain all of these words.
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
}

impl History {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let (id, limit) = match self.conversation {
            None => (ctx.current()?, self.limit),
            Some(Target::Number(limit)) => (ctx.current()?, limit),
            Some(target) => (target.existing(ctx)?, self.limit),
        };
        show(ctx, id, limit, self.search.as_deref())
    }
}

/// Prints messages as `recv` does.
pub fn show(ctx: &mut Ctx, id: ConversationId, limit: usize, search: Option<&str>) -> Result<(), Failure> {
    let messages = ctx.client()?.history(id, None, limit.clamp(1, MOST), search)?;
    if ctx.output.json {
        return print_json(ctx, id, &messages);
    }
    if messages.is_empty() {
        ctx.output.note(if search.is_some() { "nothing found" } else { "no messages yet" });
    }
    message::rows(&messages, &ctx.output.layout()).iter().try_for_each(|row| ctx.output.line(row))
}

fn print_json(ctx: &mut Ctx, id: ConversationId, messages: &[Message]) -> Result<(), Failure> {
    if messages.is_empty() {
        return Ok(());
    }
    let conversation = ctx.conversation(id)?;
    messages.iter().try_for_each(|message| ctx.output.line(&json::message(message, &conversation)))
}

const LIMIT: usize = 50;
/// More than anybody reads, and little enough to hold in memory.
const MOST: usize = 100_000;
