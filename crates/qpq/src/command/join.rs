//! `/join`

use clap::Args;

use super::repl_only;
use crate::context::Ctx;
use crate::exit::Failure;

/// Being invited is enough: there is nothing to accept. Lists the groups that you were added to lately.
#[derive(Args)]
pub struct Join {
    #[arg(hide = true)]
    group: Vec<String>,
}

impl Join {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let Some(session) = &ctx.session else { return Err(repl_only("join")) };
        let joined = session.shared.joined();
        ctx.output.say("you are in a group as soon as a member invites you; there is no joining without invitation")?;
        if joined.is_empty() {
            return ctx.output.say("nobody has added you to a group since this began; /list shows all conversations");
        }
        ctx.output.say(&format!("you were added to {}; go there with /switch", joined.join(", ")))
    }
}
