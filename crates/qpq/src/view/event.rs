//! Events as sentences.

use qpq_client::{Contact, Event, EventKind, Trust};

use super::style::Theme;
use super::{content, conversation, people, sanitize, time};

/// What happened, for people; nothing for messages and for what only changes a mark.
pub fn sentence(event: &Event) -> Option<String> {
    Some(match &event.kind {
        EventKind::Message(_) | EventKind::Sent { .. } | EventKind::Receipt { .. } => return None,
        EventKind::NotSent { reason, .. } => format!("a message was not sent: {}", sanitize::line(reason)),
        EventKind::Joined { by } if by.is_self => "you are in".into(),
        EventKind::Joined { by } => format!("{} added you", people::in_sentence(by)),
        EventKind::MemberAdded { who, by } => format!("{} added {}", people::in_sentence(by), people::in_sentence(who)),
        EventKind::MemberRemoved { who, by } => removed(who, by),
        EventKind::Removed { by } => format!("{} removed you", people::in_sentence(by)),
        EventKind::Left => "you left".into(),
        EventKind::Renamed { by, name } => {
            format!("{} renamed the group to {}", people::in_sentence(by), sanitize::name(name, 40))
        }
        EventKind::RoleChanged { who, by, is_admin } => {
            let role = if *is_admin { "an admin" } else { "a member" };
            format!("{} made {} {role}", people::in_sentence(by), people::in_sentence(who))
        }
        EventKind::KeyChanged { name, .. } => format!(
            "the identity behind @{name} changed: compare safety numbers (/verify @{name}), then decide (/trust @{name})"
        ),
        EventKind::UntrustedDevice { who, .. } => {
            format!("{} uses a device that they have not listed: its messages stay hidden", people::in_sentence(who))
        }
        EventKind::Gap { count, reason } => {
            let entries = if *count == 1 { "1 entry".into() } else { format!("{count} entries") };
            format!("{entries} could not be read: {}", sanitize::line(reason))
        }
        EventKind::DeviceAdded { who, name, .. } => {
            let verified = if !who.is_self && who.trust == Trust::Verified { " (still verified)" } else { "" };
            format!("{} added a device: {}{verified}", people::in_sentence(who), sanitize::name(name, 40))
        }
        EventKind::DeviceRemoved { who, name, .. } if name.is_empty() => {
            format!("{} removed a device", people::in_sentence(who))
        }
        EventKind::DeviceRemoved { who, name, .. } => {
            format!("{} removed a device: {}", people::in_sentence(who), sanitize::name(name, 40))
        }
        EventKind::Refused { what, reason } => {
            format!("refused: {}: {}", sanitize::line(what), sanitize::line(reason))
        }
        EventKind::Edited(message) => format!(
            "{} changed message {}: {}",
            people::in_sentence(&message.sender),
            message.number,
            content::preview(&message.content)
        ),
        EventKind::Deleted(message) => {
            format!("{} took message {} back", people::in_sentence(&message.sender), message.number)
        }
        EventKind::Reaction { message, by, emoji, removed } => {
            let (emoji, number) = (sanitize::name(emoji, 8), message.number);
            let by = people::in_sentence(by);
            if *removed {
                format!("{by} took {emoji} back from {number}")
            } else {
                format!("{by} reacted with {emoji} to {number}")
            }
        }
        EventKind::Request { by } => {
            let place = event.conversation.as_ref().map_or_else(|| people::in_sentence(by), conversation::label);
            let by = people::in_sentence(by);
            format!(
                "{by}, whom you do not know, wants to talk: /accept {place} or /block {by}; nothing is sent until you accept"
            )
        }
        EventKind::ExpiryChanged { by, after: Some(after) } => {
            format!("{} lets messages disappear after {}", people::in_sentence(by), time::span(*after))
        }
        EventKind::ExpiryChanged { by, after: None } => format!("{} lets messages stay", people::in_sentence(by)),
    })
}

/// The sentence between dashes: quiet, unless somebody has to act.
pub fn line(event: &Event, label: Option<&str>, theme: Theme) -> Option<String> {
    let sentence = sentence(event)?;
    let label = label.map(|label| format!("[{label}] ")).unwrap_or_default();
    let text = format!("— {label}{sentence} —");
    Some(if needs_attention(&event.kind) { theme.alarm(&text) } else { theme.event(&text) })
}

fn removed(who: &Contact, by: &Contact) -> String {
    if who.identity == by.identity {
        return format!("{} left", people::in_sentence(who));
    }
    format!("{} removed {}", people::in_sentence(by), people::in_sentence(who))
}

fn needs_attention(kind: &EventKind) -> bool {
    match kind {
        EventKind::NotSent { .. }
        | EventKind::KeyChanged { .. }
        | EventKind::UntrustedDevice { .. }
        | EventKind::Request { .. }
        | EventKind::Refused { .. } => true,
        EventKind::Message(_)
        | EventKind::Sent { .. }
        | EventKind::Joined { .. }
        | EventKind::MemberAdded { .. }
        | EventKind::MemberRemoved { .. }
        | EventKind::Removed { .. }
        | EventKind::Left
        | EventKind::Renamed { .. }
        | EventKind::RoleChanged { .. }
        | EventKind::Edited(_)
        | EventKind::Deleted(_)
        | EventKind::Reaction { .. }
        | EventKind::Receipt { .. }
        | EventKind::ExpiryChanged { .. }
        | EventKind::DeviceAdded { .. }
        | EventKind::DeviceRemoved { .. }
        | EventKind::Gap { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use qpq_client::Timestamp;

    use super::super::samples::contact;
    use super::*;

    #[test]
    fn events_read_like_sentences() {
        let (bob, carol) = (contact("bob", 2), contact("carol", 3));
        let me = Contact { is_self: true, ..contact("alice", 1) };
        let device = qpq_client::DeviceId([1; 16]);
        let verified = Contact { trust: Trust::Verified, ..bob.clone() };
        let cases = [
            (EventKind::DeviceAdded { who: bob.clone(), device, name: "phone".into() }, "@bob added a device: phone"),
            (
                EventKind::DeviceAdded { who: verified, device, name: "phone".into() },
                "@bob added a device: phone (still verified)",
            ),
            (EventKind::DeviceRemoved { who: bob.clone(), device, name: String::new() }, "@bob removed a device"),
            (EventKind::DeviceRemoved { who: me.clone(), device, name: "tv".into() }, "you removed a device: tv"),
            (EventKind::MemberAdded { who: carol.clone(), by: bob.clone() }, "@bob added @carol"),
            (EventKind::MemberRemoved { who: carol.clone(), by: carol.clone() }, "@carol left"),
            (EventKind::MemberRemoved { who: carol, by: me }, "you removed @carol"),
            (EventKind::Renamed { by: bob, name: "a\u{1b}b".into() }, "@bob renamed the group to a\u{fffd}b"),
            (EventKind::Gap { count: 1, reason: "x".into() }, "1 entry could not be read: x"),
        ];
        for (kind, expected) in cases {
            let event = Event { position: 1, at: Timestamp(0), conversation: None, kind };
            assert_eq!(sentence(&event).as_deref(), Some(expected));
            assert_eq!(line(&event, Some("#t"), Theme::PLAIN), Some(format!("— [#t] {expected} —")));
        }
    }
}
