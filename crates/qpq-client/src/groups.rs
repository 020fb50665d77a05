//! Conversations and groups: made, changed, mended, and found by what people and programs call them.

use qpq_core::engine::{Answer, Command};
use qpq_core::store::rows::WishKind;
use qpq_core::view::{Conversation, ConversationId, ConversationState, Trouble};
use qpq_proto::groups::GroupKind;
use qpq_proto::ids::IdentityId;
use qpq_trust::suite::Suite;

use crate::client::{Client, WishId, unexpected};
use crate::error::Error;

impl Client {
    /// The direct conversation with a contact (with oneself: the notepad). It is made on the server in the background.
    ///
    /// # Errors
    /// [`Error::BadInput`] for an unknown identity.
    pub fn direct(&self, with: IdentityId) -> Result<ConversationId, Error> {
        match self.command(Command::Direct(with))? {
            Answer::Conversation { id, .. } => Ok(id),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a group. It is here at once; the wish is done when the server has it and all members are in.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a bad name or an unknown identity.
    pub fn create_group(
        &self,
        name: &str,
        members: &[IdentityId],
        suite: Suite,
    ) -> Result<(ConversationId, WishId), Error> {
        let (name, members, suite) = (name.to_owned(), members.to_vec(), suite.number());
        match self.command(Command::CreateGroup { name, members, suite })? {
            Answer::Conversation { id, wish: Some(wish) } => Ok((id, WishId(wish))),
            other => Err(unexpected(&other)),
        }
    }

    /// Adds members, all in one commit.
    ///
    /// # Errors
    /// [`Error::BadInput`] at once; what the server or the rules refuse comes from [`Self::wait`].
    pub fn invite(&self, group: ConversationId, who: &[IdentityId]) -> Result<WishId, Error> {
        self.change(group, WishKind::Add { who: who.to_vec() })
    }

    /// Removes a member with all devices.
    ///
    /// # Errors
    /// As [`Self::invite`].
    pub fn remove(&self, group: ConversationId, who: IdentityId) -> Result<WishId, Error> {
        self.change(group, WishKind::Remove { who })
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// As [`Self::invite`].
    pub fn leave(&self, group: ConversationId) -> Result<WishId, Error> {
        self.change(group, WishKind::Leave)
    }

    /// Gives a group another name.
    ///
    /// # Errors
    /// As [`Self::invite`].
    pub fn rename(&self, group: ConversationId, name: &str) -> Result<WishId, Error> {
        self.change(group, WishKind::Rename { name: name.to_owned() })
    }

    /// Makes somebody an admin, or no longer one.
    ///
    /// # Errors
    /// As [`Self::invite`].
    pub fn set_admin(&self, group: ConversationId, who: IdentityId, is_admin: bool) -> Result<WishId, Error> {
        self.change(group, WishKind::SetAdmin { who, is_admin })
    }

    /// Fresh leaf keys (post-compromise security, RFC 9420 section 16.6).
    ///
    /// # Errors
    /// As [`Self::invite`].
    pub fn update_key(&self, group: ConversationId) -> Result<WishId, Error> {
        self.change(group, WishKind::UpdateKey)
    }

    /// What is not as it should be: groups that are being mended, messages that could not be read.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn troubles(&self) -> Result<Vec<Trouble>, Error> {
        self.look(|query| query.troubles())
    }

    /// Takes a fresh start in a conversation (an external commit, RFC 9420 section 12.4.3.2). Messages that come in until it is
    /// done cannot be read.
    ///
    /// # Errors
    /// [`Error::BadInput`] when this device is not in it.
    pub fn mend(&self, conversation: ConversationId) -> Result<WishId, Error> {
        match self.command(Command::Mend(conversation))? {
            Answer::Wish(wish) => Ok(WishId(wish)),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) fn change(&self, conversation: ConversationId, kind: WishKind) -> Result<WishId, Error> {
        match self.command(Command::Change { conversation, kind })? {
            Answer::Wish(wish) => Ok(WishId(wish)),
            other => Err(unexpected(&other)),
        }
    }

    /// The group with this name (without `#`), or whose id begins like this.
    ///
    /// # Errors
    /// [`Error::UnknownConversation`], or [`Error::BadInput`] when it could be several.
    pub fn group_named(&self, wanted: &str) -> Result<ConversationId, Error> {
        find_group(wanted, &self.conversations()?)
    }
}

/// By exact name, then regardless of case, then by the beginning of the id. Groups that were left only count when there
/// is no other of that name.
fn find_group(wanted: &str, conversations: &[Conversation]) -> Result<ConversationId, Error> {
    let groups = || conversations.iter().filter(|conversation| conversation.kind == GroupKind::Group);
    let exact: Vec<_> = groups().filter(|group| group.title == wanted).collect();
    let folded: Vec<_> = groups().filter(|group| group.title.to_lowercase() == wanted.to_lowercase()).collect();
    let by_id: Vec<_> = groups().filter(|group| id_begins_with(group.id, wanted)).collect();
    let Some(mut found) = [exact, folded, by_id].into_iter().find(|found| !found.is_empty()) else {
        return Err(Error::UnknownConversation(format!("#{wanted}")));
    };
    if found.iter().any(|group| is_current(group)) {
        found.retain(|group| is_current(group));
    }
    match found[..] {
        [group] => Ok(group.id),
        _ => Err(Error::BadInput(ambiguous(wanted, &found))),
    }
}

fn is_current(conversation: &Conversation) -> bool {
    !matches!(conversation.state, ConversationState::Left | ConversationState::Removed)
}

fn id_begins_with(id: ConversationId, prefix: &str) -> bool {
    let ConversationId::Group(id) = id else { return false };
    prefix.len() >= SHORTEST_ID && id.to_string().starts_with(&prefix.to_ascii_lowercase())
}

fn ambiguous(wanted: &str, found: &[&Conversation]) -> String {
    let id = |conversation: &&Conversation| match conversation.id {
        ConversationId::Group(id) => format!("#{}", id.short()),
        ConversationId::Direct(id) => format!("@{}", id.short()),
    };
    let ids: Vec<_> = found.iter().map(id).collect();
    format!("#{wanted} could be any of these, name it by its id: {}", ids.join(" "))
}

/// Hexadecimal digits of an id that are enough to mean it.
const SHORTEST_ID: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn groups_are_found_by_name_and_by_id() {
        let mut left = samples::group("old", [0x77; 16]);
        left.state = ConversationState::Left;
        let conversations = [
            samples::direct("team", 9),
            samples::group("team", [0x11; 16]),
            samples::group("Team", [0x22; 16]),
            samples::group("twins", [0x33; 16]),
            samples::group("twins", [0x44; 16]),
            samples::group("3333", [0x55; 16]),
            samples::group("old", [0x66; 16]),
            left,
        ];
        let cases = [
            ("team", Ok(0x11)),
            ("Team", Ok(0x22)),
            ("TWINS", Err("twins could be any")),
            ("twins", Err("#33333333 #44444444")),
            ("2222", Ok(0x22)),
            ("222", Err("no such conversation")),
            ("3333", Ok(0x55)),
            ("33333", Ok(0x33)),
            ("old", Ok(0x66)),
            ("7777", Ok(0x77)),
            ("nobody", Err("no such conversation")),
        ];
        for (wanted, expected) in cases {
            match (find_group(wanted, &conversations), expected) {
                (Ok(ConversationId::Group(id)), Ok(byte)) => assert_eq!(id.0, [byte; 16], "{wanted}"),
                (Err(error), Err(text)) => {
                    assert!(error.to_string().to_lowercase().contains(text), "{wanted}: {error}");
                }
                (found, _) => panic!("{wanted}: {found:?}"),
            }
        }
    }
}
