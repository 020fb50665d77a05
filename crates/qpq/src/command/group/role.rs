//! `qpq group role`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;

/// Make somebody an admin of a group, or an ordinary member again.
#[derive(Args)]
pub struct Role {
    /// The group (in the REPL the current one if left out), whom, and `admin` or `member`.
    #[arg(value_name = "#GROUP @USER admin|member", required = true)]
    words: Vec<String>,
}

impl Role {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let (group, words) = super::subject(ctx, &self.words)?;
        let (is_admin, people) = match words.split_last() {
            Some((role, people)) if role == "admin" => (true, people),
            Some((role, people)) if role == "member" => (false, people),
            Some(_) | None => return Err(Failure::Usage("the role is `admin` or `member`".into())),
        };
        let people = super::people(ctx, people)?;
        for contact in &people {
            let wish = client.set_admin(group, contact.identity, is_admin)?;
            super::carried_out(ctx, wish)?;
        }
        let role = if is_admin { "admin" } else { "member" };
        super::show(ctx, group, "group_role", &format!("{}: {role}", super::names(&people)))
    }
}
