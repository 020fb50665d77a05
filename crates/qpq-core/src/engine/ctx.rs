//! What every step of the engine works with: one transaction, one point in time, the effects so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use openmls::group::MlsGroup;
use openmls_rust_crypto::RustCrypto;
use qpq_proto::ids::{GroupId, MessageId, Seq};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::LogId;
use qpq_proto::time::Timestamp;

use super::{Connection, Effect};
use crate::error::Error;
use crate::mls::{Myself, Provider, group};
use crate::request::{Purpose, Request};
use crate::store::rows::{
    AccountRow, ContactRow, ConversationRow, EventRow, EventRowKind, GroupRow, OutboxRow, Row as _, WishKind, WishRow,
    next_number, number,
};
use crate::store::{Store, encode};
use crate::view::{ConversationId, ConversationState};

/// One step.
pub struct Ctx<'a> {
    pub store: &'a mut dyn Store,
    pub now: Timestamp,
    pub account: AccountRow,
    pub myself: Myself,
    pub crypto: &'a RustCrypto,
    pub connection: &'a mut Connection,
    groups: &'a mut HashMap<GroupId, MlsGroup>,
    touched: BTreeSet<ConversationId>,
    effects: Vec<Effect>,
    /// Messages of others that were stored in this step and are to be confirmed to their authors.
    pub arrived: BTreeMap<ConversationId, Vec<MessageId>>,
}

impl<'a> Ctx<'a> {
    /// Begins a step.
    pub fn new(
        store: &'a mut dyn Store,
        now: Timestamp,
        account: AccountRow,
        myself: Myself,
        crypto: &'a RustCrypto,
        groups: &'a mut HashMap<GroupId, MlsGroup>,
        connection: &'a mut Connection,
    ) -> Self {
        let (touched, effects, arrived) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        Self { store, now, account, myself, crypto, connection, groups, touched, effects, arrived }
    }

    /// Ends the step.
    pub fn finish(self) -> (AccountRow, Myself, Vec<Effect>) {
        (self.account, self.myself, self.effects)
    }

    /// Leaves after the commit.
    pub fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// What OpenMLS works with.
    pub fn provider(&mut self) -> Provider<'_> {
        Provider::new(self.crypto, &mut *self.store)
    }

    /// The MLS state of a group, taken out of the cache: whoever does not put it back with [`Self::keep_mls`] (because
    /// an operation failed half-way) makes the next one load it from the store.
    pub fn take_mls(&mut self, id: GroupId) -> Result<MlsGroup, Error> {
        if let Some(group) = self.groups.remove(&id) {
            return Ok(group);
        }
        group::load(&self.provider(), id)?.ok_or_else(|| Error::Mls("the state of a group is missing".into()))
    }

    /// Puts it back.
    pub fn keep_mls(&mut self, id: GroupId, group: MlsGroup) {
        self.groups.insert(id, group);
    }

    /// Deletes the MLS state of a group.
    pub fn delete_mls(&mut self, id: GroupId) -> Result<(), Error> {
        self.groups.remove(&id);
        group::delete(&self.provider(), id)
    }

    /// The wishes of this conversation are looked at again at the end of the step.
    pub fn touch(&mut self, conversation: ConversationId) {
        self.touched.insert(conversation);
    }

    /// Takes the touched conversations.
    pub fn take_touched(&mut self) -> BTreeSet<ConversationId> {
        std::mem::take(&mut self.touched)
    }

    /// Puts a request into the outbox, and on its way if there is a connection.
    pub fn request(&mut self, request: Request, purpose: Purpose) -> Result<u64, Error> {
        let id = next_number(self.store, "request")?;
        let row = OutboxRow { id, request, purpose, not_before: Timestamp::default(), attempts: 0 };
        row.save(self.store)?;
        if self.connection.online {
            self.effect(Effect::Request { id, request: row.request });
        }
        Ok(id)
    }

    /// Follows the log of a group, if it is to be followed at all.
    pub fn subscribe(&mut self, row: &GroupRow) -> Result<(), Error> {
        if self.connection.online && is_followed(row.state) {
            let known = self.track(row.group)?.known();
            let after = if is_on(Mutation::SubscribeTooFar) { Seq(row.cursor.0 + 1) } else { row.cursor };
            self.effect(Effect::Subscribe { log: LogId::Group(row.group), after, known });
        }
        Ok(())
    }

    /// Stores an event.
    pub fn event(&mut self, conversation: Option<ConversationId>, kind: EventRowKind) -> Result<(), Error> {
        let row = EventRow { at: self.now, conversation, kind };
        self.store.append_event(&encode(&row)?)?;
        if !matches!(self.effects.last(), Some(Effect::NewEvents)) {
            self.effect(Effect::NewEvents);
        }
        Ok(())
    }

    /// A conversation's row; a new one when there is none.
    pub fn conversation(&mut self, id: ConversationId) -> Result<ConversationRow, Error> {
        Ok(match ConversationRow::load(self.store, &id)? {
            Some(row) => row,
            None => ConversationRow {
                id,
                group: None,
                in_flight: Vec::new(),
                last_activity: self.now,
                last_number: 0,
                read_number: 0,
                expects: None,
                requested_by: None,
                is_muted: false,
            },
        })
    }

    /// The group that a conversation runs in.
    pub fn group_of(&mut self, id: ConversationId) -> Result<Option<GroupRow>, Error> {
        match ConversationRow::load(self.store, &id)?.and_then(|row| row.group) {
            Some(group) => Ok(GroupRow::load(self.store, &group)?),
            None => Ok(None),
        }
    }

    /// Stores a wish.
    pub fn wish(&mut self, conversation: ConversationId, kind: WishKind, delay: Duration) -> Result<u64, Error> {
        let id = next_number(self.store, "wish")?;
        let not_before = if delay.is_zero() { Timestamp::default() } else { self.now.after(delay) };
        WishRow { id, conversation, kind, not_before }.save(self.store)?;
        self.touch(conversation);
        Ok(id)
    }

    /// What is known about somebody; an empty contact when nothing is.
    pub fn contact(&mut self, identity: qpq_proto::ids::IdentityId) -> Result<ContactRow, Error> {
        Ok(ContactRow::load(self.store, &identity)?.unwrap_or_else(|| ContactRow::unknown(identity)))
    }

    /// How far the inbox has been taken.
    pub fn inbox_cursor(&self) -> Result<Seq, Error> {
        Ok(Seq(number(self.store, INBOX_CURSOR)?))
    }
}

/// Whether a group in this state has a log to follow.
pub fn is_followed(state: ConversationState) -> bool {
    match state {
        ConversationState::Active | ConversationState::Broken => true,
        ConversationState::Starting | ConversationState::Left | ConversationState::Removed => false,
    }
}

/// The counter that holds the inbox cursor.
pub const INBOX_CURSOR: &str = "inbox";
/// When the newest entry of the inbox was accepted.
pub const INBOX_NEWEST: &str = "inbox newest";
/// Entries of the inbox that were accepted by then have been taken, whatever their place.
pub const INBOX_TAKEN: &str = "inbox taken";
