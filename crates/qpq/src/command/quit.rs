//! `/quit`

use clap::Args;

use super::repl_only;
use crate::context::Ctx;
use crate::exit::Failure;

/// Leave; nothing is lost.
#[derive(Args)]
pub struct Quit {}

impl Quit {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let Some(session) = &mut ctx.session else { return Err(repl_only("quit")) };
        session.quit = true;
        Ok(())
    }
}
