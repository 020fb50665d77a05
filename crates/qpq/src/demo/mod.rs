//! `qpq demo`: a server, a bot and you, all in this process and on the loopback interface.
//!
//! Everything that is written lies in one temporary directory, which goes when this ends, however it ends politely.

mod bot;
mod play;
mod side;
mod tour;
mod world;

use std::io::{self, IsTerminal as _};

use self::world::World;
use crate::context::Ctx;
use crate::exit::Failure;

/// At a terminal a REPL with company, otherwise the scripted tour.
pub fn run(ctx: &mut Ctx) -> Result<(), Failure> {
    ctx.signals.listen();
    let world = World::start()?;
    let outcome = if io::stdin().is_terminal() && ctx.output.is_terminal && !ctx.output.json {
        play::run(ctx, &world)
    } else {
        tour::run(ctx, &world)
    };
    // The profiles have to be closed before their directory goes.
    ctx.close();
    outcome.and(world.stop())
}
