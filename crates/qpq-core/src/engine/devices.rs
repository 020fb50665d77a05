//! The devices of this identity: changes of the manifest, which another device may make at the same time, and what follows
//! from them in the groups.

use std::time::Duration;

use qpq_proto::code::Refusal;
use qpq_proto::ids::{DeviceId, GroupId};
use qpq_proto::keys::DeviceRecord;
use qpq_proto::limits;
use qpq_proto::link::{LinkBundle, LinkedGroup, LinkedHistory, LinkedTrust};
use qpq_proto::time::Timestamp;
use qpq_trust::TrustError;
use qpq_trust::identity::{IdentityKeys, device_id};
use qpq_trust::manifest::Manifest;
use serde_bytes::ByteBuf;

use super::ctx::{Ctx, is_followed};
use super::receipts::SILENT;
use super::{Answer, Effect};
use crate::error::Error;
use crate::mls::group;
use crate::request::{Purpose, Reply, Request};
use crate::store::archive::{HistoryRow, HistoryStage};
use crate::store::rows::{
    AccountRow, ContactRow, ConversationRow, DeviceChange, DeviceChangeRow, EventRowKind, GroupRow, Row as _, ToldRow,
    WishKind, device_added_at, next_number, number, set_number,
};
use crate::store::{Store, Table, encode};
use crate::view::Trust;

impl Ctx<'_> {
    /// Begins a change of the own devices: first of all, what are they now?
    pub(super) fn change_devices(&mut self, change: DeviceChange) -> Result<Answer, Error> {
        let id = next_number(self.store, "wish")?;
        DeviceChangeRow { id, change, attempts: 0 }.save(self.store)?;
        self.ask_own_devices(id)?;
        Ok(Answer::Wish(id))
    }

    fn ask_own_devices(&mut self, change: u64) -> Result<(), Error> {
        self.request(Request::ByIdentity(self.account.identity), Purpose::OwnDevices { change })?;
        Ok(())
    }

    /// The newest manifest has come: the next one is signed, if there is something to change.
    pub(super) fn own_devices(&mut self, id: u64, result: Result<Reply, Refusal>) -> Result<(), Error> {
        let Some(row) = DeviceChangeRow::load(self.store, &id)? else { return Ok(()) };
        let learned = match result {
            Ok(Reply::Account(account)) => self.learn(&account),
            Ok(_) => Err(Error::BadInput("an answer of another kind than the question".into())),
            Err(refusal) => return self.settle_devices(id, Err(refusal.detail)),
        };
        match learned {
            Ok(identity) if identity == self.account.identity => {}
            Ok(_) => return self.settle_devices(id, Err("the server answered for another identity".into())),
            Err(error @ (Error::Store(_) | Error::Random(_))) => return Err(error),
            Err(error) => return self.settle_devices(id, Err(error.to_string())),
        }
        let known = Manifest::restore(&self.account.manifest)?;
        match next_devices(&known, &row.change) {
            Ok(Some(devices)) => {
                let keys = identity_keys(&self.account)?;
                let manifest = ByteBuf::from(keys.sign_successor(&known, devices).encode());
                self.request(Request::UpdateManifest(manifest), Purpose::UpdateManifest { change: id })?;
                Ok(())
            }
            Ok(None) => self.settle_devices(id, Ok(())),
            Err(reason) => self.settle_devices(id, Err(reason.to_owned())),
        }
    }

    /// The server has taken it, or another device was faster.
    pub(super) fn manifest_updated(&mut self, id: u64, manifest: &[u8], is_superseded: bool) -> Result<(), Error> {
        if is_superseded {
            let Some(mut row) = DeviceChangeRow::load(self.store, &id)? else { return Ok(()) };
            row.attempts += 1;
            if row.attempts > MOST_ATTEMPTS {
                let reason = "other devices change the list again and again; try once more later".to_owned();
                return self.settle_devices(id, Err(reason));
            }
            row.save(self.store)?;
            return self.ask_own_devices(id);
        }
        let next = Manifest::verify(manifest)?;
        let result = match self.own_manifest(&next, Duration::ZERO) {
            // A sibling's manifest after this one has come first.
            Ok(()) | Err(Error::Trust(TrustError::Rollback { .. })) => Ok(()),
            Err(Error::Trust(error)) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        self.settle_devices(id, result)
    }

    pub(super) fn settle_devices(&mut self, id: u64, result: Result<(), String>) -> Result<(), Error> {
        DeviceChangeRow::delete(self.store, &id)?;
        if let Err(reason) = &result {
            self.store.put(Table::Refusals, &id.to_be_bytes(), &encode(reason)?)?;
        }
        self.effect(Effect::Settled { wish: id, result });
        Ok(())
    }

    /// Takes over a newer manifest of the own identity: tells what is new, and takes devices that are gone out of the groups.
    pub(super) fn own_manifest(&mut self, next: &Manifest, delay: Duration) -> Result<(), Error> {
        let known = Manifest::restore(&self.account.manifest)?;
        next.check_succeeds(&known)?;
        if next.version() == known.version() {
            return Ok(());
        }
        let mut contact = self.contact(next.identity())?;
        contact.follow(next, Some(&known));
        contact.save(self.store)?;
        self.account.manifest = next.encoded().to_vec();
        self.account.save(self.store)?;
        let who = next.identity();
        for record in next.devices() {
            let device = device_id(&record.signature_key);
            if known.device(device).is_none() && device != self.account.device {
                set_number(self.store, &device_added_at(device), self.now.0)?;
                self.event(None, EventRowKind::DeviceAdded { who, device, name: record.name.clone() })?;
            }
        }
        let mut gone = Vec::new();
        for record in known.devices() {
            let device = device_id(&record.signature_key);
            if next.device(device).is_none() {
                gone.push(device);
                self.event(None, EventRowKind::DeviceRemoved { who, device, name: record.name.clone() })?;
            }
        }
        if !gone.is_empty() {
            for row in GroupRow::all(self.store)?.into_iter().filter(|row| is_followed(row.state)) {
                self.wish(row.conversation, WishKind::RemoveOwn { devices: gone.clone() }, delay)?;
            }
        }
        Ok(())
    }

    /// A device that did not make the change itself steps in when the one that did has not.
    pub(super) fn stepping_in(&self, next: &Manifest) -> Duration {
        let ids = next.devices().iter().map(|record| device_id(&record.signature_key));
        let rank = ids.take_while(|device| *device != self.account.device).count();
        Duration::from_secs(5) * u32::try_from(rank + 1).unwrap_or(1)
    }

    /// Other devices of this identity that have a leaf in the group.
    pub(super) fn siblings_in(&mut self, id: GroupId) -> Result<Vec<DeviceId>, Error> {
        let mls = self.take_mls(id)?;
        let leaves = group::leaves(&mls);
        self.keep_mls(id, mls);
        let me = (self.account.identity, self.account.device);
        let siblings = leaves.into_iter().map(|(_, leaf)| leaf.id);
        Ok(siblings.filter(|id| id.identity == me.0 && id.device != me.1).map(|id| id.device).collect())
    }

    /// This device has just come in: leaves of devices that were unlinked meanwhile go.
    pub(super) fn remove_former_siblings(&mut self, row: &GroupRow) -> Result<(), Error> {
        let siblings = self.siblings_in(row.group)?;
        if siblings.is_empty() {
            return Ok(());
        }
        let manifest = Manifest::restore(&self.account.manifest)?;
        let devices: Vec<_> = siblings.into_iter().filter(|device| manifest.device(*device).is_none()).collect();
        if !devices.is_empty() {
            self.wish(row.conversation, WishKind::RemoveOwn { devices }, Duration::ZERO)?;
        }
        Ok(())
    }

    /// Whether the own manifest lists other devices than this one.
    pub(super) fn has_siblings(&self) -> Result<bool, Error> {
        Ok(Manifest::restore(&self.account.manifest)?.devices().len() > 1)
    }
}

impl ContactRow {
    /// Takes over the devices of a newer manifest. Those that are gone stay known: what they said stays said.
    pub(super) fn follow(&mut self, manifest: &Manifest, known: Option<&Manifest>) {
        let name_of = |device: DeviceId| known.and_then(|known| known.device(device)).map(|record| record.name.clone());
        let named = |device: &DeviceId| {
            let name = self.former.get(device).cloned().or_else(|| name_of(*device));
            (*device, name.unwrap_or_default())
        };
        self.former = manifest.former().iter().map(named).collect();
        self.manifest = manifest.encoded().to_vec();
        self.devices =
            manifest.devices().iter().map(|record| (device_id(&record.signature_key), record.signature_key)).collect();
    }
}

/// What a device knows that takes in another one, for the bundle; the manifest lists the new device already.
///
/// # Errors
/// The store failed, or there is no account.
pub fn bundle(store: &dyn Store) -> Result<(AccountRow, LinkBundle), Error> {
    let account =
        AccountRow::load(store, &())?.ok_or_else(|| Error::BadInput("there is no account in this profile".into()))?;
    let contacts = ContactRow::all(store)?.into_iter().filter(|contact| contact.identity != account.identity);
    let contacts = contacts.map(|contact| qpq_proto::link::LinkedContact {
        identity: contact.identity,
        name: contact.name,
        trust: match contact.trust {
            Trust::Unverified => LinkedTrust::Unverified,
            Trust::Verified => LinkedTrust::Verified,
            Trust::Rejected => LinkedTrust::Rejected,
        },
        is_known: contact.is_known,
        is_blocked: contact.is_blocked,
    });
    let mut groups = Vec::new();
    for row in GroupRow::all(store)?.into_iter().filter(|row| is_followed(row.state)).take(limits::LINKED) {
        let conversation = ConversationRow::load(store, &row.conversation)?;
        groups.push(LinkedGroup {
            group: row.group,
            name_key: row.name_key,
            is_muted: conversation.as_ref().is_some_and(|conversation| conversation.is_muted),
            requested_by: conversation.as_ref().and_then(|conversation| conversation.requested_by),
            last_number: conversation.map_or(0, |conversation| conversation.last_number),
        });
    }
    let identity_keys = <[u8; 64]>::try_from(&account.identity_keys[..]).map_err(|_| damaged())?;
    let bundle = LinkBundle {
        identity_keys: zeroize::Zeroizing::new(identity_keys),
        manifest: account.manifest.clone(),
        domain: account.domain.clone(),
        contacts: contacts.take(limits::LINKED).collect(),
        groups,
        silent: number(store, SILENT)? != 0,
        history: None,
        signature: [0; 64],
    };
    Ok((account, bundle))
}

/// Stores on a new device what the bundle tells, in one transaction with its account. The groups come by themselves.
///
/// # Errors
/// The store failed.
pub fn take_over(store: &mut dyn Store, account: &AccountRow, bundle: &LinkBundle) -> Result<(), Error> {
    account.save(store)?;
    let mut own = ContactRow::unknown(account.identity);
    own.follow(&Manifest::verify(&account.manifest)?, None);
    own.save(store)?;
    for linked in &bundle.contacts {
        let trust = match linked.trust {
            LinkedTrust::Unverified => Trust::Unverified,
            LinkedTrust::Verified => Trust::Verified,
            LinkedTrust::Rejected => Trust::Rejected,
        };
        let (identity, name) = (linked.identity, linked.name.clone());
        if let Some(name) = &name {
            store.put(Table::Names, name.as_str().as_bytes(), &identity.0)?;
        }
        let (is_known, is_blocked) = (linked.is_known, linked.is_blocked);
        ContactRow { name, trust, is_known, is_blocked, ..ContactRow::unknown(identity) }.save(store)?;
    }
    set_number(store, SILENT, u64::from(bundle.silent))?;
    for linked in &bundle.groups {
        let LinkedGroup { group, name_key, is_muted, requested_by, last_number } = linked.clone();
        let last_number = if bundle.history.is_some() { last_number } else { 0 };
        ToldRow { group, name_key, is_muted, requested_by, last_number }.save(store)?;
    }
    if let Some(LinkedHistory { blob, key, sha256, size }) = bundle.history.clone() {
        let (stage, begun) = (HistoryStage::Receiving, Timestamp(0));
        HistoryRow { blob, key, sha256, size, stage, parts: 0, begun }.save(store)?;
    }
    Ok(())
}

/// The devices after a change; none when nothing is to be changed.
fn next_devices(known: &Manifest, change: &DeviceChange) -> Result<Option<Vec<DeviceRecord>>, &'static str> {
    let mut devices = known.devices().to_vec();
    let place =
        |device: &DeviceId| known.devices().iter().position(|record| device_id(&record.signature_key) == *device);
    match change {
        DeviceChange::Look => return Ok(None),
        DeviceChange::Add(record) if devices.contains(record) => return Ok(None),
        DeviceChange::Add(record) if devices.len() < limits::DEVICES => devices.push(record.clone()),
        DeviceChange::Add(_) => return Err("you have as many devices as there may be; unlink one first"),
        DeviceChange::Remove(device) => match place(device) {
            Some(_) if devices.len() == 1 => {
                return Err("this is your only device; to give up the account there is delete-account");
            }
            Some(at) => drop(devices.remove(at)),
            None => return Ok(None),
        },
        DeviceChange::Rename(device, name) => match place(device) {
            Some(at) if devices[at].name == *name => return Ok(None),
            Some(at) => devices[at].name.clone_from(name),
            None => return Err("you have no such device any more"),
        },
    }
    Ok(Some(devices))
}

/// The keys of this identity.
///
/// # Errors
/// The stored account is damaged.
pub fn identity_keys(account: &AccountRow) -> Result<IdentityKeys, Error> {
    let bytes = zeroize::Zeroizing::new(<[u8; 64]>::try_from(&account.identity_keys[..]).map_err(|_| damaged())?);
    Ok(IdentityKeys::from_bytes(&bytes))
}

fn damaged() -> Error {
    Error::Store(crate::store::StoreError::Corrupt("the identity's keys".to_owned()))
}

/// A person has few devices, and changes them seldom: more than that is a server that makes fun of us.
const MOST_ATTEMPTS: u32 = 16;
