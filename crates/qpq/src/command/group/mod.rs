//! `qpq group …`; in the REPL `/create-group`, `/invite`, `/remove` and so on.

mod create;
mod info;
mod invite;
mod leave;
mod members;
mod remove;
mod rename;
mod role;
mod update_key;

use clap::Subcommand;
use qpq_client::{Contact, ConversationId, Error, WishId};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::target::{Group, User};
use crate::view::json;

/// Make groups and change them.
#[derive(Subcommand)]
pub enum Command {
    Create(create::Create),
    Invite(invite::Invite),
    Remove(remove::Remove),
    Leave(leave::Leave),
    Rename(rename::Rename),
    Info(info::Info),
    Members(members::Members),
    Role(role::Role),
    UpdateKey(update_key::UpdateKey),
}

impl Command {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        match self {
            Self::Create(command) => command.run(ctx),
            Self::Invite(command) => command.run(ctx),
            Self::Remove(command) => command.run(ctx),
            Self::Leave(command) => command.run(ctx),
            Self::Rename(command) => command.run(ctx),
            Self::Info(command) => command.run(ctx),
            Self::Members(command) => command.run(ctx),
            Self::Role(command) => command.run(ctx),
            Self::UpdateKey(command) => command.run(ctx),
        }
    }
}

/// The group that a command is about, and the other words: on the command line the first word names it, in the REPL it
/// is the current conversation unless the first word names another one.
fn subject<'a>(ctx: &mut Ctx, words: &'a [String]) -> Result<(ConversationId, &'a [String]), Failure> {
    if let Some((first, rest)) = words.split_first()
        && first.starts_with('#')
    {
        let group: Group = first.parse().map_err(Failure::Usage)?;
        return Ok((group.resolve(&ctx.client()?)?, rest));
    }
    if ctx.session.is_none() {
        return Err(Failure::Usage(
            "name the group first, such as '#team' or '#3fa9…' (the beginning of its id)".into(),
        ));
    }
    match ctx.current()? {
        id @ ConversationId::Group(_) => Ok((id, words)),
        ConversationId::Direct(_) => {
            Err(Failure::Refused("this is not a group; name one first, such as #team, or /switch to it".into()))
        }
    }
}

/// The people that the words name; at least one.
fn people(ctx: &mut Ctx, words: &[String]) -> Result<Vec<Contact>, Failure> {
    if words.is_empty() {
        return Err(Failure::Usage("say whom: @user".into()));
    }
    words.iter().map(|word| word.parse::<User>().map_err(Failure::Usage)?.resolve(ctx)).collect()
}

/// Waits until the server has carried out the wish.
pub(super) fn carried_out(ctx: &Ctx, wish: WishId) -> Result<(), Failure> {
    let Some(client) = ctx.opened() else { return Ok(()) };
    match ctx.wait("waiting for the server", |slice| client.wait(wish, slice)) {
        Err(Failure::Client(Error::Offline(_) | Error::TimedOut(_))) => Err(Failure::Offline(
            "the server did not confirm it in time; it is stored and goes on with the next connection, for example \
             with `qpq sync`"
                .into(),
        )),
        outcome => outcome,
    }
}

/// Shows the group after a change; `kind` is the type of the JSON line.
fn show(ctx: &mut Ctx, group: ConversationId, kind: &'static str, text: &str) -> Result<(), Failure> {
    let info = ctx.client()?.group_info(group)?;
    ctx.output.show(&json::group_info(kind, &info), text)
}

/// `@a, @b and @c`
fn names(contacts: &[Contact]) -> String {
    let names: Vec<_> = contacts.iter().map(crate::view::people::in_sentence).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
