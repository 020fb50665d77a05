//! Reading: what the engine knows, as views.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use openmls_rust_crypto::RustCrypto;
use qpq_proto::account::UserName;
use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{Epoch, IdentityId, MessageId};
use qpq_proto::keys::DeviceRecord;
use qpq_proto::link::LinkBundle;
use qpq_proto::stream::LogId;
use qpq_proto::time::Timestamp;
use qpq_trust::group as trust_group;
use qpq_trust::identity::device_id;
use qpq_trust::manifest::Manifest;
use qpq_trust::policy;
use qpq_trust::safety_number::safety_number;
use qpq_trust::suite::Suite;

use super::annotate::content_of;
use super::commands::kind_of;
use super::drive::is_the_users;
use super::receipts::SILENT;
use super::send_key;
use crate::error::Error;
use crate::mls::{Provider, group};
use crate::store::notes::{NoteKind, NoteRow};
use crate::store::rows::{
    AccountRow, ContactRow, ConversationRow, DeviceChangeRow, EventRow, EventRowKind, GroupRow, JoinRow, MessageRow,
    OutboxRow, QuarantineRow, RepairRow, Row as _, TransferRow, WishKind, WishRow, conversation_key, device_added_at,
    number,
};
use crate::store::{Store, StoreError, Table, decode};
use crate::view::{
    Contact, Conversation, ConversationId, ConversationState, Event, EventKind, GroupInfo, Member, Message, Notes,
    OwnDevice, Quote, Trouble, Trust,
};

/// A look at the store.
pub struct Query<'a> {
    pub(super) store: &'a mut dyn Store,
}

impl<'a> Query<'a> {
    /// Looks at this transaction.
    pub fn new(store: &'a mut dyn Store) -> Self {
        Self { store }
    }

    /// The account of this profile.
    pub fn account(&self) -> Result<Option<AccountRow>, Error> {
        Ok(AccountRow::load(self.store, &())?)
    }

    /// Everybody who is known.
    pub fn contacts(&self) -> Result<Vec<Contact>, Error> {
        ContactRow::all(self.store)?.into_iter().map(|row| self.view(row.identity)).collect()
    }

    /// One contact; without a name when nothing is known.
    pub fn view(&self, identity: IdentityId) -> Result<Contact, Error> {
        let account = self.account()?;
        if let Some(account) = account.filter(|account| account.identity == identity) {
            let name = Some(account.name);
            let (trust, replaced_by) = (Trust::Verified, None);
            return Ok(Contact { identity, name, trust, replaced_by, is_blocked: false, is_self: true });
        }
        Ok(match ContactRow::load(self.store, &identity)? {
            Some(row) => Contact {
                identity,
                name: row.name,
                trust: row.trust,
                replaced_by: row.replaced_by,
                is_blocked: row.is_blocked,
                is_self: false,
            },
            None => Contact {
                identity,
                name: None,
                trust: Trust::Unverified,
                replaced_by: None,
                is_blocked: false,
                is_self: false,
            },
        })
    }

    /// The contact that a name is pinned to.
    pub fn pinned(&self, name: &UserName) -> Result<Option<Contact>, Error> {
        if let Some(account) = self.account()?.filter(|account| account.name == *name) {
            return self.view(account.identity).map(Some);
        }
        let Some(bytes) = self.store.get(Table::Names, name.as_str().as_bytes())? else { return Ok(None) };
        let identity = IdentityId::try_from(&bytes[..]).map_err(|_| StoreError::Corrupt("a pinned name".to_owned()))?;
        self.view(identity).map(Some)
    }

    /// The upload of this content for this conversation that was begun and is not sent yet.
    pub fn transfer(
        &self,
        conversation: ConversationId,
        sha256: [u8; 32],
        size: u64,
    ) -> Result<Option<TransferRow>, Error> {
        let same = |row: &TransferRow| row.conversation == conversation && row.sha256 == sha256 && row.size == size;
        Ok(TransferRow::all(self.store)?.into_iter().find(same))
    }

    /// The safety number with somebody.
    pub fn safety_number(&self, with: IdentityId) -> Result<String, Error> {
        let account = self.account()?.ok_or_else(|| Error::BadInput("there is no account in this profile".into()))?;
        Ok(safety_number(&account.identity, &with))
    }

    /// All conversations, the most recently used first.
    pub fn conversations(&self) -> Result<Vec<Conversation>, Error> {
        let mut rows = ConversationRow::all(self.store)?;
        rows.sort_by_key(|row| std::cmp::Reverse(row.last_activity));
        let mut wanted = Vec::with_capacity(rows.len());
        for row in rows {
            if !self.is_unwanted(&row)? {
                wanted.push(row);
            }
        }
        wanted.iter().map(|row| self.conversation_view(row, true)).collect()
    }

    /// One conversation.
    pub fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, Error> {
        ConversationRow::load(self.store, &id)?.map(|row| self.conversation_view(&row, true)).transpose()
    }

    /// Whether there is one.
    pub fn has_conversation(&self, id: ConversationId) -> Result<bool, Error> {
        Ok(ConversationRow::load(self.store, &id)?.is_some())
    }

    /// Whether it is of somebody whom the user does not want to hear of.
    fn is_unwanted(&self, row: &ConversationRow) -> Result<bool, Error> {
        let with = match row.id {
            ConversationId::Direct(with) => Some(with),
            ConversationId::Group(_) => None,
        };
        for who in [with, row.requested_by].into_iter().flatten() {
            if ContactRow::load(self.store, &who)?.is_some_and(|contact| contact.is_blocked) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether receipts are sent, and shown that the user is typing.
    pub fn tells_others(&self) -> Result<bool, Error> {
        Ok(number(self.store, SILENT)? == 0)
    }

    fn conversation_view(&self, row: &ConversationRow, with_last: bool) -> Result<Conversation, Error> {
        let group = match row.group {
            Some(group) => GroupRow::load(self.store, &group)?,
            None => None,
        };
        let last = if with_last { self.store.messages(row.id, None, 1, None)?.pop() } else { None };
        let contacts = &mut BTreeMap::new();
        Ok(Conversation {
            id: row.id,
            kind: kind_of(row.id),
            title: self.title(row, group.as_ref())?,
            is_request: row.requested_by.is_some(),
            is_muted: row.is_muted,
            expires_after: group.as_ref().and_then(|group| group.expires_after).map(Duration::from_millis),
            state: group.map_or(ConversationState::Starting, |group| group.state),
            unread: self.store.count_received(row.id, row.read_number)?,
            last: last.map(|message| self.message_view(message, contacts)).transpose()?,
        })
    }

    fn title(&self, row: &ConversationRow, group: Option<&GroupRow>) -> Result<String, Error> {
        Ok(match (row.id, group) {
            (ConversationId::Direct(identity), _) => match self.view(identity)? {
                Contact { name: Some(name), .. } => name.to_string(),
                Contact { name: None, .. } => identity.short(),
            },
            (ConversationId::Group(_), Some(group)) => group.name.clone(),
            (ConversationId::Group(_), None) => self.wished_name(row.id)?.unwrap_or_default(),
        })
    }

    /// The name of a group that is still being made.
    fn wished_name(&self, id: ConversationId) -> Result<Option<String>, Error> {
        for (_, bytes) in self.store.scan(Table::Wishes, &conversation_key(id))? {
            if let WishKind::Start { name, .. } = decode::<WishRow>(&bytes)?.kind {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Members, epoch and suite of a conversation.
    pub fn group_info(&mut self, id: ConversationId) -> Result<Option<GroupInfo>, Error> {
        let Some(row) = ConversationRow::load(self.store, &id)? else { return Ok(None) };
        let conversation = self.conversation_view(&row, true)?;
        let waiting = self.store.scan(Table::Wishes, &conversation_key(id))?.len();
        let group = match row.group {
            Some(group) => GroupRow::load(self.store, &group)?,
            None => None,
        };
        let (epoch, members) = match &group {
            Some(group) => self.members(group)?,
            None => (Epoch(0), vec![]),
        };
        let suite = group.as_ref().and_then(|group| Suite::try_from(group.suite).ok()).unwrap_or(Suite::Hybrid);
        Ok(Some(GroupInfo { conversation, group: group.map(|group| group.group), epoch, suite, members, waiting }))
    }

    fn members(&mut self, row: &GroupRow) -> Result<(Epoch, Vec<Member>), Error> {
        let crypto = RustCrypto::default();
        let Some(mls) = group::load(&Provider::new(&crypto, &mut *self.store), row.group)? else {
            return Ok((Epoch(0), vec![]));
        };
        let state = trust_group::state(mls.public_group())?;
        let mut devices: BTreeMap<IdentityId, (usize, bool)> = BTreeMap::new();
        for (_, leaf) in group::leaves(&mls) {
            if row.leaving.contains(&leaf.id.device) {
                continue;
            }
            let own = self.account()?.is_some_and(|account| account.device == leaf.id.device);
            let listed = own
                || ContactRow::load(self.store, &leaf.id.identity)?
                    .is_some_and(|contact| contact.vouches_for(leaf.id.device, &leaf.signature_key));
            let entry = devices.entry(leaf.id.identity).or_default();
            entry.0 += 1;
            entry.1 |= !listed;
        }
        let present = devices.keys().copied().collect();
        let mut members = Vec::with_capacity(devices.len());
        for (identity, (devices, unchecked)) in devices {
            let is_admin = row.kind == GroupKind::Group && policy::is_admin(&state, &present, identity);
            members.push(Member { contact: self.view(identity)?, devices, is_admin, unchecked });
        }
        members.sort_by_key(|member| member.contact.name.clone());
        Ok((group::epoch(&mls), members))
    }

    /// Messages, as [`Store::messages`] gives them.
    pub fn history(
        &self,
        id: ConversationId,
        before: Option<u64>,
        limit: usize,
        search: Option<&str>,
    ) -> Result<Vec<Message>, Error> {
        let contacts = &mut BTreeMap::new();
        let rows = self.store.messages(id, before, limit, search)?;
        rows.into_iter().map(|row| self.message_view(row, contacts)).collect()
    }

    fn message_view(&self, row: MessageRow, contacts: &mut BTreeMap<IdentityId, Contact>) -> Result<Message, Error> {
        let sender = self.known(row.sender, contacts)?;
        let content = content_of(&row)?;
        let quote = content.in_reply_to.map(|id| self.quote(row.conversation, id, contacts)).transpose()?;
        let notes = self.notes(&row, contacts)?;
        Ok(Message {
            number: row.number,
            conversation: row.conversation,
            id: row.id,
            sender,
            device: row.device,
            sent_at: row.sent_at,
            received_at: row.received_at,
            status: row.status,
            content,
            quote,
            expires_at: row.expires_at,
            notes,
        })
    }

    fn known(&self, who: IdentityId, contacts: &mut BTreeMap<IdentityId, Contact>) -> Result<Contact, Error> {
        Ok(match contacts.entry(who) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(free) => free.insert(self.view(who)?).clone(),
        })
    }

    fn quote(
        &self,
        conversation: ConversationId,
        id: MessageId,
        contacts: &mut BTreeMap<IdentityId, Contact>,
    ) -> Result<Quote, Error> {
        let shown = |row: &MessageRow| !row.held;
        let Some(row) = self.store.messages_called(conversation, id)?.into_iter().find(shown) else {
            return Ok(Quote { number: None, sender: None, text: String::new() });
        };
        Ok(Quote { number: Some(row.number), sender: Some(self.known(row.sender, contacts)?), text: row.text })
    }

    fn notes(&self, row: &MessageRow, contacts: &mut BTreeMap<IdentityId, Contact>) -> Result<Notes, Error> {
        let mut notes = Notes::default();
        let mut reactions: BTreeMap<String, Vec<Contact>> = BTreeMap::new();
        let mut rows = NoteRow::of(self.store, row.conversation, row.id)?;
        rows.sort_by_key(|note| note.at);
        for note in rows {
            match note.kind {
                NoteKind::Delivered { .. } => notes.delivered += 1,
                NoteKind::Read => notes.read_by.push(self.known(note.by, contacts)?),
                NoteKind::Reaction { emoji } => {
                    reactions.entry(emoji).or_default().push(self.known(note.by, contacts)?);
                }
                NoteKind::Edited if note.by == row.sender => notes.edited = Some(note.at),
                NoteKind::Edited | NoteKind::SaidBefore => {}
            }
        }
        notes.reactions = reactions.into_iter().collect();
        Ok(notes)
    }

    /// The message that people refer to by this number.
    pub fn message_numbered(&self, id: ConversationId, number: u64) -> Result<Option<Message>, Error> {
        let row = self.store.message_numbered(id, number)?;
        row.map(|row| self.message_view(row, &mut BTreeMap::new())).transpose()
    }

    /// An own message.
    pub fn sent_message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>, Error> {
        let Some(account) = self.account()? else { return Ok(None) };
        self.message_of(Some(conversation), account.identity, id, &mut BTreeMap::new())
    }

    /// The message that was stored under this key; none when there is none (any more).
    pub fn message_of_key(&self, conversation: ConversationId, key: &str) -> Result<Option<MessageId>, Error> {
        let Some(account) = self.account()? else { return Ok(None) };
        let id = send_key::message_id(&account, conversation, key)?;
        Ok(self.store.message(conversation, account.identity, id)?.map(|_| id))
    }

    /// Devices of others in a conversation: those that a message can be delivered to.
    pub fn devices_of_others(&mut self, id: ConversationId) -> Result<usize, Error> {
        let members = self.group_info(id)?.map_or(vec![], |info| info.members);
        Ok(members.iter().filter(|member| !member.contact.is_self).map(|member| member.devices).sum())
    }

    /// Whether an own message still waits, and why it was refused if it was.
    pub fn own_message(&self, id: MessageId) -> Result<(bool, Option<String>), Error> {
        if let Some(reason) = self.store.get(Table::Refusals, &id.0)? {
            return Ok((false, Some(decode(&reason)?)));
        }
        let kind = WishKind::Send { message: id };
        Ok((WishRow::all(self.store)?.iter().any(|wish| wish.kind == kind), None))
    }

    /// Whether a wish is still there, and why it was refused if it was.
    pub fn wish(&self, id: u64) -> Result<(bool, Option<String>), Error> {
        if let Some(reason) = self.store.get(Table::Refusals, &id.to_be_bytes())? {
            return Ok((false, Some(decode(&reason)?)));
        }
        let is_waiting = DeviceChangeRow::load(self.store, &id)?.is_some();
        Ok((is_waiting || WishRow::all(self.store)?.iter().any(|wish| wish.id == id), None))
    }

    /// The devices of this identity, as the newest manifest that is known here lists them.
    pub fn devices(&self) -> Result<Vec<OwnDevice>, Error> {
        let account = self.account()?.ok_or_else(|| Error::BadInput("there is no account in this profile".into()))?;
        let manifest = Manifest::verify(&account.manifest)?;
        let own = |record: &DeviceRecord| {
            let id = device_id(&record.signature_key);
            let added = number(self.store, &device_added_at(id))?;
            let added = (added > 0).then_some(Timestamp(added));
            Ok(OwnDevice { id, name: record.name.clone(), is_this: id == account.device, added })
        };
        manifest.devices().iter().map(own).collect()
    }

    /// What a new device is told, and by whom.
    pub fn bundle(&self) -> Result<(AccountRow, LinkBundle), Error> {
        super::devices::bundle(self.store)
    }

    /// Conversations by where they stand: how many work, and how many do not yet.
    pub fn groups_joined(&self) -> Result<(usize, usize), Error> {
        let rows = GroupRow::all(self.store)?;
        let count = |wanted: &[ConversationState]| rows.iter().filter(|row| wanted.contains(&row.state)).count();
        Ok((count(&[ConversationState::Active]), count(&[ConversationState::Starting, ConversationState::Broken])))
    }

    /// Events after a position, with names.
    pub fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, Error> {
        let rows = self.store.events(after, limit)?;
        let contacts = &mut BTreeMap::new();
        let mut conversations: BTreeMap<ConversationId, Option<Conversation>> = BTreeMap::new();
        let mut events = Vec::with_capacity(rows.len());
        for (position, bytes) in rows {
            let row: EventRow = decode(&bytes)?;
            // Most events of a batch belong to a few conversations.
            let conversation = match row.conversation {
                Some(id) => match conversations.entry(id) {
                    Entry::Occupied(known) => known.get().clone(),
                    Entry::Vacant(free) => {
                        let found = ConversationRow::load(self.store, &id)?;
                        let view = found.map(|found| self.conversation_view(&found, false)).transpose()?;
                        free.insert(view).clone()
                    }
                },
                None => None,
            };
            if let Some(kind) = self.event_view(row.conversation, row.kind, contacts)? {
                events.push(Event { position, at: row.at, conversation, kind });
            }
        }
        Ok(events)
    }

    fn event_view(
        &self,
        conversation: Option<ConversationId>,
        kind: EventRowKind,
        contacts: &mut BTreeMap<IdentityId, Contact>,
    ) -> Result<Option<EventKind>, Error> {
        Ok(Some(match kind {
            EventRowKind::Message { sender, id } => match self.message_of(conversation, sender, id, contacts)? {
                Some(message) => EventKind::Message(message),
                None => return Ok(None),
            },
            EventRowKind::Sent { message } => EventKind::Sent { message },
            EventRowKind::NotSent { message, reason } => EventKind::NotSent { message, reason },
            EventRowKind::Joined { by } => EventKind::Joined { by: self.view(by)? },
            EventRowKind::MemberAdded { who, by } => {
                EventKind::MemberAdded { who: self.view(who)?, by: self.view(by)? }
            }
            EventRowKind::MemberRemoved { who, by } => {
                EventKind::MemberRemoved { who: self.view(who)?, by: self.view(by)? }
            }
            EventRowKind::Removed { by } => EventKind::Removed { by: self.view(by)? },
            EventRowKind::Left => EventKind::Left,
            EventRowKind::Renamed { by, name } => EventKind::Renamed { by: self.view(by)?, name },
            EventRowKind::RoleChanged { who, by, is_admin } => {
                EventKind::RoleChanged { who: self.view(who)?, by: self.view(by)?, is_admin }
            }
            EventRowKind::KeyChanged { name, old, new } => EventKind::KeyChanged { name, old, new },
            EventRowKind::UntrustedDevice { who, device } => {
                EventKind::UntrustedDevice { who: self.view(who)?, device }
            }
            EventRowKind::Gap { count, reason } => EventKind::Gap { count, reason },
            EventRowKind::Refused { what, reason } => EventKind::Refused { what, reason },
            EventRowKind::Edited { sender, id } => match self.message_of(conversation, sender, id, contacts)? {
                Some(message) => EventKind::Edited(message),
                None => return Ok(None),
            },
            EventRowKind::Deleted { sender, id } => match self.message_of(conversation, sender, id, contacts)? {
                Some(message) => EventKind::Deleted(message),
                None => return Ok(None),
            },
            EventRowKind::Reaction { by, sender, id, emoji, removed } => {
                match self.message_of(conversation, sender, id, contacts)? {
                    Some(message) => EventKind::Reaction { message, by: self.known(by, contacts)?, emoji, removed },
                    None => return Ok(None),
                }
            }
            EventRowKind::Receipt { by, device, is_read, messages } => {
                EventKind::Receipt { by: self.known(by, contacts)?, device, is_read, messages }
            }
            EventRowKind::Request { by } => EventKind::Request { by: self.known(by, contacts)? },
            EventRowKind::ExpiryChanged { by, after } => {
                EventKind::ExpiryChanged { by: self.known(by, contacts)?, after: after.map(Duration::from_millis) }
            }
            EventRowKind::DeviceAdded { who, device, name } => {
                EventKind::DeviceAdded { who: self.view(who)?, device, name }
            }
            EventRowKind::DeviceRemoved { who, device, name } => {
                EventKind::DeviceRemoved { who: self.view(who)?, device, name }
            }
        }))
    }

    fn message_of(
        &self,
        conversation: Option<ConversationId>,
        sender: IdentityId,
        id: MessageId,
        contacts: &mut BTreeMap<IdentityId, Contact>,
    ) -> Result<Option<Message>, Error> {
        let Some(conversation) = conversation else { return Ok(None) };
        let row = self.store.message(conversation, sender, id)?.filter(|row| !row.held);
        row.map(|row| self.message_view(row, contacts)).transpose()
    }

    /// How far a consumer has come with the events; none for one that never acknowledged anything.
    pub fn consumer(&self, consumer: &str) -> Result<Option<u64>, Error> {
        let position = self.store.get(Table::Counters, format!("consumer {consumer}").as_bytes())?;
        Ok(position.map(|bytes| decode(&bytes)).transpose()?)
    }

    /// The position of the newest event.
    pub fn last_event(&self) -> Result<u64, Error> {
        Ok(self.store.newest_event()?)
    }

    /// Whether nothing is under way: no request, no join, and no wish whose time has come in a group that works.
    pub fn is_quiet(&self, now: Timestamp) -> Result<bool, Error> {
        if !OutboxRow::all(self.store)?.is_empty() || !JoinRow::all(self.store)?.is_empty() {
            return Ok(false);
        }
        for wish in WishRow::all(self.store)?.iter().filter(|wish| wish.not_before <= now) {
            let conversation = ConversationRow::load(self.store, &wish.conversation)?;
            if conversation.as_ref().is_some_and(|row| row.group.is_none() && row.expects.is_some()) {
                continue;
            }
            let state = match conversation.and_then(|row| row.group) {
                Some(group) => GroupRow::load(self.store, &group)?.map(|row| row.state),
                None => None,
            };
            // What else is wished in a broken group waits until this device has come back.
            if state != Some(ConversationState::Broken) || wish.kind == WishKind::Rejoin {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is not as it should be.
    pub fn troubles(&self) -> Result<Vec<Trouble>, Error> {
        let quarantine = QuarantineRow::all(self.store)?;
        let mut troubles = Vec::new();
        for row in GroupRow::all(self.store)? {
            let kept = quarantine.iter().filter(|kept| kept.entry.log == LogId::Group(row.group)).count();
            let rejoin = RepairRow::load(self.store, &row.group)?.and_then(|repair| repair.rejoin);
            let (mending, obstacle) = rejoin.map_or((None, None), |rejoin| (Some(rejoin.reason), rejoin.trouble));
            if (mending.is_some() || kept > 0)
                && let Some(conversation) = self.conversation(row.conversation)?
            {
                troubles.push(Trouble { conversation, mending, obstacle, unreadable: kept });
            }
        }
        Ok(troubles)
    }

    /// Wishes of the user that are not carried out.
    pub fn waiting(&self) -> Result<usize, Error> {
        let own = |wish: &&WishRow| is_the_users(&wish.kind);
        Ok(WishRow::all(self.store)?.iter().filter(own).count() + DeviceChangeRow::all(self.store)?.len())
    }

    /// Entries that could not be processed.
    pub fn quarantined(&self) -> Result<usize, Error> {
        Ok(QuarantineRow::all(self.store)?.len())
    }
}
