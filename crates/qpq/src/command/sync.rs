//! `qpq sync`

use clap::Args;
use qpq_client::Error;

use crate::command::go_on_with_history;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::json::{self, SyncLine};

/// Connect, send what waits, take what is there, and exit.
#[derive(Args)]
pub struct Sync {}

impl Sync {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.client()?;
        client.connect();
        let settled = ctx.wait("waiting for the server", |slice| client.wait_settled(slice));
        if settled.is_ok() {
            go_on_with_history(ctx, &client)?;
        }
        let status = client.status()?;
        let line = SyncLine::of(&status);
        match settled {
            Ok(()) => ctx.output.show(&line, &format!("up to date, {} unread", status.unread)),
            Err(Failure::Client(error @ (Error::Offline(_) | Error::TimedOut(_)))) => {
                if ctx.output.json {
                    ctx.output.line(&json::line(&line))?;
                }
                Err(error.into())
            }
            Err(failure) => Err(failure),
        }
    }
}
