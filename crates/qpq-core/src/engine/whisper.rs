//! Who is typing. Nothing of it is stored.

use qpq_proto::ids::GroupId;
use qpq_trust::proof::is_signed;

use super::ctx::Ctx;
use super::directory::Standing;
use super::{Answer, Effect};
use crate::crypto::whisper::Whisper;
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
        let Some(row) = self.group_of(id)?.filter(|row| row.state == ConversationState::Active) else {
            return Ok(Answer::Done);
        };
        let Ok(mls) = self.take_mls(row.group) else { return Ok(Answer::Done) };
        let key = group::whisper_key(&Provider::new(self.crypto, &mut *self.store), &mls);
        let (epoch, device, at) = (group::epoch(&mls), self.account.device, self.there(self.now));
        self.keep_mls(row.group, mls);
        let whisper = Whisper { group: row.group, epoch, device, at };
        let payload = whisper.seal(&key?, |bytes| self.myself.sign_bytes(bytes))?;
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
        let opened = key.map(|key| Whisper::open(&key, id, group::epoch(&mls), payload));
        let sender = match &opened {
            Ok(Ok((whisper, _))) => {
                group::leaves(&mls).into_iter().map(|(_, leaf)| leaf).find(|leaf| leaf.id.device == whisper.device)
            }
            _ => None,
        };
        self.keep_mls(id, mls);
        let (Ok((whisper, signature)), Some(leaf)) = (opened?, sender) else { return Ok(()) };
        let is_fresh = self.there(self.now).0.abs_diff(whisper.at.0) <= FRESH_MS;
        let is_theirs = is_signed(&leaf.signature_key, &whisper.signed_bytes(), &signature);
        let who = leaf.id.identity;
        if is_fresh
            && is_theirs
            && who != self.account.identity
            && self.standing(&leaf)? == Standing::Listed
            && !self.is_unwanted(row.conversation, who)?
        {
            self.effect(Effect::Typing { conversation: row.conversation, who });
        }
        Ok(())
    }
}

/// A whisper that is older was kept back, or is used again.
const FRESH_MS: u64 = 30_000;
