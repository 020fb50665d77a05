//! The objects of commands that do not print events.

use crate::{
    Body, Contact, Conversation, ConversationState, Fingerprint, Member, Message, MessageId, Status, Trouble, UserName,
    Whoami,
};
use serde::Serialize;

use super::time::rfc3339;

/// `whoami`, `register`, `login`.
#[derive(Serialize)]
pub struct ProfileLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: String,
    pub identity: String,
    pub device: String,
    pub server: String,
    pub domain: String,
    pub fingerprint: Option<String>,
}

impl ProfileLine {
    pub fn of(kind: &'static str, me: Whoami, fingerprint: Option<Fingerprint>) -> Self {
        Self {
            kind,
            name: me.name.to_string(),
            identity: me.identity.to_string(),
            device: me.device.to_string(),
            server: me.server,
            domain: me.domain,
            fingerprint: fingerprint.map(|fingerprint| fingerprint.to_string()),
        }
    }
}

/// `status`.
#[derive(Serialize)]
pub struct StatusLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub online: bool,
    pub detail: String,
    pub fingerprint: Option<String>,
    pub waiting: usize,
    pub quarantined: usize,
    pub conversations: usize,
    pub unread: u64,
}

impl StatusLine {
    pub fn of(status: Status) -> Self {
        Self {
            kind: "status",
            online: status.online,
            detail: status.detail,
            fingerprint: status.fingerprint.map(|fingerprint| fingerprint.to_string()),
            waiting: status.waiting,
            quarantined: status.quarantined,
            conversations: status.conversations,
            unread: status.unread,
        }
    }
}

/// `doctor`: one per conversation that is not in order, and what `doctor --mend` has done.
#[derive(Serialize)]
pub struct TroubleLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub conversation: String,
    pub title: String,
    pub mending: Option<String>,
    pub obstacle: Option<String>,
    pub unreadable: usize,
}

impl TroubleLine {
    pub fn of(trouble: &Trouble) -> Self {
        Self {
            kind: "trouble",
            conversation: super::address(&trouble.conversation),
            title: trouble.conversation.title.clone(),
            mending: trouble.mending.clone(),
            obstacle: trouble.obstacle.clone(),
            unreadable: trouble.unreadable,
        }
    }

    pub fn mended(conversation: &Conversation) -> Self {
        Self {
            kind: "mended",
            conversation: super::address(conversation),
            title: conversation.title.clone(),
            mending: None,
            obstacle: None,
            unreadable: 0,
        }
    }
}

/// `doctor`: the last line.
#[derive(Serialize)]
pub struct DoctorLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub online: bool,
    pub waiting: usize,
    pub troubles: usize,
}

impl DoctorLine {
    pub fn of(status: &Status, troubles: usize) -> Self {
        Self { kind: "doctor", online: status.online, waiting: status.waiting, troubles }
    }
}

/// `send`: `status` is `sent`, or `waiting` when the server could not be asked.
#[derive(Serialize)]
pub struct SendLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub id: String,
    pub conversation: String,
    pub status: &'static str,
    /// How people refer to it.
    pub number: Option<u64>,
    /// Of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl SendLine {
    /// `stored` is the message as it is here.
    pub fn of(id: MessageId, conversation: String, status: &'static str, stored: Option<&Message>) -> Self {
        Self {
            kind: "send",
            id: id.to_string(),
            conversation,
            status,
            number: stored.map(|stored| stored.number),
            sha256: stored.and_then(sha256),
        }
    }
}

fn sha256(message: &Message) -> Option<String> {
    let Body::Attachment(file) = &message.content.body else { return None };
    Some(super::hex(&file.sha256))
}

/// `download`.
#[derive(Serialize)]
pub struct DownloadLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub path: String,
    pub size: u64,
    pub sha256: String,
}

/// `sync`.
#[derive(Serialize)]
pub struct SyncLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub online: bool,
    pub waiting: usize,
    pub unread: u64,
}

impl SyncLine {
    pub fn of(status: &Status) -> Self {
        Self { kind: "sync", online: status.online, waiting: status.waiting, unread: status.unread }
    }
}

/// `verify`.
#[derive(Serialize)]
pub struct VerifyLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: String,
    pub identity: String,
    pub safety_number: String,
    pub trust: &'static str,
    /// Whether the name was pinned to another identity before.
    pub changed: bool,
}

/// `trust`.
#[derive(Serialize)]
pub struct ContactLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: String,
    pub identity: String,
    pub trust: &'static str,
    pub replaced_by: Option<String>,
}

impl ContactLine {
    pub fn of(kind: &'static str, contact: &Contact) -> Self {
        Self {
            kind,
            name: contact.name.as_ref().map_or_else(|| contact.identity.short(), ToString::to_string),
            identity: contact.identity.to_string(),
            trust: super::trust(contact.trust),
            replaced_by: contact.replaced_by.map(|id| id.to_string()),
        }
    }
}

/// `react`, `edit`, `delete`: the message that was changed.
#[derive(Serialize)]
pub struct ChangeLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub id: String,
    pub number: u64,
    pub conversation: String,
}

/// `info`.
#[derive(Serialize)]
pub struct InfoLine<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Of others, at the moment.
    pub devices: usize,
    pub delivered: usize,
    pub read: usize,
    pub message: super::MessageLine<'a>,
}

/// `contact`.
#[derive(Serialize)]
pub struct LinkLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub link: String,
    pub name: String,
    pub identity: String,
}

/// `export`.
#[derive(Serialize)]
pub struct ExportLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub file: String,
    pub messages: u64,
}

/// `export --verify`: the last line, after all messages.
#[derive(Serialize)]
pub struct VerifiedLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub messages: usize,
    pub exported_by: String,
}

/// `typing-notify`.
#[derive(Serialize)]
pub struct SettingLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub on: bool,
}

/// `group …`: what the command left behind.
#[derive(Serialize)]
pub struct GroupLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub group: String,
    pub name: String,
    pub members: Vec<String>,
    pub epoch: u64,
    pub suite: &'static str,
    pub state: &'static str,
    pub waiting: usize,
}

/// `group info` and everything that changes a group; `kind` is the line's type.
pub fn group_info(kind: &'static str, info: &crate::GroupInfo) -> GroupLine {
    let conversation = &info.conversation;
    GroupLine {
        kind,
        group: match (info.group, conversation.id) {
            (Some(id), _) | (None, crate::ConversationId::Group(id)) => id.to_string(),
            (None, crate::ConversationId::Direct(_)) => String::new(),
        },
        name: conversation.title.clone(),
        members: info.members.iter().map(|member| name_or_id(&member.contact)).collect(),
        epoch: info.epoch.0,
        suite: match info.suite {
            crate::Suite::Hybrid => "hybrid",
            crate::Suite::Classic => "classic",
        },
        state: state(conversation.state),
        waiting: info.waiting,
    }
}

/// One line of `group members`.
#[derive(Serialize)]
pub struct MemberLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: Option<&'a str>,
    identity: String,
    role: &'static str,
    devices: usize,
    trust: &'static str,
    verified: bool,
    unchecked: bool,
    own: bool,
}

pub fn member(member: &Member) -> MemberLine<'_> {
    let contact = &member.contact;
    MemberLine {
        kind: "member",
        name: contact.name.as_ref().map(UserName::as_str),
        identity: contact.identity.to_string(),
        role: if member.is_admin { "admin" } else { "member" },
        devices: member.devices,
        trust: super::trust(contact.trust),
        verified: contact.trust == crate::Trust::Verified,
        unchecked: member.unchecked,
        own: contact.is_self,
    }
}

/// One line of `list`.
#[derive(Serialize)]
pub struct ConversationLine<'a> {
    #[serde(rename = "type")]
    line: &'static str,
    conversation: String,
    kind: &'static str,
    group: Option<&'a str>,
    title: &'a str,
    state: &'static str,
    unread: u64,
    last_at: Option<String>,
    /// A stranger began it, and it is not accepted.
    request: bool,
    muted: bool,
    /// Seconds that messages stay; none for ever.
    disappear: Option<u64>,
}

pub fn conversation(conversation: &Conversation) -> ConversationLine<'_> {
    ConversationLine {
        line: "conversation",
        conversation: super::address(conversation),
        kind: super::kind(conversation.kind),
        group: super::group_name(conversation),
        title: &conversation.title,
        state: state(conversation.state),
        unread: conversation.unread,
        last_at: conversation.last.as_ref().map(|message| rfc3339(message.received_at)),
        request: conversation.is_request,
        muted: conversation.is_muted,
        disappear: conversation.expires_after.map(|after| after.as_secs()),
    }
}

fn name_or_id(contact: &crate::Contact) -> String {
    contact.name.as_ref().map_or_else(|| contact.identity.to_string(), ToString::to_string)
}

fn state(state: ConversationState) -> &'static str {
    match state {
        ConversationState::Starting => "starting",
        ConversationState::Active => "active",
        ConversationState::Left => "left",
        ConversationState::Removed => "removed",
        ConversationState::Broken => "broken",
    }
}

#[cfg(test)]
mod tests {
    use super::super::line;
    use super::*;
    use crate::samples;

    #[test]
    fn a_conversation_line() {
        let expected = concat!(
            r#"{"type":"conversation","conversation":"@bob","kind":"direct","group":null,"title":"bob","#,
            r#""state":"active","unread":0,"last_at":null,"request":false,"muted":false,"disappear":null}"#
        );
        assert_eq!(line(&conversation(&samples::direct("bob", 2))), expected);
    }

    #[test]
    fn a_member_line() {
        let contact = samples::contact("bob", 2);
        let expected = format!(
            concat!(
                r#"{{"type":"member","name":"bob","identity":"{}","role":"admin","devices":1,"#,
                r#""trust":"unverified","verified":false,"unchecked":false,"own":false}}"#
            ),
            "02".repeat(32)
        );
        let bob = Member { contact, devices: 1, is_admin: true, unchecked: false };
        assert_eq!(line(&member(&bob)), expected);
    }

    #[test]
    fn a_send_line() {
        let mut message = samples::message("hi");
        let line_of =
            |message: Option<&Message>| line(&SendLine::of(MessageId([1; 16]), "@bob".into(), "sent", message));
        let id = "01".repeat(16);
        let expected = format!(r#"{{"type":"send","id":"{id}","conversation":"@bob","status":"sent","number":7}}"#);
        assert_eq!(line_of(Some(&message)), expected);
        message.content.body = Body::Attachment(samples::file("a.pdf"));
        let sha256 = "03".repeat(32);
        assert_eq!(line_of(Some(&message)), expected.replace('}', &format!(r#","sha256":"{sha256}"}}"#)));
        assert_eq!(line_of(None), expected.replace('7', "null"));
    }

    #[test]
    fn a_download_line() {
        let saved = DownloadLine { kind: "download", path: "/a/b".into(), size: 7, sha256: "ab".into() };
        assert_eq!(line(&saved), r#"{"type":"download","path":"/a/b","size":7,"sha256":"ab"}"#);
    }
}
