//! The REPL: lines in, messages out, at the same time.
//!
//! With a terminal a line editor reads; without one, lines come from standard input. Either way a second thread prints
//! what arrives, and acknowledges it when it has been printed.

pub mod chat;
pub mod session;
pub mod shared;
pub mod slash;
mod split;

mod complete;
mod highlight;
mod hint;
pub mod paths;
mod prompt;

mod feed;
mod interactive;
mod piped;
mod printer;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use qpq_client::{Client, Error};

use self::session::Session;
use self::shared::Shared;
use self::slash::Line;
use crate::context::Ctx;
use crate::exit::Failure;

/// Runs until somebody quits or the input ends. `first` is a line that is carried out before any other.
pub fn run(ctx: &mut Ctx, first: Option<&str>) -> Result<(), Failure> {
    let client = ctx.client().map_err(first_start)?;
    let is_interactive = io::stdin().is_terminal() && ctx.output.is_terminal && !ctx.output.json;
    let me = client.whoami()?;
    let shared = Arc::new(Shared::new(me.name.to_string()));
    if is_interactive { interactive::run(ctx, &client, shared, first) } else { piped::run(ctx, &client, shared) }
}

/// What somebody needs to know who has just installed this.
fn first_start(failure: Failure) -> Failure {
    match failure {
        Failure::Client(Error::NoProfile(home)) => Failure::Refused(format!(
            "there is no profile in {home}; make one with `qpq register NAME`, use another one with --home, or look \
             around first with `qpq demo`"
        )),
        failure => failure,
    }
}

/// Carries out one line. Whatever was typed as a message and could not be sent is kept.
fn execute(ctx: &mut Ctx, line: &str) -> Result<(), Failure> {
    ctx.begin();
    match slash::parse(line).map_err(Failure::Refused)? {
        Line::Empty => Ok(()),
        Line::Command(command) => command.run(ctx),
        Line::Text(text) => chat::send(ctx, &text).inspect_err(|_| {
            if let Some(session) = &mut ctx.session {
                session.draft = Some(line.to_owned());
            }
        }),
    }
}

/// Brings prompt and completion up to date.
fn refresh(client: &Client, session: &Session) -> Result<(), Error> {
    let conversations = client.conversations()?;
    let contacts = client.contacts()?;
    let status = client.status()?;
    session.shared.update(&conversations, &contacts, status.online);
    Ok(())
}
