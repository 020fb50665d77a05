//! Who is typing. Nothing of it is stored.

use qpq_proto::ids::GroupId;
use qpq_trust::credential::Leaf;

use super::ctx::Ctx;
use super::{Answer, Effect};
use crate::crypto::whisper;
use crate::error::Error;
use crate::mls::{Provider, group};
use crate::store::rows::{GroupRow, Row as _};
use crate::view::{ConversationId, ConversationState};

impl Ctx<'_> {
    /// The user is typing.
    pub(super) fn typing(&mut self, id: ConversationId) -> Result<Answer, Error> {
        if !self.connection.online || !self.tells_others(id)? {
            return Ok(Answer::Done);
        }
        if let ConversationId::Direct(who) = id
            && self.contact(who)?.is_blocked
        {
            return Ok(Answer::Done);
        }
        let Some(row) = self.group_of(id)?.filter(|row| row.state == ConversationState::Active) else {
            return Ok(Answer::Done);
        };
        let Ok(mls) = self.take_mls(row.group) else { return Ok(Answer::Done) };
        let key = group::whisper_key(&Provider::new(self.crypto, &mut *self.store), &mls);
        self.keep_mls(row.group, mls);
        let payload = whisper::seal(&key?, row.group, self.account.device, |bytes| self.myself.sign_bytes(bytes))?;
        self.effect(Effect::Whisper { group: row.group, payload });
        Ok(Answer::Done)
    }

    /// Somebody whispers. What cannot be opened is of another epoch, or nonsense: it does not matter.
    pub(super) fn whispered(&mut self, id: GroupId, payload: &[u8]) -> Result<(), Error> {
        let Some(row) = GroupRow::load(self.store, &id)?.filter(|row| row.state == ConversationState::Active) else {
            return Ok(());
        };
        let Ok(mls) = self.take_mls(id) else { return Ok(()) };
        let key = group::whisper_key(&Provider::new(self.crypto, &mut *self.store), &mls);
        let leaves: Vec<Leaf> = group::leaves(&mls).into_iter().map(|(_, leaf)| leaf).collect();
        self.keep_mls(id, mls);
        let mut sender = None;
        let opened = whisper::open(&key?, id, payload, |device, bytes, signature| {
            sender = leaves.iter().find(|leaf| leaf.id.device == device);
            sender.is_some_and(|leaf| qpq_trust::proof::is_signed(&leaf.signature_key, bytes, signature))
        });
        let (Ok(_), Some(leaf)) = (opened, sender) else { return Ok(()) };
        let who = leaf.id.identity;
        if who != self.account.identity && !self.is_unwanted(row.conversation, who)? {
            self.effect(Effect::Typing { conversation: row.conversation, who });
        }
        Ok(())
    }
}
