//! The inbox: Welcomes, opened, joined with the tree from the server, and announced once the members are checked.

use std::collections::BTreeSet;

use qpq_proto::code::Refusal;
use qpq_proto::content::WelcomeBundle;
use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{Epoch, GroupId, IdentityId, Seq};
use qpq_proto::stream::{Entry, EntryKind, LogId, Position};
use qpq_trust::TrustError;
use qpq_trust::credential::Leaf;
use qpq_trust::group as trust_group;
use qpq_trust::suite::Suite;

use super::Effect;
use super::ctx::{Ctx, INBOX_CURSOR, INBOX_NEWEST, INBOX_TAKEN, is_followed};
use super::directory::Standing;
use crate::crypto::envelope::EnvelopeKey;
use crate::crypto::group_name;
use crate::error::Error;
use crate::mls::{Provider, group, welcome};
use crate::request::{Purpose, Request};
use crate::store::rows::{
    ConversationRow, EventRowKind, GroupRow, JoinRow, QuarantineRow, Row as _, number, set_number,
};
use crate::view::{ConversationId, ConversationState};

impl Ctx<'_> {
    /// Entries of any logs, in order.
    pub(super) fn entries(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        let mut rest = entries.into_iter().peekable();
        while let Some(first) = rest.next() {
            let log = first.log;
            let mut run = vec![first];
            while let Some(entry) = rest.next_if(|entry| entry.log == log) {
                run.push(entry);
            }
            match log {
                LogId::Inbox => self.inbox(run)?,
                LogId::Group(group) => self.group_log(group, run)?,
            }
        }
        Ok(())
    }

    fn inbox(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        let mut cursor = self.inbox_cursor()?;
        let mut newest = number(self.store, INBOX_NEWEST)?;
        for entry in entries {
            if entry.seq <= cursor {
                continue;
            }
            cursor = entry.seq;
            if entry.at.0 <= number(self.store, INBOX_TAKEN)? {
                continue;
            }
            newest = newest.max(entry.at.0);
            match self.open_welcome(&entry) {
                Ok(()) => {}
                Err(error @ (Error::Store(_) | Error::Random(_))) => return Err(error),
                Err(error) => self.quarantine(entry, error.to_string())?,
            }
        }
        set_number(self.store, INBOX_CURSOR, cursor.0)?;
        set_number(self.store, INBOX_NEWEST, newest)?;
        self.effect(Effect::Acknowledge(vec![Position { log: LogId::Inbox, seq: cursor }]));
        Ok(())
    }

    fn open_welcome(&mut self, entry: &Entry) -> Result<(), Error> {
        if entry.kind != EntryKind::Welcome {
            return Err(Error::BadInput("only Welcomes belong into an inbox".into()));
        }
        let key = EnvelopeKey::from_seed(&self.account.envelope_key);
        let bytes =
            key.open(self.account.device, &entry.payload).map_err(|error| Error::BadInput(error.to_string()))?;
        let bundle = WelcomeBundle::decode(&bytes).map_err(TrustError::from)?;
        let (group, epoch) = (bundle.group, bundle.epoch);
        if JoinRow::of_group(self.store, group)?.iter().any(|waiting| waiting.epoch >= epoch) {
            return Err(Error::BadInput("a later Welcome to the same group is there already".into()));
        }
        JoinRow { group, epoch, bundle: bytes.to_vec(), at: entry.at, seq: entry.seq }.save(self.store)?;
        self.request(Request::Tree { group, epoch }, Purpose::Tree { group, epoch })?;
        Ok(())
    }

    /// The tree has come: the Welcome can be used.
    pub(super) fn join(&mut self, id: GroupId, epoch: Epoch, tree: &[u8]) -> Result<(), Error> {
        let Some(waiting) = JoinRow::load(self.store, &(id, epoch))? else { return Ok(()) };
        if JoinRow::of_group(self.store, id)?.iter().any(|earlier| earlier.epoch < epoch) {
            // Added, removed and added again while away: one stay after the other.
            return Ok(());
        }
        if let Some(known) = GroupRow::load(self.store, &id)?
            && self.has_keys(&known)?
        {
            let mls = self.take_mls(id)?;
            let current = group::epoch(&mls);
            self.keep_mls(id, mls);
            if epoch > current {
                // Removed and added again, and the log has not come that far: the Welcome is used when it has.
                return Ok(());
            }
            if epoch <= known.joined {
                // This device has come in by another way, and later.
                JoinRow::delete(self.store, &(id, epoch))?;
                return self.next_join(id);
            }
        }
        if self.repair(id)?.rejoin.is_some_and(|rejoin| rejoin.commit.is_some()) {
            // The server may have taken the commit by which this device comes in: what becomes of it decides.
            return Ok(());
        }
        JoinRow::delete(self.store, &(id, epoch))?;
        match self.join_now(&waiting, tree) {
            Ok(()) => Ok(()),
            Err(error @ (Error::Store(_) | Error::Random(_))) => Err(error),
            Err(error) => {
                if GroupRow::load(self.store, &id)?.is_none_or(|known| !is_followed(known.state)) {
                    // The server counts this device among the members all the same: it comes in by itself.
                    self.request(Request::RejoinInfo(id), Purpose::ComeIn { group: id, was_in: true })?;
                } else {
                    self.quarantine_join(waiting, error.to_string())?;
                }
                self.next_join(id)
            }
        }
    }

    /// Goes on with the next Welcome to a group that this device is not in, if there is one.
    pub(super) fn next_join(&mut self, id: GroupId) -> Result<(), Error> {
        if let Some(waiting) = JoinRow::of_group(self.store, id)?.first() {
            let (group, epoch) = (id, waiting.epoch);
            self.request(Request::Tree { group, epoch }, Purpose::Tree { group, epoch })?;
        }
        Ok(())
    }

    pub(super) fn join_refused(&mut self, id: GroupId, epoch: Epoch, refusal: &Refusal) -> Result<(), Error> {
        let Some(waiting) = JoinRow::load(self.store, &(id, epoch))? else { return Ok(()) };
        JoinRow::delete(self.store, &(id, epoch))?;
        self.quarantine_join(waiting, refusal.detail.clone())?;
        self.next_join(id)
    }

    fn quarantine_join(&mut self, waiting: JoinRow, reason: String) -> Result<(), Error> {
        let entry = Entry {
            log: LogId::Inbox,
            seq: waiting.seq,
            at: waiting.at,
            kind: EntryKind::Welcome,
            payload: waiting.bundle,
        };
        self.quarantine(entry, reason)
    }

    fn join_now(&mut self, waiting: &JoinRow, tree: &[u8]) -> Result<(), Error> {
        let bundle = WelcomeBundle::decode(&waiting.bundle).map_err(TrustError::from)?;
        let known = GroupRow::load(self.store, &bundle.group)?;
        if let Some(known) = &known
            && self.has_keys(known)?
        {
            return Err(Error::BadInput("a Welcome to a group that this device is in".into()));
        }
        let provider = Provider::new(self.crypto, &mut *self.store);
        let (mls, adder) = welcome::join(&provider, &bundle, tree)?;
        let leaves: Vec<Leaf> = group::leaves(&mls).into_iter().map(|(_, leaf)| leaf).collect();
        let state = trust_group::state(mls.public_group())?;
        let conversation = self.conversation_for(state.kind, bundle.group, &leaves)?;
        // A member who wrapped garbage has harmed the name and nothing else.
        let name = group_name::open_name(&bundle.name_key, bundle.group, &state.name).unwrap_or_default();
        let mut row = GroupRow {
            group: bundle.group,
            conversation,
            kind: state.kind,
            name,
            name_key: bundle.name_key,
            suite: Suite::try_from(mls.ciphersuite())?.number(),
            state: ConversationState::Active,
            was_in: known.is_some(),
            cursor: known.map_or(Seq(0), |known| known.cursor),
            joined: bundle.epoch,
            pending: None,
            wait_for: Epoch(0),
            leaving: vec![],
            awaiting: vec![],
            joined_by: Some((adder.id.identity, adder.id.device)),
            expires_after: None,
            refreshed: self.now,
        };
        // Another stay: it begins elsewhere.
        self.connection.subscribed.remove(&bundle.group);
        self.connection.ready.remove(&bundle.group);
        self.connection.forget_doubts(bundle.group);
        self.keep_mls(bundle.group, mls);
        self.check_leaves(&mut row, &leaves)?;
        row.save(self.store)?;
        let mut known = self.conversation(conversation)?;
        known.group = Some(bundle.group);
        known.expects = None;
        known.last_activity = self.now;
        known.in_flight.clear();
        known.save(self.store)?;
        self.learn_state(&mut row, &state)?;
        self.came_in(&row)?;
        self.make_up(&row)?;
        self.remove_former_siblings(&row)?;
        if row.awaiting.is_empty() { self.resume_log(row) } else { Ok(()) }
    }

    /// Which conversation a group is that this device comes into.
    pub(super) fn conversation_for(
        &mut self,
        kind: GroupKind,
        id: GroupId,
        leaves: &[Leaf],
    ) -> Result<ConversationId, Error> {
        let conversation = self.conversation_of(kind, id, leaves)?;
        if kind == GroupKind::Direct
            && let Some(row) = self.group_of(conversation)?
            && row.group != id
            && is_followed(row.state)
        {
            return Err(Error::BadInput("a second direct conversation with the same person".into()));
        }
        Ok(conversation)
    }

    /// Which conversation a group is. A direct one consists of this identity and at most one other.
    pub(super) fn conversation_of(
        &self,
        kind: GroupKind,
        id: GroupId,
        leaves: &[Leaf],
    ) -> Result<ConversationId, Error> {
        let me = self.account.identity;
        let others: BTreeSet<_> = leaves.iter().map(|leaf| leaf.id.identity).filter(|who| *who != me).collect();
        match (kind, others.len()) {
            (GroupKind::Group, _) => Ok(ConversationId::Group(id)),
            (GroupKind::Direct, 0 | 1) => Ok(ConversationId::Direct(others.first().copied().unwrap_or(me))),
            (GroupKind::Direct, _) => Err(Error::BadInput("a direct conversation has two members".into())),
        }
    }

    /// All questions are answered: announce the group, if it is new, and go on with its log.
    pub(super) fn resume_log(&mut self, mut row: GroupRow) -> Result<(), Error> {
        if let Some((by, _)) = row.joined_by.take() {
            if !self.is_as_it_says(&row, by)? {
                return self.discard_group(row);
            }
            row.save(self.store)?;
            if self.begun_by(&row, by)? {
                // That two people talk to each other is no news beside what they say.
                if row.kind == GroupKind::Group {
                    self.event(Some(row.conversation), EventRowKind::Joined { by })?;
                }
                self.announce_request(row.conversation)?;
            }
            self.subscribe(&row)?;
        }
        self.work_off_backlog(row)
    }

    /// Whether the adder, and in a direct conversation everybody, is who the credentials say: a server and a member could
    /// otherwise let a stranger speak in the name of somebody whom the user knows.
    fn is_as_it_says(&mut self, row: &GroupRow, by: IdentityId) -> Result<bool, Error> {
        let mls = self.take_mls(row.group)?;
        let leaves: Vec<Leaf> = group::leaves(&mls).into_iter().map(|(_, leaf)| leaf).collect();
        self.keep_mls(row.group, mls);
        for leaf in leaves.iter().filter(|leaf| row.kind == GroupKind::Direct || leaf.id.identity == by) {
            if self.standing(leaf)? != Standing::Listed {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets a group that was never shown.
    pub(super) fn discard_group(&mut self, row: GroupRow) -> Result<(), Error> {
        self.delete_mls(row.group)?;
        GroupRow::delete(self.store, &row.group)?;
        self.next_join(row.group)?;
        if matches!(row.conversation, ConversationId::Group(_)) {
            return Ok(ConversationRow::delete(self.store, &row.conversation)?);
        }
        let mut conversation = self.conversation(row.conversation)?;
        conversation.group = None;
        Ok(conversation.save(self.store)?)
    }

    /// Keeps what could not be processed, and says so.
    pub(super) fn quarantine(&mut self, entry: Entry, reason: String) -> Result<(), Error> {
        self.quarantine_with(entry, reason, None)
    }

    pub(super) fn quarantine_with(
        &mut self,
        entry: Entry,
        reason: String,
        plaintext: Option<serde_bytes::ByteBuf>,
    ) -> Result<(), Error> {
        let conversation = match entry.log {
            LogId::Inbox => None,
            LogId::Group(group) => GroupRow::load(self.store, &group)?.map(|row| row.conversation),
        };
        QuarantineRow { entry, reason: reason.clone(), plaintext }.save(self.store)?;
        self.event(conversation, EventRowKind::Gap { count: 1, reason })
    }
}
