//! `qpq demo`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;

/// The two-minute tour: a server and a bot in this process, and you in the REPL with them.
///
/// Nothing is configured and nothing is kept: everything lives in a temporary directory, on the loopback interface.
/// Without a terminal it plays the tour by itself, prints what each side sees, and exits with 0 when everything worked.
#[derive(Args)]
pub struct Demo {}

impl Demo {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        crate::demo::run(ctx)
    }
}
