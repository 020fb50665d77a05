//! `/dm`

use clap::Args;

use super::repl_only;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::repl::{chat, session};
use crate::target::{Target, User};

/// Open the direct conversation with somebody (with yourself: a notepad), and say something if there is a text.
#[derive(Args)]
pub struct Dm {
    #[arg(value_name = "@USER")]
    user: User,
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    text: Vec<String>,
}

impl Dm {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        if ctx.session.is_none() {
            return Err(repl_only("dm"));
        }
        let text = self.text.join(" ");
        let id = Target::User(self.user).resolve(ctx)?;
        session::open(ctx, id)?;
        if text.trim().is_empty() { Ok(()) } else { chat::send(ctx, &text) }
    }
}
