//! `qpq group invite`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;

/// Add people to a group. They are in at once, there is nothing to accept.
#[derive(Args)]
pub struct Invite {
    /// The group (in the REPL the current one if left out), and whom to add.
    #[arg(value_name = "#GROUP @USER", required = true)]
    words: Vec<String>,
}

impl Invite {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let (group, words) = super::subject(ctx, &self.words)?;
        let people = super::people(ctx, words)?;
        let identities: Vec<_> = people.iter().map(|contact| contact.identity).collect();
        let wish = client.invite(group, &identities)?;
        super::carried_out(ctx, wish)?;
        super::show(ctx, group, "group_invited", &format!("added {}", super::names(&people)))
    }
}
