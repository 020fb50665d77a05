//! A group's log: messages, commits and leaves, in the order that the server gave them.

use std::collections::BTreeSet;
use std::time::Duration;

use openmls::group::MlsGroup;
use openmls::prelude::{MlsMessageIn, ProcessedMessage, ProcessedMessageContent, ProtocolMessage, Sender};
use qpq_proto::content::{Body, Content, is_about_a_message};
use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{ContentHash, DeviceId, GroupId, IdentityId, Seq};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::{Entry, EntryKind, LogId, Position};
use qpq_trust::TrustError;
use qpq_trust::commit::{CommitReview, read_handshake, review, review_leave, state_updates};
use qpq_trust::credential::Leaf;
use qpq_trust::manifest::Manifest;
use tls_codec::DeserializeBytes as _;

use super::ctx::{Ctx, is_followed};
use super::directory::Standing;
use super::rejoin::epoch_of;
use super::{Effect, Followed};
use crate::crypto::group_name;
use crate::error::Error;
use crate::mls::{Provider, group};
use crate::request::{Purpose, Request};
use crate::store::rows::{
    BacklogRow, ConversationRow, EventRowKind, GroupRow, MessageRow, OutboxRow, OwnRow, RepairRow, Row as _, WishKind,
    WishRow,
};
use crate::store::{Table, decode};
use crate::view::{ConversationState, MessageStatus};

/// What came of one entry.
enum Taken {
    Done,
    /// Unknown members were added: the log waits for the directory.
    Waits,
    /// The group is over for this device, which was removed.
    Over,
    /// Or which has left.
    Left,
}

impl Ctx<'_> {
    /// A run of entries of one group.
    pub(super) fn group_log(&mut self, id: GroupId, entries: Vec<Entry>) -> Result<(), Error> {
        let Some(mut row) = GroupRow::load(self.store, &id)? else { return Ok(()) };
        let mut conversation = self.conversation(row.conversation)?;
        let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(()) };
        let mut track = self.track(id)?;
        let mut repair = RepairRow::load(self.store, &id)?;
        let mut missing = 0;
        for entry in entries {
            if entry.seq <= row.cursor {
                continue;
            }
            let followed = self.connection.subscribed.get(&id).copied();
            if let Some(Followed { joined, .. }) = followed
                && is_followed(row.state)
                && entry.seq > joined
            {
                let after = row.cursor.max(joined);
                // A server may say of two messages that they stand in one place.
                let confirmed = self.confirm_left_out(&row, after, entry.seq)?;
                missing += (entry.seq.0 - after.0 - 1).saturating_sub(confirmed);
            } else if repair.as_ref().is_some_and(|repair| repair.set_back.is_some()) {
                // Of an earlier stay. What stands between two stays counts as well: that cannot be told apart.
                missing += entry.seq.0 - row.cursor.0 - 1;
            } else if entry.kind == EntryKind::Message
                && row.state == ConversationState::Active
                && followed.is_some_and(|followed| followed.is_new)
                && epoch_of(&entry).is_some_and(|epoch| epoch < row.joined)
            {
                // Of an earlier stay, which this device does not know any more.
                missing += 1;
            }
            if !is_on(Mutation::DropCursor) {
                row.cursor = entry.seq;
            }
            track.take(&entry);
            if self.taken_before(&entry, &mut repair)? {
                continue;
            }
            self.take(&mut row, &mut conversation, entry)?;
        }
        if missing > 0 {
            // Too old, or taken by this device before it was set back.
            let reason = match row.expires_after {
                Some(_) => "disappeared, or no longer on the server".into(),
                None => "no longer on the server".into(),
            };
            self.event(Some(row.conversation), EventRowKind::Gap { count: missing, reason })?;
        }
        // Changes of one's own were noted on the way.
        track.done = self.track(id)?.done;
        track.save(self.store)?;
        row.save(self.store)?;
        self.save_progress(&conversation)?;
        self.touch(row.conversation);
        self.effect(Effect::Acknowledge(vec![Position { log: LogId::Group(id), seq: last }]));
        Ok(())
    }

    /// Own messages that the server took to stand among what is left out of the log: they were there.
    fn confirm_left_out(&mut self, row: &GroupRow, after: Seq, before: Seq) -> Result<u64, Error> {
        let mut confirmed = 0;
        if before.0 > after.0 + 1 {
            for own in OwnRow::all(self.store)?.into_iter().filter(|own| own.wish.conversation == row.conversation) {
                if own.accepted.is_some_and(|seq| seq > after && seq < before) {
                    OwnRow::delete(self.store, &own.hash)?;
                    confirmed += 1;
                }
            }
        }
        Ok(confirmed)
    }

    /// Goes on with what has waited.
    pub(super) fn work_off_backlog(&mut self, mut row: GroupRow) -> Result<(), Error> {
        let mut conversation = self.conversation(row.conversation)?;
        for (key, bytes) in self.store.scan(Table::Backlog, &row.group.0)? {
            if !row.awaiting.is_empty() {
                break;
            }
            self.store.remove(Table::Backlog, &key)?;
            let waiting: BacklogRow = decode(&bytes)?;
            self.take(&mut row, &mut conversation, waiting.entry)?;
        }
        row.save(self.store)?;
        self.save_progress(&conversation)?;
        self.touch(row.conversation);
        Ok(())
    }

    /// Numbers and activity come from the run; what waits was changed by others in the meantime and stays.
    fn save_progress(&mut self, progress: &ConversationRow) -> Result<(), Error> {
        let mut row = self.conversation(progress.id)?;
        row.last_number = progress.last_number;
        row.last_activity = progress.last_activity;
        Ok(row.save(self.store)?)
    }

    fn take(&mut self, row: &mut GroupRow, conversation: &mut ConversationRow, entry: Entry) -> Result<(), Error> {
        match row.state {
            // What comes after the end belongs to the next stay, whose Welcome is on the way.
            ConversationState::Left | ConversationState::Removed => {
                return Ok(BacklogRow { group: row.group, entry }.save(self.store)?);
            }
            ConversationState::Broken => return self.unreadable(row, entry),
            ConversationState::Starting if !self.has_keys(row)? => return self.unreadable(row, entry),
            ConversationState::Starting | ConversationState::Active => {}
        }
        if !row.awaiting.is_empty() {
            if is_on(Mutation::DropBacklog) {
                return Ok(());
            }
            return Ok(BacklogRow { group: row.group, entry }.save(self.store)?);
        }
        let taken = match entry.kind {
            EntryKind::Message => self.message(row, conversation, &entry).map(|()| Taken::Done),
            EntryKind::Commit => self.commit_entry(row, &entry),
            EntryKind::Proposal => match self.own_leave(row, &entry) {
                Ok(true) => Ok(Taken::Left),
                Ok(false) => self.leave_entry(row, &entry),
                Err(error) => Err(error),
            },
            EntryKind::Welcome => Err(Error::BadInput("a Welcome does not belong into a group's log".into())),
        };
        match taken {
            Ok(Taken::Done) => Ok(()),
            Ok(Taken::Waits) => Ok(BacklogRow { group: row.group, entry }.save(self.store)?),
            Ok(Taken::Over) => self.end_group(row, ConversationState::Removed),
            Ok(Taken::Left) => {
                self.end_group(row, ConversationState::Left)?;
                self.event(Some(row.conversation), EventRowKind::Left)
            }
            Err(error @ (Error::Store(_) | Error::Random(_))) => Err(error),
            Err(error) => {
                // A commit that cannot be applied leaves this device behind; a message concerns nothing but itself.
                if entry.kind == EntryKind::Commit {
                    let author = self.author(row.group, &entry);
                    self.lose(row, &format!("a change of the group{author} could not be applied ({error})"))?;
                    return self.unreadable(row, entry);
                }
                self.quarantine(entry, error.to_string())
            }
        }
    }

    /// Who made a commit, for a sentence. Its signature may be good or not.
    fn author(&mut self, group: GroupId, entry: &Entry) -> String {
        let Ok(ProtocolMessage::PublicMessage(message)) = read_handshake(&entry.payload) else { return String::new() };
        let Sender::Member(index) = message.sender() else { return String::new() };
        let Ok(mls) = self.take_mls(group) else { return String::new() };
        let leaf = mls.public_group().leaf(*index).and_then(|node| Leaf::of_node(node).ok());
        self.keep_mls(group, mls);
        let name = leaf.and_then(|leaf| self.contact(leaf.id.identity).ok()?.name);
        name.map_or(String::new(), |name| format!(" by @{name}"))
    }

    fn message(&mut self, row: &mut GroupRow, conversation: &mut ConversationRow, entry: &Entry) -> Result<(), Error> {
        if self.confirm_own(ContentHash::of(&entry.payload), entry.seq, row.conversation)? {
            self.store.remove(Table::Own, &ContentHash::of(&entry.payload).0)?;
            return Ok(());
        }
        let message = MlsMessageIn::tls_deserialize_exact_bytes(&entry.payload).map_err(Error::mls)?;
        let message = message.try_into_protocol_message().map_err(Error::mls)?;
        if is_of_an_earlier_stay(row, &message) {
            return Ok(());
        }
        let mut mls = self.take_mls(row.group)?;
        if message.epoch() > mls.epoch() {
            // The log holds the commits before the messages: one has passed this device by.
            self.lose(row, "a change of the group never came to this device")?;
            return self.unreadable(row, entry.clone());
        }
        let processed = process(&self.provider(), &mut mls, message)?;
        self.keep_mls(row.group, mls);
        if matches!(processed.content(), ProcessedMessageContent::OwnPrivateMessage) {
            return self.own_unknown(row);
        }
        let leaf = self.sender_leaf(row.group, &processed)?;
        let ProcessedMessageContent::ApplicationMessage(plain) = processed.into_content() else {
            return Err(Error::BadInput("an entry of another kind than it says".into()));
        };
        let content_bytes = plain.into_bytes();
        let content = match Content::decode(&content_bytes) {
            Ok(content) => content,
            Err(error) => {
                let plaintext = Some(serde_bytes::ByteBuf::from(content_bytes));
                return self.quarantine_with(entry.clone(), error.to_string(), plaintext);
            }
        };
        if self.is_unwanted(row.conversation, leaf.id.identity)? {
            return Ok(());
        }
        if matches!(content.body, Body::AskName | Body::NameKey(_)) {
            return self.about_name(row, &leaf, &content.body);
        }
        let held = self.standing(&leaf)? != Standing::Listed;
        let own = leaf.id.identity == self.account.identity;
        if !held && is_about_a_message(&content.body) {
            return self.annotated(row.conversation, leaf.id, &content, entry.at);
        }
        let expires_at = self.due(row, &content, entry.at);
        if expires_at.is_some_and(|at| at <= self.now) {
            let reason = "it disappeared before it could be read here".into();
            return self.event(Some(row.conversation), EventRowKind::Gap { count: 1, reason });
        }
        if self
            .store
            .messages_called(row.conversation, content.id)?
            .iter()
            .any(|known| known.sender != leaf.id.identity)
        {
            // What is said about one of the two would be said about both.
            let plaintext = Some(serde_bytes::ByteBuf::from(content_bytes));
            return self.quarantine_with(entry.clone(), "it has the id of somebody else's message".into(), plaintext);
        }
        if own && !held {
            // Another device of one's own has answered.
            self.take_up(conversation)?;
        }
        let new = self.store.insert_message(&MessageRow {
            conversation: row.conversation,
            number: conversation.last_number + 1,
            id: content.id,
            seq: Some(entry.seq),
            sender: leaf.id.identity,
            device: leaf.id.device,
            sent_at: content.sent_at,
            received_at: entry.at,
            status: if own { MessageStatus::Sent } else { MessageStatus::Received },
            held,
            expires_at,
            text: content.text().to_owned(),
            content: content_bytes,
        })?;
        if new {
            conversation.last_number += 1;
            conversation.last_activity = self.now;
            if !held {
                if !own {
                    self.arrived.entry(row.conversation).or_default().push(content.id);
                }
                let kind = EventRowKind::Message { sender: leaf.id.identity, id: content.id };
                self.event(Some(row.conversation), kind)?;
            }
        }
        Ok(())
    }

    fn sender_leaf(&mut self, id: GroupId, message: &ProcessedMessage) -> Result<Leaf, Error> {
        let Sender::Member(index) = message.sender() else {
            return Err(Error::BadInput("a message of somebody who is no member".into()));
        };
        let mls = self.take_mls(id)?;
        let leaf = mls.public_group().leaf(*index).map(Leaf::of_node);
        self.keep_mls(id, mls);
        Ok(leaf.ok_or(TrustError::NotAuthentic("the sender has no leaf"))??)
    }

    fn commit_entry(&mut self, row: &mut GroupRow, entry: &Entry) -> Result<Taken, Error> {
        let leaving: BTreeSet<_> = row.leaving.iter().copied().collect();
        let own = row.pending.filter(|pending| pending.hash == ContentHash::of(&entry.payload));
        let mut mls = self.take_mls(row.group)?;
        let provider = Provider::new(self.crypto, &mut *self.store);
        if let Some(pending) = own {
            let staged = mls.pending_commit().ok_or_else(|| Error::Mls("the pending commit is missing".into()))?;
            let sender = Sender::Member(mls.own_leaf_index());
            let review = review(mls.public_group(), &sender, staged, &leaving)?;
            let name_key = new_name_key(&provider, &mls, row.group, &review)?;
            mls.merge_pending_commit(&provider).map_err(Error::mls)?;
            self.keep_mls(row.group, mls);
            row.pending = None;
            self.committed(row, &review, name_key)?;
            row.save(self.store)?;
            if let Some(wish) = WishRow::load(self.store, &pending.wish)? {
                self.remember_change(row.group, entry.seq, &wish.kind)?;
            }
            self.forget_request(pending.request)?;
            self.settle_reference(pending.wish, Ok(()))?;
            return Ok(Taken::Done);
        }
        let message = read_handshake(&entry.payload)?;
        if is_of_an_earlier_stay(row, &message) {
            self.keep_mls(row.group, mls);
            return Ok(Taken::Done);
        }
        let mut processed = process(&provider, &mut mls, message)?;
        if let ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) = processed.content() {
            let updates = state_updates(mls.app_data_dictionary_updater(), unresolved.app_data_update_proposals())?;
            processed = mls.resolve_app_data_commit(&provider, processed, updates).map_err(Error::mls)?;
        }
        let sender = processed.sender().clone();
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            return Err(Error::BadInput("an entry of another kind than it says".into()));
        };
        let review = review(mls.public_group(), &sender, &staged, &leaving)?;
        let name_key = new_name_key(&provider, &mls, row.group, &review)?;
        // A device that its identity does not list has a leaf at most, never a say.
        if self.standing(&review.committer)? == Standing::Unlisted {
            return Err(TrustError::UnlistedDevice.into());
        }
        self.check_leaves(row, &review.added)?;
        if !row.awaiting.is_empty() {
            // The staged commit is dropped; it changed nothing and is processed again when the answers are there.
            self.keep_mls(row.group, mls);
            return Ok(Taken::Waits);
        }
        let over = staged.self_removed();
        if over && review.committer.id.device == self.account.device {
            // It came back by a commit whose keys it does not have any more.
            return Err(Error::BadInput("this device came back, and has forgotten how".into()));
        }
        let provider = Provider::new(self.crypto, &mut *self.store);
        mls.merge_staged_commit(&provider, *staged).map_err(Error::mls)?;
        self.keep_mls(row.group, mls);
        if let Some(pending) = row.pending.take_if(|_| !is_on(Mutation::KeepLostCommit)) {
            // Another commit ended the epoch first: the wish is tried again in the next one.
            row.save(self.store)?;
            self.forget_request(pending.request)?;
        }
        self.committed(row, &review, name_key)?;
        if over && review.committer.id.identity == self.account.identity {
            // Another device of this identity leaves, with all of them.
            return Ok(Taken::Left);
        }
        if over {
            self.event(Some(row.conversation), EventRowKind::Removed { by: review.committer.id.identity })?;
            return Ok(Taken::Over);
        }
        Ok(Taken::Done)
    }

    /// The news of a commit that was merged.
    fn committed(
        &mut self,
        row: &mut GroupRow,
        review: &CommitReview,
        name_key: Option<[u8; 32]>,
    ) -> Result<(), Error> {
        let by = review.committer.id.identity;
        let identities = |leaves: &[Leaf]| leaves.iter().map(|leaf| leaf.id.identity).collect::<BTreeSet<IdentityId>>();
        let (added, removed) = (identities(&review.added), identities(&review.removed));
        let staying = self.device_news(row, review)?;
        // From outside only devices of members come in.
        let is_news = row.kind == GroupKind::Group && !review.is_external;
        for who in added.difference(&removed).filter(|who| is_news && !staying.contains(who)) {
            self.event(Some(row.conversation), EventRowKind::MemberAdded { who: *who, by })?;
        }
        let announced = |who: &IdentityId| {
            review.removed.iter().any(|leaf| leaf.id.identity == *who && row.leaving.contains(&leaf.id.device))
        };
        let me = self.account.identity;
        for who in removed.difference(&added).filter(|who| **who != me && !announced(who) && !staying.contains(who)) {
            self.event(Some(row.conversation), EventRowKind::MemberRemoved { who: *who, by })?;
        }
        row.leaving.retain(|device| !review.removed.iter().any(|leaf| leaf.id.device == *device));
        if review.after.name != review.before.name {
            if let Some(key) = name_key {
                row.name_key = key;
            }
            row.name = group_name::open_name(&row.name_key, row.group, &review.after.name).unwrap_or_default();
            self.event(Some(row.conversation), EventRowKind::Renamed { by, name: row.name.clone() })?;
        }
        if review.after.expires_after != review.before.expires_after {
            row.expires_after = review.after.expires_after.map(|after| after.as_millis() as u64);
            let after = row.expires_after;
            self.event(Some(row.conversation), EventRowKind::ExpiryChanged { by, after })?;
        }
        let admins = |admins: &[IdentityId]| admins.iter().copied().collect::<BTreeSet<_>>();
        let (before, after) = (admins(&review.before.admins), admins(&review.after.admins));
        for who in before.symmetric_difference(&after) {
            let is_admin = after.contains(who);
            self.event(Some(row.conversation), EventRowKind::RoleChanged { who: *who, by, is_admin })?;
        }
        Ok(())
    }

    /// Devices that came to or went from people who were there before and stay; of one's own the manifest tells. Answers who
    /// those people are.
    fn device_news(&mut self, row: &GroupRow, review: &CommitReview) -> Result<BTreeSet<IdentityId>, Error> {
        let mls = self.take_mls(row.group)?;
        let leaves = group::leaves(&mls);
        self.keep_mls(row.group, mls);
        let is_among = |leaf: &Leaf, some: &[Leaf]| some.iter().any(|other| other.id.device == leaf.id.device);
        let before = leaves.iter().filter(|(_, leaf)| !is_among(leaf, &review.added));
        let staying: BTreeSet<_> = before.map(|(_, leaf)| leaf.id.identity).collect();
        let is_news = |leaf: &&Leaf| leaf.id.identity != self.account.identity && staying.contains(&leaf.id.identity);
        let added: Vec<_> =
            review.added.iter().filter(is_news).filter(|leaf| !is_among(leaf, &review.removed)).collect();
        let gone: Vec<_> =
            review.removed.iter().filter(is_news).filter(|leaf| !is_among(leaf, &review.added)).collect();
        for leaf in added {
            let (who, device) = (leaf.id.identity, leaf.id.device);
            let name = self.device_name(who, device)?;
            self.event(Some(row.conversation), EventRowKind::DeviceAdded { who, device, name })?;
        }
        for leaf in gone.into_iter().filter(|leaf| !row.leaving.contains(&leaf.id.device)) {
            let (who, device) = (leaf.id.identity, leaf.id.device);
            let name = self.device_name(who, device)?;
            self.event(Some(row.conversation), EventRowKind::DeviceRemoved { who, device, name })?;
            // It counts as listed until the newer manifest is known.
            self.request(Request::ByIdentity(who), Purpose::Refresh { wish: None, identity: who })?;
        }
        Ok(staying)
    }

    /// What somebody calls a device; empty when that is not known.
    fn device_name(&mut self, who: IdentityId, device: DeviceId) -> Result<String, Error> {
        let contact = self.contact(who)?;
        let listed = Manifest::verify(&contact.manifest).ok();
        let listed = listed.and_then(|manifest| manifest.device(device).map(|record| record.name.clone()));
        Ok(listed.or_else(|| contact.former.get(&device).cloned()).unwrap_or_default())
    }

    /// Whether this is the own leave, whose answer has not come: the log says as much.
    fn own_leave(&mut self, row: &GroupRow, entry: &Entry) -> Result<bool, Error> {
        for request in OutboxRow::all(self.store)? {
            if let (Purpose::Leave { wish, group }, Request::Leave { proposal, .. }) =
                (&request.purpose, &request.request)
                && *group == row.group
                && *proposal == entry.payload
            {
                self.forget_request(request.id)?;
                self.settle_reference(*wish, Ok(()))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Somebody leaves: the one whose leaf comes first removes them at once, the others step in later if that one is
    /// not there.
    fn leave_entry(&mut self, row: &mut GroupRow, entry: &Entry) -> Result<Taken, Error> {
        let message = read_handshake(&entry.payload)?;
        if is_of_an_earlier_stay(row, &message) {
            return Ok(Taken::Done);
        }
        let mut mls = self.take_mls(row.group)?;
        let processed = process(&self.provider(), &mut mls, message)?;
        let sender = processed.sender().clone();
        let ProcessedMessageContent::ProposalMessage(proposal) = processed.into_content() else {
            return Err(Error::BadInput("an entry of another kind than it says".into()));
        };
        let leaver = review_leave(mls.public_group(), &sender, proposal.proposal())?;
        let staying = group::leaves(&mls)
            .into_iter()
            .filter(|(_, leaf)| leaf.id.device != leaver.id.device && !row.leaving.contains(&leaf.id.device));
        let rank = staying.take_while(|(_, leaf)| leaf.id.device != self.account.device).count();
        self.keep_mls(row.group, mls);
        if leaver.id.device == self.account.device {
            // A later state of this device has left.
            return Ok(Taken::Left);
        }
        if row.leaving.contains(&leaver.id.device) {
            return Ok(Taken::Done);
        }
        row.leaving.push(leaver.id.device);
        let who = leaver.id.identity;
        if who == self.account.identity {
            // Another device of this identity has left: this one goes with it.
            self.wish(row.conversation, WishKind::Leave, Duration::ZERO)?;
        } else {
            self.event(Some(row.conversation), EventRowKind::MemberRemoved { who, by: who })?;
        }
        let delay = Duration::from_secs(5) * u32::try_from(rank.min(60)).unwrap_or(60);
        self.leavers_wish(row.conversation, delay)?;
        Ok(Taken::Done)
    }
}

/// Whoever was removed and came back reads on where the first stay ended; what is left of that cannot be read any more.
fn is_of_an_earlier_stay(row: &GroupRow, message: &ProtocolMessage) -> bool {
    message.epoch().as_u64() < row.joined.0
}

fn process(
    provider: &Provider<'_>,
    mls: &mut MlsGroup,
    message: impl Into<ProtocolMessage>,
) -> Result<ProcessedMessage, Error> {
    mls.process_message(provider, message).map_err(Error::mls)
}

/// The key of a new name, unwrapped with the epoch that the commit was made in.
fn new_name_key(
    provider: &Provider<'_>,
    mls: &MlsGroup,
    id: GroupId,
    review: &CommitReview,
) -> Result<Option<[u8; 32]>, Error> {
    if review.after.name_key == review.before.name_key {
        return Ok(None);
    }
    let exporter = group::name_key_exporter(provider, mls)?;
    // A member who wraps garbage harms the name and nothing else.
    Ok(group_name::unwrap_key(&exporter, id, &review.after.name_key).ok().map(|key| *key))
}
