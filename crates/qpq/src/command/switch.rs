//! `/switch`

use clap::Args;
use qpq_client::{ConversationId, Error};

use super::repl_only;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::repl::session;
use crate::target::Target;

/// Go to another conversation.
#[derive(Args)]
pub struct Switch {
    /// A person, a group, or a number of /list.
    #[arg(value_name = "@USER|#GROUP|NUMBER")]
    conversation: Target,
}

impl Switch {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        if ctx.session.is_none() {
            return Err(repl_only("switch"));
        }
        let id = match &self.conversation {
            Target::User(user) => existing(user.name().as_str(), ctx)?,
            Target::Group(_) | Target::Number(_) => None,
        };
        let id = match id {
            Some(id) => id,
            None => self.conversation.resolve(ctx)?,
        };
        session::open(ctx, id)
    }
}

/// A direct conversation that is already in the list needs no question to the server.
fn existing(name: &str, ctx: &mut Ctx) -> Result<Option<ConversationId>, Error> {
    let Ok(client) = ctx.client() else { return Ok(None) };
    let direct = |id| matches!(id, ConversationId::Direct(_));
    let found = client.conversations()?.into_iter().find(|one| direct(one.id) && one.title == name);
    Ok(found.map(|one| one.id))
}
