//! `/edit`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;

/// Change the text of a message of yours, for everybody.
#[derive(Args)]
pub struct Edit {
    /// The conversation (in the REPL the current one), the message's number, and the new text.
    #[arg(
        value_name = "@USER|#GROUP NUMBER TEXT",
        required = true,
        allow_hyphen_values = true,
        trailing_var_arg = true
    )]
    words: Vec<String>,
}

impl Edit {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let (id, number, rest) = super::subject(ctx, &self.words)?;
        let wish = client.edit(id, number, &super::text(rest)?)?;
        super::done(ctx, Some(wish), "edit", (id, number), &format!("changed {number}"))
    }
}
