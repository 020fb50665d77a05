//! `qpq repl`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::repl;

/// The REPL: type messages and /commands; what arrives appears while you type.
///
/// Reads commands from a pipe just as from a terminal, and ends with the pipe, after everything has been sent.
#[derive(Args)]
pub struct Repl {}

impl Repl {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        repl::run(ctx, None)
    }
}
