//! Requests: a JSON object with "op" in, an object of [`qpq_client::json`] out.

mod account;
mod asked;
mod call;
mod devices;
mod files;
mod groups;
mod link;
mod messages;
mod people;
mod profile;

use std::path::PathBuf;
use std::time::Duration;

use qpq_client::Destination;
use serde::{Deserialize, Serialize};

pub use self::asked::Asked;
use self::call::Call;
use crate::config::Secret;
use crate::instance::Instance;
use crate::status::Failure;

/// Carries it out; the reply.
pub fn perform(handle: u64, instance: &Instance, json: &str) -> Result<String, Failure> {
    let (patience, request) = Asked::parse(json, PATIENCE)?.into::<Request>()?;
    let call = Call::new(handle, instance, patience);
    match request {
        Request::Whoami {} => profile::whoami(&call),
        Request::Status {} => profile::status(&call),
        Request::Sync {} => profile::sync(&call),
        Request::Doctor {} => profile::doctor(&call),
        Request::Mend { conversation } => profile::mend(&call, &conversation),
        Request::Devices {} => devices::list(&call),
        Request::DeviceRename { device, name } => devices::rename(&call, device.as_deref(), &name),
        Request::DeviceUnlink { device } => devices::unlink(&call, &device),
        Request::TypingNotify { on } => profile::typing_notify(&call, on),

        Request::LinkOffered { code } => link::offered(&call, &code),
        Request::LinkApprove { number, history } => link::approve(&call, &number, history),
        Request::LinkRefuse {} => link::refuse(&call),
        Request::CarryHistory { wait } => link::carry_history(&call, wait),
        Request::ChangePassword { password, new_password, account_password } => {
            account::change_password(&call, &password, new_password, account_password)
        }
        Request::Recovery {} => account::recovery(&call),
        Request::RecoveryRemove {} => account::recovery_remove(&call),
        Request::DeleteAccount { password, name } => account::delete(&call, &password, &name),

        Request::Send { conversation, text, reply_to, key } => {
            messages::send(&call, &conversation, &text, reply_to, key.as_deref())
        }
        Request::SendFile { conversation, path, key } => files::send(&call, &conversation, &path, key.as_deref()),
        Request::Download { conversation, number, directory, name, replace } => {
            files::download(&call, &conversation, number, Destination { directory, name, replace })
        }
        Request::React { conversation, number, emoji, remove } => {
            messages::react(&call, &conversation, number, &emoji, remove)
        }
        Request::Edit { conversation, number, text } => messages::edit(&call, &conversation, number, &text),
        Request::Delete { conversation, number } => messages::delete(&call, &conversation, number),
        Request::History { conversation, before, limit, search } => {
            messages::history(&call, &conversation, before, limit, search.as_deref())
        }
        Request::Info { conversation, number } => messages::info(&call, &conversation, number),
        Request::MarkRead { conversation } => messages::mark_read(&call, &conversation),
        Request::Typing { conversation } => messages::typing(&call, &conversation),
        Request::WhoIsTyping { conversation } => messages::who_is_typing(&call, &conversation),

        Request::Conversations {} => groups::conversations(&call),
        Request::Conversation { conversation } => groups::conversation(&call, &conversation),
        Request::Mute { conversation, on } => groups::mute(&call, &conversation, on),
        Request::Disappear { conversation, seconds } => groups::disappear(&call, &conversation, seconds),
        Request::GroupCreate { name, members, classic } => groups::create(&call, &name, &members, classic),
        Request::GroupInvite { conversation, members } => groups::invite(&call, &conversation, &members),
        Request::GroupRemove { conversation, member } => groups::remove(&call, &conversation, &member),
        Request::GroupLeave { conversation } => groups::leave(&call, &conversation),
        Request::GroupRename { conversation, name } => groups::rename(&call, &conversation, &name),
        Request::GroupRole { conversation, member, role } => groups::role(&call, &conversation, &member, role),
        Request::GroupInfo { conversation } => groups::info(&call, &conversation),
        Request::GroupMembers { conversation } => groups::members(&call, &conversation),
        Request::UpdateKey { conversation } => groups::update_key(&call, &conversation),

        Request::Lookup { user } => people::lookup(&call, &user),
        Request::Contacts {} => people::contacts(&call),
        Request::Verify { user } => people::verify(&call, &user),
        Request::Trust { user, decision } => people::trust(&call, &user, decision),
        Request::Block { user } => people::block(&call, &user, true),
        Request::Unblock { user } => people::block(&call, &user, false),
        Request::Accept { conversation } => people::accept(&call, &conversation),
        Request::ContactLink {} => people::contact_link(&call),
        Request::ContactImport { link } => people::contact_import(&call, &link),
    }
}

/// What can be asked for. A conversation is written as `@user` or `#group` (its name, or its id), a person as `@user`, a
/// message as its number in its conversation.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Whoami {},
    Status {},
    Sync {},
    Doctor {},
    Mend {
        conversation: String,
    },
    Devices {},
    DeviceRename {
        /// Its id; without one, this device.
        device: Option<String>,
        name: String,
    },
    DeviceUnlink {
        device: String,
    },
    TypingNotify {
        on: Option<bool>,
    },
    LinkOffered {
        /// What the new device shows.
        code: String,
    },
    LinkApprove {
        /// What the new device shows by now: only this one is meant.
        number: String,
        #[serde(default)]
        history: bool,
    },
    LinkRefuse {},
    CarryHistory {
        /// Also for what the other device has not sent yet.
        #[serde(default = "yes")]
        wait: bool,
    },
    ChangePassword {
        password: Secret,
        new_password: Secret,
        /// When it was changed on another device.
        account_password: Option<Secret>,
    },
    Recovery {},
    RecoveryRemove {},
    DeleteAccount {
        password: Secret,
        /// The own name, to confirm it.
        name: String,
    },
    Send {
        conversation: String,
        text: String,
        reply_to: Option<u64>,
        /// Sent once, however often it is asked for with the same key.
        key: Option<String>,
    },
    SendFile {
        conversation: String,
        path: PathBuf,
        /// As that of a text.
        key: Option<String>,
    },
    Download {
        conversation: String,
        number: u64,
        directory: PathBuf,
        /// Another one than the sender's.
        name: Option<String>,
        #[serde(default)]
        replace: bool,
    },
    React {
        conversation: String,
        number: u64,
        emoji: String,
        #[serde(default)]
        remove: bool,
    },
    Edit {
        conversation: String,
        number: u64,
        text: String,
    },
    Delete {
        conversation: String,
        number: u64,
    },
    History {
        conversation: String,
        before: Option<u64>,
        limit: Option<usize>,
        search: Option<String>,
    },
    Info {
        conversation: String,
        number: u64,
    },
    MarkRead {
        conversation: String,
    },
    Typing {
        conversation: String,
    },
    WhoIsTyping {
        conversation: String,
    },
    Conversations {},
    Conversation {
        conversation: String,
    },
    Mute {
        conversation: String,
        on: bool,
    },
    Disappear {
        conversation: String,
        seconds: Option<u64>,
    },
    GroupCreate {
        name: String,
        #[serde(default)]
        members: Vec<String>,
        #[serde(default)]
        classic: bool,
    },
    GroupInvite {
        conversation: String,
        members: Vec<String>,
    },
    GroupRemove {
        conversation: String,
        member: String,
    },
    GroupLeave {
        conversation: String,
    },
    GroupRename {
        conversation: String,
        name: String,
    },
    GroupRole {
        conversation: String,
        member: String,
        role: Role,
    },
    GroupInfo {
        conversation: String,
    },
    GroupMembers {
        conversation: String,
    },
    UpdateKey {
        conversation: String,
    },
    Lookup {
        user: String,
    },
    Contacts {},
    Verify {
        user: String,
    },
    Trust {
        user: String,
        decision: Decision,
    },
    Block {
        user: String,
    },
    Unblock {
        user: String,
    },
    Accept {
        conversation: String,
    },
    ContactLink {},
    ContactImport {
        link: String,
    },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Admin,
    Member,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Verified,
    Unverified,
    Rejected,
}

/// The reply where `qpq --json` prints several lines.
#[derive(Serialize)]
struct List<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    items: Vec<T>,
}

fn list<T: Serialize>(items: impl IntoIterator<Item = T>) -> String {
    qpq_client::json::line(&List { kind: "list", items: items.into_iter().collect() })
}

/// The reply where there is nothing to tell.
fn done() -> String {
    r#"{"type":"done"}"#.to_owned()
}

fn yes() -> bool {
    true
}

/// As long as the command line waits.
const PATIENCE: Duration = Duration::from_secs(15);
