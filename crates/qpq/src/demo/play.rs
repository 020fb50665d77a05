//! The demo at a terminal: the REPL, with the conversation with @echo open.

use super::bot::Bot;
use super::world::World;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::repl;

pub fn run(ctx: &mut Ctx, world: &World) -> Result<(), Failure> {
    ctx.output.note("starting a server and making two accounts…");
    let you = ctx.adopt(world.register("you")?);
    let echo = Bot::start(world.register("echo")?, you.whoami()?.name)?;
    banner(ctx, world)?;
    let outcome = repl::run(ctx, Some("/dm @echo"));
    outcome.and(echo.finish())
}

fn banner(ctx: &Ctx, world: &World) -> Result<(), Failure> {
    let theme = ctx.output.theme;
    ctx.output.line(&format!(
        "{}: a server on {}, a bot @echo, and you, all in this process",
        theme.bold("quicproquo demo"),
        world.address(),
    ))?;
    ctx.output.line("type a message; /help shows the commands, Ctrl-D leaves, and nothing stays on the disk\n")
}
