//! `qpq login`

use clap::Args;
use qpq_client::{Client, Error};

use super::whoami;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::password;
use crate::target::User;

/// Log in with an existing account, into a new profile.
#[derive(Args)]
pub struct Login {
    /// The registered name.
    name: User,
}

impl Login {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let options = ctx.options()?;
        let password = password::existing(&ctx.global)?;
        let name = self.name.name();
        let client = match ctx.ask(|_| Client::login(&options, name, &password)) {
            Err(Failure::Client(Error::WrongPassword)) => return Err(Error::WrongCredentials.into()),
            outcome => outcome?,
        };
        ctx.adopt(client);
        whoami::show(ctx, "logged_in")
    }
}
