//! The group's name among those who came back without its key: they ask, and the first member who has it tells.

use std::time::Duration;

use qpq_proto::content::{Body, Content};
use qpq_proto::groups::GroupState;
use qpq_proto::ids::MessageId;
use qpq_trust::credential::Leaf;
use qpq_trust::group as trust_group;

use super::commands::random;
use super::ctx::Ctx;
use crate::crypto::group_name;
use crate::error::Error;
use crate::mls::group;
use crate::store::rows::{GroupRow, Row as _, WishKind, WishRow, conversation_key};
use crate::store::{Table, decode};
use crate::view::ConversationId;

impl Ctx<'_> {
    /// What a group is like that this device comes into.
    pub(super) fn learn_state(&mut self, row: &mut GroupRow, state: &GroupState) -> Result<(), Error> {
        row.expires_after = state.expires_after.map(|after| after.as_millis() as u64);
        self.learn_name(row, &state.name)
    }

    /// Opens the name with the key that is known, or asks for the key.
    fn learn_name(&mut self, row: &mut GroupRow, sealed: &[u8]) -> Result<(), Error> {
        if sealed.is_empty() {
            return Ok(());
        }
        if let Ok(name) = group_name::open_name(&row.name_key, row.group, sealed) {
            row.name = name;
            return Ok(());
        }
        self.tell_all(row.conversation, Body::AskName, Duration::ZERO)
    }

    /// Somebody asks for the key of the name, or tells it.
    pub(super) fn about_name(&mut self, row: &mut GroupRow, sender: &Leaf, body: &Body) -> Result<(), Error> {
        let mls = self.take_mls(row.group)?;
        let sealed = trust_group::state(mls.public_group()).map(|state| state.name);
        let others = group::leaves(&mls).into_iter().filter(|(_, leaf)| leaf.id.device != sender.id.device);
        let rank = others.take_while(|(_, leaf)| leaf.id.device != self.account.device).count();
        self.keep_mls(row.group, mls);
        let opens = |key: &[u8; 32], sealed: &[u8]| group_name::open_name(key, row.group, sealed).ok();
        let sealed = sealed?;
        match body {
            Body::AskName if opens(&row.name_key, &sealed).is_some() => {
                // The first one answers at once, the others step in when it does not.
                let delay = Duration::from_secs(5) * u32::try_from(rank.min(60)).unwrap_or(60);
                self.tell_all(row.conversation, Body::NameKey(row.name_key), delay)
            }
            Body::NameKey(key) => {
                if let Some(name) = opens(key, &sealed) {
                    (row.name, row.name_key) = (name, *key);
                    self.forget_answer(row.conversation)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn tell_all(&mut self, conversation: ConversationId, body: Body, delay: Duration) -> Result<(), Error> {
        self.forget_answer(conversation)?;
        let id = MessageId(random()?);
        let (sent_at, fallback) = (self.now, String::new());
        let content = Content { id, sent_at, in_reply_to: None, expires_after: None, fallback, body };
        let content = serde_bytes::ByteBuf::from(content.encode());
        self.wish(conversation, WishKind::Tell { content }, delay)?;
        Ok(())
    }

    /// What waits to be told and has not left: it has been told, or is told anew.
    fn forget_answer(&mut self, conversation: ConversationId) -> Result<(), Error> {
        if !self.conversation(conversation)?.in_flight.is_empty() {
            return Ok(());
        }
        for (_, bytes) in self.store.scan(Table::Wishes, &conversation_key(conversation))? {
            let wish: WishRow = decode(&bytes)?;
            if matches!(wish.kind, WishKind::Tell { .. }) {
                WishRow::delete(self.store, &wish.key())?;
            }
        }
        Ok(())
    }
}
