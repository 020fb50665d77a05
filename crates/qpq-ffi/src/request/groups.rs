//! Conversations and groups.

use std::time::Duration;

use qpq_client::{ConversationId, Suite, WishId, json};

use super::call::{Call, Place};
use super::{Role, list};
use crate::status::Failure;

pub fn conversations(call: &Call<'_>) -> Result<String, Failure> {
    Ok(list(call.client.conversations()?.iter().map(json::conversation)))
}

pub fn conversation(call: &Call<'_>, place: &str) -> Result<String, Failure> {
    shown(call, &call.place(place)?)
}

pub fn mute(call: &Call<'_>, place: &str, on: bool) -> Result<String, Failure> {
    let place = call.place(place)?;
    call.client.mute(place.id, on)?;
    shown(call, &place)
}

pub fn disappear(call: &Call<'_>, place: &str, seconds: Option<u64>) -> Result<String, Failure> {
    let place = call.place(place)?;
    call.carried_out(call.client.set_expiry(place.id, seconds.map(Duration::from_secs))?)?;
    shown(call, &place)
}

pub fn create(call: &Call<'_>, name: &str, members: &[String], classic: bool) -> Result<String, Failure> {
    let members: Vec<_> = call.people(members)?.iter().map(|contact| contact.identity).collect();
    let suite = if classic { Suite::Classic } else { Suite::Hybrid };
    let (group, wish) = call.client.create_group(name, &members, suite)?;
    changed(call, "group_created", group, wish)
}

pub fn invite(call: &Call<'_>, group: &str, members: &[String]) -> Result<String, Failure> {
    let group = call.place(group)?.id;
    let members: Vec<_> = call.people(members)?.iter().map(|contact| contact.identity).collect();
    if members.is_empty() {
        return Err(Failure::bad_input("say whom: \"members\" is empty"));
    }
    changed(call, "group_invited", group, call.client.invite(group, &members)?)
}

pub fn remove(call: &Call<'_>, group: &str, member: &str) -> Result<String, Failure> {
    let group = call.place(group)?.id;
    changed(call, "group_removed", group, call.client.remove(group, call.person(member)?.identity)?)
}

pub fn leave(call: &Call<'_>, group: &str) -> Result<String, Failure> {
    let group = call.place(group)?.id;
    changed(call, "group_left", group, call.client.leave(group)?)
}

pub fn rename(call: &Call<'_>, group: &str, name: &str) -> Result<String, Failure> {
    let group = call.place(group)?.id;
    changed(call, "group_renamed", group, call.client.rename(group, name)?)
}

pub fn role(call: &Call<'_>, group: &str, member: &str, role: Role) -> Result<String, Failure> {
    let group = call.place(group)?.id;
    let is_admin = match role {
        Role::Admin => true,
        Role::Member => false,
    };
    changed(call, "group_role", group, call.client.set_admin(group, call.person(member)?.identity, is_admin)?)
}

pub fn update_key(call: &Call<'_>, place: &str) -> Result<String, Failure> {
    let place = call.place(place)?.id;
    changed(call, "group_key_updated", place, call.client.update_key(place)?)
}

pub fn info(call: &Call<'_>, group: &str) -> Result<String, Failure> {
    Ok(json::line(&json::group_info("group", &call.client.group_info(call.place(group)?.id)?)))
}

pub fn members(call: &Call<'_>, group: &str) -> Result<String, Failure> {
    let info = call.client.group_info(call.place(group)?.id)?;
    Ok(list(info.members.iter().map(json::member)))
}

/// The group as the change has left it.
fn changed(call: &Call<'_>, kind: &'static str, group: ConversationId, wish: WishId) -> Result<String, Failure> {
    call.carried_out(wish)?;
    Ok(json::line(&json::group_info(kind, &call.client.group_info(group)?)))
}

fn shown(call: &Call<'_>, place: &Place) -> Result<String, Failure> {
    Ok(json::line(&json::conversation(&call.client.conversation(place.id)?)))
}
