//! People: how far they are trusted, who may begin a conversation, and whom the user does not want to hear of.

use qpq_proto::account::UserName;
use qpq_proto::ids::IdentityId;
use qpq_trust::group as trust_group;

use super::Answer;
use super::ctx::Ctx;
use crate::error::Error;
use crate::store::Table;
use crate::store::rows::{ContactRow, ConversationRow, EventRowKind, GroupRow, Row as _};
use crate::view::{ConversationId, Trust};

impl Ctx<'_> {
    pub(super) fn set_trust(&mut self, identity: IdentityId, trust: Trust) -> Result<Answer, Error> {
        let mut contact = self.known_contact(identity)?;
        contact.trust = trust;
        contact.is_known |= trust != Trust::Rejected;
        if trust != Trust::Rejected && contact.name.is_none() {
            contact.name = contact.claimed_name.take();
        }
        contact.save(self.store)?;
        if trust != Trust::Rejected
            && let Some(name) = contact.name
        {
            // Whoever trusts the new owner of a name wants the name to mean the new owner.
            self.store.put(Table::Names, name.as_str().as_bytes(), &identity.0)?;
        }
        Ok(Answer::Done)
    }

    /// Pins who a name is before the server is asked, from a contact link.
    pub(super) fn import_contact(&mut self, name: UserName, identity: IdentityId) -> Result<Answer, Error> {
        let key = name.as_str().as_bytes();
        let own = name == self.account.name || identity == self.account.identity;
        if own && !(name == self.account.name && identity == self.account.identity) {
            return Err(Error::BadInput(
                "this link gives your name to somebody else, or your identity another name".into(),
            ));
        }
        if own {
            return Err(Error::BadInput("this is your own link; give it to others".into()));
        }
        if self.store.get(Table::Names, key)?.is_some_and(|pinned| pinned != identity.0) {
            return Err(Error::BadInput(format!(
                "@{name} is pinned to another identity here than this link says: nothing was changed. Ask @{name} which one is \
                 right; if it is this one, decide with /trust @{name}"
            )));
        }
        let mut contact = self.contact(identity)?;
        if contact.name.as_ref().is_some_and(|known| *known != name) {
            return Err(Error::BadInput("this identity is known here by another name".into()));
        }
        self.store.put(Table::Names, key, &identity.0)?;
        contact.name = Some(name);
        contact.is_known = true;
        contact.save(self.store)?;
        Ok(Answer::Done)
    }

    /// Takes up a conversation that a stranger began.
    pub(super) fn accept(&mut self, id: ConversationId) -> Result<Answer, Error> {
        let mut row = ConversationRow::load(self.store, &id)?
            .ok_or_else(|| Error::BadInput("there is no such conversation".into()))?;
        self.take_up(&mut row)?;
        Ok(Answer::Done)
    }

    /// Whoever writes in a conversation has accepted it.
    pub(super) fn take_up(&mut self, row: &mut ConversationRow) -> Result<(), Error> {
        let Some(by) = row.requested_by.take() else { return Ok(()) };
        row.save(self.store)?;
        self.know(by)?;
        // What was not asked while nothing was to leave.
        if let Some(mut group) = self.group_of(row.id)?.filter(|group| group.name.is_empty())
            && let Ok(mls) = self.take_mls(group.group)
        {
            let state = trust_group::state(mls.public_group());
            self.keep_mls(group.group, mls);
            self.learn_state(&mut group, &state?)?;
            group.save(self.store)?;
        }
        Ok(())
    }

    /// The user has to do with somebody by own choice.
    pub(super) fn know(&mut self, identity: IdentityId) -> Result<(), Error> {
        if identity == self.account.identity {
            return Ok(());
        }
        let mut contact = self.contact(identity)?;
        if !contact.is_known {
            contact.is_known = true;
            contact.save(self.store)?;
        }
        Ok(())
    }

    pub(super) fn block(&mut self, identity: IdentityId, is_blocked: bool) -> Result<Answer, Error> {
        let mut contact = self.known_contact(identity)?;
        if identity == self.account.identity {
            return Err(Error::BadInput("you cannot block yourself".into()));
        }
        contact.is_blocked = is_blocked;
        contact.save(self.store)?;
        Ok(Answer::Done)
    }

    pub(super) fn mute(&mut self, id: ConversationId, is_muted: bool) -> Result<Answer, Error> {
        let mut row = ConversationRow::load(self.store, &id)?
            .ok_or_else(|| Error::BadInput("there is no such conversation".into()))?;
        row.is_muted = is_muted;
        row.save(self.store)?;
        Ok(Answer::Done)
    }

    /// A conversation that somebody else began: a request if that is a stranger, and nothing at all if that is somebody whom
    /// the user does not want to hear of. Answers whether it is to be announced.
    pub(super) fn begun_by(&mut self, group: &GroupRow, by: IdentityId) -> Result<bool, Error> {
        let mut row = self.conversation(group.conversation)?;
        let contact = self.contact(by)?;
        let is_stranger = !contact.is_known && contact.trust != Trust::Verified && by != self.account.identity;
        if (is_stranger || contact.is_blocked) && !group.was_in && row.last_number == 0 {
            row.requested_by = Some(by);
            row.save(self.store)?;
        }
        Ok(!self.is_unwanted(group.conversation, by)?)
    }

    /// Whether the user does not want to hear of what somebody does somewhere.
    pub(super) fn is_unwanted(&mut self, id: ConversationId, by: IdentityId) -> Result<bool, Error> {
        if self.contact(by)?.is_blocked {
            return Ok(true);
        }
        match self.conversation(id)?.requested_by {
            Some(stranger) => Ok(self.contact(stranger)?.is_blocked),
            None => Ok(false),
        }
    }

    /// Whether nothing is to leave this device for a conversation: a request, or one with somebody who is blocked.
    pub(super) fn is_untouched(&mut self, id: ConversationId) -> Result<bool, Error> {
        if self.conversation(id)?.requested_by.is_some() {
            return Ok(true);
        }
        match id {
            ConversationId::Direct(who) => Ok(self.contact(who)?.is_blocked),
            ConversationId::Group(_) => Ok(false),
        }
    }

    /// This device came in without a Welcome: nobody can tell who began it, but if nobody there is known it is a request.
    pub(super) fn begun_by_strangers(&mut self, row: &GroupRow, members: &[IdentityId]) -> Result<(), Error> {
        let mut conversation = self.conversation(row.conversation)?;
        if conversation.last_number > 0 || conversation.requested_by.is_some() {
            return Ok(());
        }
        let me = self.account.identity;
        let others: Vec<_> = members.iter().copied().filter(|who| *who != me).collect();
        for who in &others {
            let contact = self.contact(*who)?;
            if contact.is_known || contact.trust == Trust::Verified {
                return Ok(());
            }
        }
        conversation.requested_by = others.first().copied();
        Ok(conversation.save(self.store)?)
    }

    /// Says that there is a request.
    pub(super) fn announce_request(&mut self, id: ConversationId) -> Result<(), Error> {
        match self.conversation(id)?.requested_by {
            Some(by) => self.event(Some(id), EventRowKind::Request { by }),
            None => Ok(()),
        }
    }

    fn known_contact(&self, identity: IdentityId) -> Result<ContactRow, Error> {
        ContactRow::load(self.store, &identity)?
            .ok_or_else(|| Error::BadInput("this identity is not known here; look up its name first".into()))
    }
}
