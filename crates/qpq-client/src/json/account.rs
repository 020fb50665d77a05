//! The objects of what is done with the account: linking, password, recovery, the end.

use serde::Serialize;

use crate::{Client, Error, Introduced, Linking, PendingLink};

/// `link` on the new device: what the other one needs.
#[derive(Serialize)]
pub struct LinkCodeLine {
    #[serde(rename = "type")]
    kind: &'static str,
    code: String,
    link: String,
}

impl LinkCodeLine {
    pub fn of(linking: &Linking) -> Self {
        Self { kind: "link_code", code: linking.code(), link: linking.link() }
    }
}

/// `link` on both: the number.
#[derive(Serialize)]
pub struct LinkCompareLine {
    #[serde(rename = "type")]
    kind: &'static str,
    number: String,
    /// The account, on the new device.
    name: Option<String>,
    /// What the new device calls itself, on the other one.
    device: Option<String>,
}

impl LinkCompareLine {
    pub fn of_host(introduced: &Introduced) -> Self {
        let (number, name) = (introduced.comparison(), introduced.name().to_string());
        Self { kind: "link_compare", number, name: Some(name), device: None }
    }

    pub fn of_newcomer(pending: &PendingLink) -> Self {
        let (number, device) = (pending.comparison(), pending.device_name().to_owned());
        Self { kind: "link_compare", number, name: None, device: Some(device) }
    }
}

/// `link` on the new device: the end.
#[derive(Serialize)]
pub struct LinkedLine {
    #[serde(rename = "type")]
    kind: &'static str,
    pub name: String,
    identity: String,
    device: String,
    pub groups: usize,
    pub messages: u64,
    pub failed: usize,
}

impl LinkedLine {
    /// After `messages` of the history have come, and `unread` of it have not.
    ///
    /// # Errors
    /// As [`Client::whoami`].
    pub fn of(client: &Client, messages: u64, unread: u64) -> Result<Self, Error> {
        let (me, (groups, failed)) = (client.whoami()?, client.groups_joined()?);
        Ok(Self {
            kind: "linked",
            name: me.name.to_string(),
            identity: me.identity.to_string(),
            device: me.device.to_string(),
            groups,
            messages,
            failed: failed.saturating_add(usize::try_from(unread).unwrap_or(usize::MAX)),
        })
    }
}

/// `link CODE`: the end.
#[derive(Serialize)]
pub struct DeviceLinkedLine {
    #[serde(rename = "type")]
    kind: &'static str,
    device: String,
    history: bool,
}

impl DeviceLinkedLine {
    pub fn of(pending: &PendingLink, history: bool) -> Self {
        Self { kind: "device_linked", device: pending.device_name().to_owned(), history }
    }
}

/// `recovery`. No `Debug`.
#[derive(Serialize)]
pub struct RecoveryLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    words: &'a str,
}

impl<'a> RecoveryLine<'a> {
    pub fn of(words: &'a str) -> Self {
        Self { kind: "recovery", words }
    }
}

/// `recovery --remove` and `change-password`: it is done.
#[derive(Serialize)]
pub struct DoneLine {
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// `delete-account`.
#[derive(Serialize)]
pub struct AccountDeletedLine {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
}

impl AccountDeletedLine {
    pub fn of(name: &crate::UserName) -> Self {
        Self { kind: "account_deleted", name: name.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line;
    use super::*;

    #[test]
    fn what_is_done_with_the_account() {
        let name = "alice".parse().expect("a name");
        assert_eq!(line(&AccountDeletedLine::of(&name)), r#"{"type":"account_deleted","name":"alice"}"#);
        assert_eq!(line(&RecoveryLine::of("a b")), r#"{"type":"recovery","words":"a b"}"#);
        assert_eq!(line(&DoneLine { kind: "password_changed" }), r#"{"type":"password_changed"}"#);
        let linked = LinkedLine {
            kind: "linked",
            name: "alice".into(),
            identity: "01".into(),
            device: "02".into(),
            groups: 4,
            messages: 7,
            failed: 0,
        };
        let expected =
            r#"{"type":"linked","name":"alice","identity":"01","device":"02","groups":4,"messages":7,"failed":0}"#;
        assert_eq!(line(&linked), expected);
    }
}
