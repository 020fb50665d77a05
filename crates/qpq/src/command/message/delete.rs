//! `/delete`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;

/// Take a message of yours back, on all devices of all members.
///
/// Whoever has read it has read it, and a changed client may keep it.
#[derive(Args)]
pub struct Delete {
    /// The conversation (in the REPL the current one), and the message's number.
    #[arg(value_name = "@USER|#GROUP NUMBER", required = true)]
    words: Vec<String>,
}

impl Delete {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let (id, number, _) = super::subject(ctx, &self.words)?;
        let wish = client.take_back(id, number)?;
        let said = match wish {
            Some(_) => format!("took {number} back"),
            None => format!("took {number} back; it had not been sent yet"),
        };
        super::done(ctx, wish, "delete", (id, number), &said)
    }
}
