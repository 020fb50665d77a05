//! `/react`

use clap::Args;

use crate::context::Ctx;
use crate::emoji;
use crate::exit::Failure;
use crate::view::sanitize;

/// React to a message with an emoji, or take that back.
#[derive(Args)]
pub struct React {
    /// The conversation (in the REPL the current one), the message's number, and an emoji: 👍 or :+1:
    #[arg(value_name = "@USER|#GROUP NUMBER EMOJI", required = true)]
    words: Vec<String>,
    /// Take the reaction back.
    #[arg(long, short)]
    remove: bool,
}

impl React {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let (id, number, rest) = super::subject(ctx, &self.words)?;
        let typed = rest.trim();
        if typed.is_empty() {
            return Err(Failure::Usage("say with which emoji, such as 👍 or :+1:".into()));
        }
        let emoji = emoji::named(typed).unwrap_or(typed);
        let wish = client.react(id, number, emoji, self.remove)?;
        let shown = sanitize::name(emoji, 8);
        let said = match self.remove {
            false => format!("reacted with {shown} to {number}"),
            true => format!("took {shown} back from {number}"),
        };
        super::done(ctx, Some(wish), "react", (id, number), &said)
    }
}
