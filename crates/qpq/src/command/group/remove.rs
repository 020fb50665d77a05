//! `qpq group remove`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;

/// Remove somebody from a group.
#[derive(Args)]
pub struct Remove {
    /// The group (in the REPL the current one if left out), and whom to remove.
    #[arg(value_name = "#GROUP @USER", required = true)]
    words: Vec<String>,
}

impl Remove {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let (group, words) = super::subject(ctx, &self.words)?;
        let people = super::people(ctx, words)?;
        for contact in &people {
            let wish = client.remove(group, contact.identity)?;
            super::carried_out(ctx, wish)?;
        }
        super::show(ctx, group, "group_removed", &format!("removed {}", super::names(&people)))
    }
}
