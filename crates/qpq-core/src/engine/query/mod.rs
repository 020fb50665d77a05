//! Reading: what the engine knows, as views.

mod events;
mod messages;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Duration;

use openmls_rust_crypto::RustCrypto;
use qpq_proto::account::UserName;
use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{Epoch, IdentityId};
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

use crate::engine::commands::kind_of;
use crate::engine::drive::is_the_users;
use crate::engine::receipts::SILENT;
use crate::error::Error;
use crate::mls::{Provider, group};
use crate::store::rows::{
    AccountRow, ContactRow, ConversationRow, DeviceChangeRow, GroupRow, JoinRow, OutboxRow, QuarantineRow, RepairRow,
    Row as _, TransferRow, WishKind, WishRow, conversation_key, device_added_at, number,
};
use crate::store::{Store, StoreError, Table, decode};
use crate::view::{
    Contact, Conversation, ConversationId, ConversationState, GroupInfo, Member, OwnDevice, Trouble, Trust,
};

/// A look at the store.
pub struct Query<'a> {
    pub(super) store: &'a mut dyn Store,
    /// Nearly every answer needs it.
    account: OnceCell<Option<AccountRow>>,
}

impl<'a> Query<'a> {
    /// Looks at this transaction.
    pub fn new(store: &'a mut dyn Store) -> Self {
        Self { store, account: OnceCell::new() }
    }

    /// The account of this profile.
    pub fn account(&self) -> Result<Option<&AccountRow>, Error> {
        if let Some(known) = self.account.get() {
            return Ok(known.as_ref());
        }
        let row = AccountRow::load(self.store, &())?;
        Ok(self.account.get_or_init(|| row).as_ref())
    }

    /// Everybody who is known.
    pub fn contacts(&self) -> Result<Vec<Contact>, Error> {
        ContactRow::all(self.store)?.into_iter().map(|row| self.view(row.identity)).collect()
    }

    /// One contact; without a name when nothing is known.
    pub fn view(&self, identity: IdentityId) -> Result<Contact, Error> {
        let account = self.account()?;
        if let Some(account) = account.filter(|account| account.identity == identity) {
            let name = Some(account.name.clone());
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

    /// The newest message and what is unread are looked up only when they are wanted: both grow with the conversation.
    fn conversation_view(&self, row: &ConversationRow, with_messages: bool) -> Result<Conversation, Error> {
        let group = match row.group {
            Some(group) => GroupRow::load(self.store, &group)?,
            None => None,
        };
        let last = if with_messages { self.store.messages(row.id, None, 1, None)?.pop() } else { None };
        let contacts = &mut BTreeMap::new();
        Ok(Conversation {
            id: row.id,
            kind: kind_of(row.id),
            title: self.title(row, group.as_ref())?,
            is_request: row.requested_by.is_some(),
            is_muted: row.is_muted,
            expires_after: group.as_ref().and_then(|group| group.expires_after).map(Duration::from_millis),
            state: group.map_or(ConversationState::Starting, |group| group.state),
            unread: if with_messages { self.store.count_received(row.id, row.read_number)? } else { 0 },
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

    /// Devices of others in a conversation: those that a message can be delivered to.
    pub fn devices_of_others(&mut self, id: ConversationId) -> Result<usize, Error> {
        let members = self.group_info(id)?.map_or(vec![], |info| info.members);
        Ok(members.iter().filter(|member| !member.contact.is_self).map(|member| member.devices).sum())
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
        let manifest = Manifest::restore(&account.manifest)?;
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

    /// Whether nothing is under way: no request, no join, no receipt, and no wish whose time has come in a group that works.
    pub fn is_quiet(&self, now: Timestamp) -> Result<bool, Error> {
        if !OutboxRow::all(self.store)?.is_empty() || !JoinRow::all(self.store)?.is_empty() {
            return Ok(false);
        }
        let is_near = |wish: &&WishRow| wish.not_before <= now || matches!(wish.kind, WishKind::Receipt { .. });
        for wish in WishRow::all(self.store)?.iter().filter(is_near) {
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
