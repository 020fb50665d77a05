//! A delivery service in memory, strict where the real one is: it validates with `qpq-trust`, gives one order per group,
//! and answers a repeated request as it answered the first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use openmls::group::PublicGroup;
use openmls_rust_crypto::{MemoryStorage, RustCrypto};
use qpq_proto::account::{Account, UserName};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::{
    Commit, CommitOutcome, CreateOutcome, GroupKind, Head, NewGroup, PostOutcome, RejoinInfo, Stay,
};
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, IdentityId, Seq};
use qpq_proto::stream::{Entry, EntryKind, LogId, Mark, Position, Subscribed, digest};
use qpq_proto::time::Timestamp;
use qpq_trust::{commit, group};
use tls_codec::Serialize as _;

use crate::request::{Reply, Request};

#[derive(Default)]
pub struct Delivery {
    crypto: RustCrypto,
    pub accounts: Vec<(Account, IdentityId, DeviceId)>,
    packages: HashMap<(DeviceId, bool), Vec<Vec<u8>>>,
    pub groups: BTreeMap<GroupId, Group>,
    inboxes: HashMap<DeviceId, Vec<Entry>>,
    acknowledged: HashMap<(DeviceId, LogId), Seq>,
    pub clock: u64,
    /// The next commit reaches the log in a form that no member can apply: its membership tag is wrong, which only
    /// members can tell.
    pub poison: bool,
    /// Of every new manifest it says that another device was faster.
    pub is_mocking: bool,
}

pub struct Group {
    public: PublicGroup,
    storage: MemoryStorage,
    pub log: Vec<Entry>,
    trees: BTreeMap<Epoch, Vec<u8>>,
    /// Device → its stays: after which entry it reads, and up to which one.
    members: BTreeMap<DeviceId, Vec<(Seq, Option<Seq>)>>,
    leaving: BTreeSet<DeviceId>,
    created: ContentHash,
    /// The request that made it.
    new: NewGroup,
    group_info: Vec<u8>,
    /// The group infos of all epochs.
    infos: BTreeMap<Epoch, Vec<u8>>,
}

impl Group {
    fn head(&self) -> Head {
        Head { epoch: group::epoch(&self.public), seq: Seq(self.log.len() as u64) }
    }

    fn find(&self, hash: ContentHash) -> Option<Seq> {
        self.log.iter().find(|entry| ContentHash::of(&entry.payload) == hash).map(|entry| entry.seq)
    }

    fn end_stay(&mut self, device: DeviceId, at: Seq) {
        if let Some((_, until)) = self.members.get_mut(&device).and_then(|stays| stays.last_mut()) {
            *until = Some(until.unwrap_or(at));
        }
    }

    fn is_member(&self, device: DeviceId) -> bool {
        self.members.get(&device).and_then(|stays| stays.last()).is_some_and(|(_, until)| until.is_none())
    }

    fn append(&mut self, id: GroupId, at: u64, kind: EntryKind, payload: &[u8]) -> Seq {
        let seq = Seq(self.log.len() as u64 + 1);
        let (log, at) = (LogId::Group(id), Timestamp(at));
        self.log.push(Entry { log, seq, at, kind, payload: payload.to_vec() });
        seq
    }
}

impl Delivery {
    pub fn call(&mut self, device: DeviceId, request: Request) -> Result<Reply, Refusal> {
        self.clock += 1;
        let clock = self.clock;
        match request {
            Request::RejoinInfo(id) => {
                let identity = self.identity_of(device);
                let known = self.group(id)?;
                let roster = group::roster(&known.public).map_err(invalid)?;
                if !roster.iter().any(|leaf| leaf.id.identity == identity) {
                    return Err(not_found());
                }
                let tree = known.public.export_ratchet_tree().tls_serialize_detached().expect("a tree");
                let leaving = known.leaving.iter().copied().collect();
                Ok(Reply::RejoinInfo(RejoinInfo { group_info: known.group_info.clone(), ratchet_tree: tree, leaving }))
            }
            Request::Memberships => {
                let identity = self.identity_of(device);
                // Whoever has said that it leaves is out.
                let is_in = |group: &Group| group.is_member(device) || !group.members.contains_key(&device);
                let groups =
                    self.groups.iter().filter(|(id, group)| is_in(group) && self.identities(**id).contains(&identity));
                let ids = groups.map(|(id, _)| *id);
                let acknowledged = |id| self.acknowledged.get(&(device, LogId::Group(id))).copied().unwrap_or_default();
                let inside = |id: &GroupId| self.groups[id].is_member(device);
                let stays = ids.map(|group| Stay { group, acknowledged: acknowledged(group), inside: inside(&group) });
                Ok(Reply::Memberships(stays.collect()))
            }
            Request::ByName(name) => self.account(|account, _| account.name == name),
            Request::ByIdentity(identity) => self.account(|_, of| of == identity),
            Request::PublishKeys { one_time, last_resort } => {
                for (packages, is_last) in [(one_time, false), (last_resort, true)] {
                    let packages = packages.into_iter().map(serde_bytes::ByteBuf::into_vec).collect();
                    self.packages.insert((device, is_last), packages);
                }
                Ok(Reply::Stock(1))
            }
            Request::Claim { identity, .. } => {
                let devices: Vec<_> =
                    self.accounts.iter().filter(|(_, of, _)| *of == identity).map(|(_, _, device)| *device).collect();
                let mut packages = Vec::new();
                for device in devices {
                    let stock = self.packages.get_mut(&(device, false)).filter(|stock| !stock.is_empty());
                    let package = stock.map(|stock| stock.remove(0));
                    packages.extend(package.or_else(|| self.packages.get(&(device, true))?.first().cloned()));
                }
                if packages.is_empty() { Err(not_found()) } else { Ok(Reply::Packages(packages)) }
            }
            Request::UpdateManifest(_) if self.is_mocking => Ok(Reply::ManifestUpdated { is_superseded: true }),
            Request::UpdateManifest(manifest) => {
                let next = qpq_trust::manifest::Manifest::verify(&manifest).map_err(invalid)?;
                let identity = self.identity_of(device);
                let known = self.accounts.iter().find(|(_, of, _)| *of == identity).expect("registered").0.clone();
                let before = qpq_trust::manifest::Manifest::verify(&known.manifest).expect("verified before");
                if before.encoded() != next.encoded() {
                    if next.version() <= before.version() {
                        return Ok(Reply::ManifestUpdated { is_superseded: true });
                    }
                    next.check_succeeds(&before).map_err(invalid)?;
                    self.accounts.retain(|(_, of, _)| *of != identity);
                    for record in next.devices() {
                        let device = qpq_trust::identity::device_id(&record.signature_key);
                        let account = Account { name: known.name.clone(), manifest: manifest.to_vec() };
                        self.accounts.push((account, identity, device));
                    }
                }
                Ok(Reply::ManifestUpdated { is_superseded: false })
            }
            Request::Create(new) => self.create(new),
            Request::Commit { group, commit } => {
                if let Some(seq) = self.group(group)?.find(ContentHash::of(&commit.commit)) {
                    return Ok(Reply::Committed(CommitOutcome::Accepted(seq)));
                }
                let head = self.group(group)?.head();
                let known = self.group(group)?.leaving.iter().copied().eq(commit.leaving.iter().copied());
                if head.epoch != commit.expected_epoch || commit::is_external(&commit.commit) && !known {
                    return Ok(Reply::Committed(CommitOutcome::Superseded(head)));
                }
                match self.commit(group, &commit) {
                    Err(refusal) if refusal.detail == qpq_trust::TrustError::LeaversRemain.to_string() => {
                        Ok(Reply::Committed(CommitOutcome::Superseded(head)))
                    }
                    done => done.map(|seq| Reply::Committed(CommitOutcome::Accepted(seq))),
                }
            }
            Request::Post { group, post } => {
                let known = self.group(group)?;
                if let Some(seq) = known.find(ContentHash::of(&post.payload)) {
                    return Ok(Reply::Posted(PostOutcome::Accepted(seq)));
                }
                if !known.is_member(device) {
                    return Err(not_found());
                }
                if known.head().epoch != post.epoch {
                    return Ok(Reply::Posted(PostOutcome::StaleEpoch(known.head())));
                }
                let seq = known.append(group, clock, EntryKind::Message, &post.payload);
                Ok(Reply::Posted(PostOutcome::Accepted(seq)))
            }
            Request::Leave { group, epoch, proposal } => {
                let crypto = RustCrypto::default();
                let known = self.group(group)?;
                if let Some(seq) = known.find(ContentHash::of(&proposal)) {
                    return Ok(Reply::Left(PostOutcome::Accepted(seq)));
                }
                if known.head().epoch != epoch {
                    return Ok(Reply::Left(PostOutcome::StaleEpoch(known.head())));
                }
                let leaver = commit::process_leave(&crypto, &known.public, &proposal).map_err(invalid)?;
                let seq = known.append(group, clock, EntryKind::Proposal, &proposal);
                known.leaving.insert(leaver.id.device);
                known.end_stay(leaver.id.device, seq);
                Ok(Reply::Left(PostOutcome::Accepted(seq)))
            }
            Request::Tree { group, epoch } => {
                self.group(group)?.trees.get(&epoch).cloned().map(Reply::Tree).ok_or_else(not_found)
            }
        }
    }

    /// What a device reads of a log.
    pub fn read(&self, device: DeviceId, log: LogId, after: Seq) -> Vec<Entry> {
        match log {
            LogId::Inbox => {
                let entries = self.inboxes.get(&device).into_iter().flatten();
                entries.filter(|entry| entry.seq > after).cloned().collect()
            }
            LogId::Group(id) => {
                let Some(group) = self.groups.get(&id) else { return vec![] };
                let Some(stays) = group.members.get(&device) else { return vec![] };
                let in_stay = |entry: &Entry| {
                    stays.iter().any(|(from, until)| entry.seq > *from && until.is_none_or(|until| entry.seq <= until))
                };
                let visible = |entry: &&Entry| entry.seq > after && in_stay(entry);
                group.log.iter().filter(visible).cloned().collect()
            }
        }
    }

    fn create(&mut self, new: NewGroup) -> Result<Reply, Refusal> {
        let storage = MemoryStorage::default();
        let public = group::new_public_group(&self.crypto, &storage, &new).map_err(invalid)?;
        let id = group::id(&public).map_err(invalid)?;
        let created = ContentHash::of(&new.group_info);
        if let Some(known) = self.groups.get(&id) {
            // Made again by a device that was set back.
            let is_same = known.created == created;
            let outcome = if is_same { CreateOutcome::Created { first: Seq(1) } } else { CreateOutcome::Exists(id) };
            return Ok(Reply::Created(outcome));
        }
        let state = group::state(&public).map_err(invalid)?;
        let creator = group::roster(&public).map_err(invalid)?[0];
        let trees = BTreeMap::new();
        let members = BTreeMap::from([(creator.id.device, vec![(Seq(0), None)])]);
        let (leaving, group_info) = (BTreeSet::new(), new.group_info.clone());
        let infos = BTreeMap::from([(Epoch(0), group_info.clone())]);
        let group = Group {
            public,
            storage,
            log: vec![],
            trees,
            members,
            leaving,
            created,
            new: new.clone(),
            group_info,
            infos,
        };
        self.groups.insert(id, group);
        let first = match &new.first {
            None => Seq(0),
            Some(first) if state.kind == GroupKind::Group => self.commit(id, first)?,
            Some(first) => {
                let inboxes = self.inboxes.clone();
                let seq = self.commit(id, first)?;
                let pair = self.identities(id);
                let others = self.groups.iter().filter(|(other, group)| {
                    **other != id && group::state(&group.public).is_ok_and(|state| state.kind == GroupKind::Direct)
                });
                let existing = others.map(|(other, _)| *other).find(|other| self.identities(*other) == pair);
                if let Some(existing) = existing {
                    // One transaction: nothing of it happened.
                    self.groups.remove(&id);
                    self.inboxes = inboxes;
                    return Ok(Reply::Created(CreateOutcome::Exists(existing)));
                }
                seq
            }
        };
        Ok(Reply::Created(CreateOutcome::Created { first }))
    }

    pub fn identities(&self, id: GroupId) -> BTreeSet<IdentityId> {
        let roster = group::roster(&self.groups[&id].public).expect("a valid roster");
        roster.iter().map(|leaf| leaf.id.identity).collect()
    }

    fn commit(&mut self, id: GroupId, commit: &Commit) -> Result<Seq, Refusal> {
        let crypto = RustCrypto::default();
        let (clock, poison) = (self.clock, std::mem::take(&mut self.poison));
        let known = self.group(id)?;
        let (staged, review) =
            commit::process(&crypto, &known.public, &commit.commit, &known.leaving).map_err(invalid)?;
        qpq_trust::group_info::check(&crypto, &known.public, &commit.commit, &staged, &review, &commit.group_info)
            .map_err(invalid)?;
        known.public.merge_commit(&known.storage, staged).expect("memory does not fail");
        known.group_info.clone_from(&commit.group_info);
        known.infos.insert(group::epoch(&known.public), commit.group_info.clone());
        let mut payload = commit.commit.clone();
        if poison && let Some(last) = payload.last_mut() {
            *last ^= 1;
        }
        let seq = known.append(id, clock, EntryKind::Commit, &payload);
        let tree = known.public.export_ratchet_tree().tls_serialize_detached().expect("a tree");
        known.trees.insert(group::epoch(&known.public), tree);
        let stays = |leaf: &qpq_trust::credential::Leaf| review.is_external && known.is_member(leaf.id.device);
        let stays: Vec<_> = review.added.iter().filter(|leaf| stays(leaf)).map(|leaf| leaf.id.device).collect();
        for leaf in review.removed.iter().filter(|leaf| !stays.contains(&leaf.id.device)) {
            known.leaving.remove(&leaf.id.device);
            known.end_stay(leaf.id.device, seq);
        }
        for leaf in review.added.iter().filter(|leaf| !stays.contains(&leaf.id.device)) {
            let seq = if review.is_external { Seq(seq.0 - 1) } else { seq };
            known.members.entry(leaf.id.device).or_default().push((seq, None));
        }
        for welcome in &commit.welcomes {
            let inbox = self.inboxes.entry(welcome.device).or_default();
            let seq = Seq(inbox.len() as u64 + 1);
            let (log, kind) = (LogId::Inbox, EntryKind::Welcome);
            inbox.push(Entry { log, seq, at: Timestamp(clock), kind, payload: welcome.envelope.clone() });
        }
        Ok(seq)
    }

    /// Where a subscription begins, and what is known of the device.
    pub fn subscribe(&self, device: DeviceId, log: LogId, after: Seq, known: &[Mark]) -> Result<Subscribed, Refusal> {
        let acknowledged = self.acknowledged.get(&(device, log)).copied().unwrap_or_default();
        let LogId::Group(id) = log else {
            let head = Seq(self.inboxes.get(&device).map_or(0, Vec::len) as u64);
            let from = if after > head { Seq(0) } else { after };
            return Ok(Subscribed { head, from, acknowledged, joined: Seq(0), lineage: None });
        };
        let group = self.groups.get(&id).filter(|group| group.members.contains_key(&device)).ok_or_else(not_found)?;
        let fits = |mark: &&Mark| {
            let entry = group.log.get(mark.seq.0 as usize - 1);
            entry.is_some_and(|entry| digest(ContentHash::of(&entry.payload)) == mark.digest)
        };
        let agreed = known.iter().find(fits).map(|mark| mark.seq);
        let from = if known.is_empty() || agreed == known.first().map(|mark| mark.seq) {
            after
        } else {
            agreed.unwrap_or_default()
        };
        let lineage = group::lineage(group.public.group_context()).ok();
        let joined = group.members.get(&device).and_then(|stays| stays.last()).map_or(Seq(0), |stay| stay.0);
        Ok(Subscribed { head: group.head().seq, from, acknowledged, joined, lineage })
    }

    pub fn acknowledge(&mut self, device: DeviceId, positions: &[Position]) {
        for position in positions {
            let known = self.acknowledged.entry((device, position.log)).or_default();
            *known = position.seq.max(*known);
        }
    }

    /// The server is restored from a backup in which this group had only so many entries; none: no group.
    pub fn set_back(&mut self, id: GroupId, entries: Option<usize>) {
        let group = self.groups.remove(&id).expect("a group");
        let lost: BTreeSet<u64> = group.log.iter().skip(entries.unwrap_or(0)).map(|entry| entry.at.0).collect();
        for (device, inbox) in &mut self.inboxes {
            inbox.retain(|entry| !lost.contains(&entry.at.0));
            self.acknowledged.remove(&(*device, LogId::Inbox));
        }
        self.acknowledged.retain(|(_, log), _| *log != LogId::Group(id));
        let Some(entries) = entries else { return };
        let now = self.clock;
        let inboxes = self.inboxes.clone();
        let mut log = group.log.into_iter().take(entries).peekable();
        let first = log.peek().filter(|_| group.new.first.is_some()).map_or(now, |entry| entry.at.0);
        self.clock = first;
        self.create(group.new).expect("it worked before");
        for entry in log.skip(self.groups[&id].log.len()) {
            self.clock = entry.at.0;
            match entry.kind {
                EntryKind::Commit => {
                    let known = self.group(id).expect("a group");
                    let storage = MemoryStorage::default();
                    let crypto = RustCrypto::default();
                    let (staged, review) = commit::process(&crypto, &known.public, &entry.payload, &known.leaving)
                        .expect("it worked before");
                    known.public.merge_commit(&storage, staged).expect("memory does not fail");
                    let seq = known.append(id, entry.at.0, entry.kind, &entry.payload);
                    for leaf in review.removed {
                        known.end_stay(leaf.id.device, seq);
                    }
                    for leaf in review.added {
                        known.members.entry(leaf.id.device).or_default().push((seq, None));
                    }
                }
                _ => drop(self.group(id).expect("a group").append(id, entry.at.0, entry.kind, &entry.payload)),
            }
        }
        self.clock = now;
        self.inboxes = inboxes;
        let info = group.infos.get(&group::epoch(&self.groups[&id].public)).expect("of every epoch").clone();
        self.group(id).expect("a group").group_info = info;
    }

    fn group(&mut self, id: GroupId) -> Result<&mut Group, Refusal> {
        self.groups.get_mut(&id).ok_or_else(not_found)
    }

    fn identity_of(&self, device: DeviceId) -> IdentityId {
        self.accounts.iter().find(|(_, _, of)| *of == device).expect("registered").1
    }

    fn account(&self, wanted: impl Fn(&Account, IdentityId) -> bool) -> Result<Reply, Refusal> {
        let found = self.accounts.iter().find(|(account, identity, _)| wanted(account, *identity));
        found.map(|(account, _, _)| Reply::Account(account.clone())).ok_or_else(not_found)
    }
}

fn not_found() -> Refusal {
    Refusal::new(Code::NotFound, "not found")
}

fn invalid(error: qpq_trust::TrustError) -> Refusal {
    Refusal::new(Code::Invalid, error.to_string())
}

/// A name.
pub fn name(text: &str) -> UserName {
    text.parse().expect("a valid name")
}

impl Delivery {
    /// Hands out the key packages of one account for the other.
    pub fn swap_packages(&mut self, for_account: usize, of_account: usize) {
        for last_resort in [false, true] {
            let stolen = self.packages[&(self.accounts[of_account].2, last_resort)].clone();
            self.packages.insert((self.accounts[for_account].2, last_resort), stolen);
        }
    }
}
