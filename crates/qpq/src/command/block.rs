//! `/block` and `/unblock`

use clap::Args;
use qpq_client::{ConversationId, IdentityId};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::target::User;
use crate::view::json::{self, ContactLine};

/// Hear nothing of somebody any more: no messages, no requests, and nothing goes to them.
#[derive(Args)]
pub struct Block {
    /// The person; in the REPL the one you are talking with.
    #[arg(value_name = "@USER")]
    user: Option<User>,
}

/// Hear of somebody again.
#[derive(Args)]
pub struct Unblock {
    #[arg(value_name = "@USER")]
    user: User,
}

impl Block {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let who = match &self.user {
            Some(user) => identity(ctx, user)?,
            None => match ctx.current()? {
                ConversationId::Direct(who) => who,
                ConversationId::Group(_) => return Err(Failure::Usage("say whom: /block @user".into())),
            },
        };
        set(ctx, who, true)
    }
}

impl Unblock {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let who = identity(ctx, &self.user)?;
        set(ctx, who, false)
    }
}

/// Whoever is known needs no question to the server.
fn identity(ctx: &mut Ctx, user: &User) -> Result<IdentityId, Failure> {
    match user.known(ctx)? {
        Some(contact) => Ok(contact.identity),
        None => {
            ctx.connected()?;
            Ok(user.resolve(ctx)?.identity)
        }
    }
}

fn set(ctx: &mut Ctx, who: IdentityId, is_blocked: bool) -> Result<(), Failure> {
    let client = ctx.client()?;
    client.block(who, is_blocked)?;
    let contact = client.contacts()?.into_iter().find(|contact| contact.identity == who);
    let name = contact.as_ref().map_or_else(|| who.short(), crate::view::people::name);
    let line = ContactLine {
        kind: if is_blocked { "blocked" } else { "unblocked" },
        name: name.clone(),
        identity: who.to_string(),
        trust: contact.as_ref().map_or("unverified", |contact| json::trust(contact.trust)),
        replaced_by: None,
    };
    let said = match is_blocked {
        true => format!("@{name} is blocked: you hear nothing of them; /unblock @{name} takes it back"),
        false => format!("@{name} is not blocked any more; what they wrote meanwhile is not shown"),
    };
    ctx.output.show(&line, &said)
}
