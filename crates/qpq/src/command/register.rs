//! `qpq register`

use clap::Args;
use qpq_client::{Client, Error};

use super::whoami;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::password;
use crate::target::User;

/// Make an identity and register a name at the server.
#[derive(Args)]
pub struct Register {
    /// 1 to 32 of a-z, 0-9, '.', '_' and '-'.
    name: User,
    /// A registration code from the server's operator.
    #[arg(long, value_name = "CODE")]
    invite: Option<String>,
}

impl Register {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let options = ctx.options()?;
        if Client::exists(&options.home) {
            return Err(Error::ProfileExists(options.home.display().to_string()).into());
        }
        let password = password::new(&ctx.global)?;
        let name = self.name.name();
        let client = ctx.ask(|_| Client::register(&options, name, &password, self.invite.as_deref()))?;
        ctx.adopt(client);
        whoami::show(ctx, "registered")?;
        ctx.output.say("next: `qpq repl`, then /dm @somebody")
    }
}
