//! `/reply`

use clap::Args;

use crate::command::send;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::repl::chat;

/// Answer a message.
#[derive(Args)]
pub struct Reply {
    /// The conversation (in the REPL the current one), the message's number, and the text.
    #[arg(
        value_name = "@USER|#GROUP NUMBER TEXT",
        required = true,
        allow_hyphen_values = true,
        trailing_var_arg = true
    )]
    words: Vec<String>,
}

impl Reply {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let (id, number, rest) = super::subject(ctx, &self.words)?;
        let message = client.reply(id, number, &super::text(rest)?)?;
        if ctx.session.is_some() { chat::sent(ctx, id, message) } else { send::confirm(ctx, id, message) }
    }
}
