//! `qpq delete-account`

use std::io::{self, BufRead as _, Write as _};

use clap::Args;
use qpq_client::json::AccountDeletedLine;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::target::User;

/// Leave all groups, delete the account at the server, and remove this profile. There is no way back.
///
/// The name is not given to anybody again, so that nobody can pass for you.
#[derive(Args)]
pub struct DeleteAccount {
    /// Your own name, to confirm it.
    #[arg(value_name = "NAME")]
    name: Option<User>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl DeleteAccount {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let me = client.whoami()?.name;
        let typed = match (&self.name, self.yes) {
            (Some(name), _) => name.name().to_string(),
            (None, true) => me.to_string(),
            (None, false) if ctx.session.is_some() => {
                return Err(Failure::Usage(format!("to confirm that, type your name with it: /delete-account {me}")));
            }
            (None, false) => ask(&format!("everything of @{me} will be gone. Type the name to confirm: "))?,
        };
        if typed.trim_start_matches('@') != me.as_str() {
            return Err(Failure::Refused(format!("that is not your name, which is {me}; nothing was deleted")));
        }
        ctx.ask(|timeout| client.delete_account(timeout))?;
        if let Some(session) = &mut ctx.session {
            session.quit = true;
        }
        let text = format!("the account @{me} and this profile are deleted");
        ctx.output.show(&AccountDeletedLine::of(&me), &text)
    }
}

fn ask(question: &str) -> Result<String, Failure> {
    let mut error = io::stderr();
    // A question that cannot be shown is not answered with the name.
    let _ = write!(error, "{question}").and_then(|()| error.flush());
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::Refused(format!("cannot read standard input: {error}")))?;
    Ok(line.trim().to_owned())
}
