//! `/requests` and `/accept`: conversations that strangers began.

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::target::Target;
use crate::view::json;
use crate::view::{content, conversation};

/// List the conversations that strangers began.
///
/// They can be read (/switch). Nothing leaves this device for them until you accept or write.
#[derive(Args)]
pub struct Requests {}

impl Requests {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let all = ctx.client()?.conversations()?;
        let requests: Vec<_> = all.into_iter().filter(|one| one.is_request).collect();
        if ctx.output.json {
            return requests.iter().try_for_each(|one| ctx.output.line(&json::line(&json::conversation(one))));
        }
        if requests.is_empty() {
            return ctx.output.line("no requests");
        }
        for one in &requests {
            let last = one.last.as_ref().map(|message| content::preview(&message.content)).unwrap_or_default();
            ctx.output.line(&format!("{}  {last}", conversation::label(one)))?;
        }
        ctx.output.line("read one with /switch, take it up with /accept, or /block @user")
    }
}

/// Take up a conversation that a stranger began.
#[derive(Args)]
pub struct Accept {
    /// The conversation; in the REPL the current one.
    #[arg(value_name = "@USER|#GROUP")]
    conversation: Option<Target>,
}

impl Accept {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let id = match &self.conversation {
            Some(target) => target.existing(ctx)?,
            None => ctx.current()?,
        };
        ctx.client()?.accept(id)?;
        let accepted = ctx.conversation(id)?;
        ctx.output.show(&json::conversation(&accepted), &format!("{} is accepted", conversation::label(&accepted)))
    }
}
