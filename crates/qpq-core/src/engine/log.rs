//! A group's log: messages, commits and leaves, in the order that the server gave them.

use openmls::group::MlsGroup;
use openmls::prelude::{MlsMessageIn, ProcessedMessage, ProcessedMessageContent, ProtocolMessage, Sender};
use qpq_proto::content::{Body, Content, is_about_a_message};
use qpq_proto::ids::{ContentHash, GroupId, Seq};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::{Entry, EntryKind, LogId, Position};
use qpq_trust::TrustError;
use qpq_trust::commit::read_handshake;
use qpq_trust::credential::Leaf;
use tls_codec::DeserializeBytes as _;

use super::ctx::{Ctx, is_followed};
use super::directory::Standing;
use super::rejoin::epoch_of;
use super::{Effect, Followed};
use crate::error::Error;
use crate::mls::Provider;
use crate::store::rows::{
    BacklogRow, ConversationRow, EventRowKind, GroupRow, MessageRow, OwnRow, RepairRow, Row as _,
};
use crate::store::{Table, decode};
use crate::view::{ConversationState, MessageStatus};

/// What came of one entry.
pub(super) enum Taken {
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
}

/// Whoever was removed and came back reads on where the first stay ended; what is left of that cannot be read any more.
pub(super) fn is_of_an_earlier_stay(row: &GroupRow, message: &ProtocolMessage) -> bool {
    message.epoch().as_u64() < row.joined.0
}

pub(super) fn process(
    provider: &Provider<'_>,
    mls: &mut MlsGroup,
    message: impl Into<ProtocolMessage>,
) -> Result<ProcessedMessage, Error> {
    mls.process_message(provider, message).map_err(Error::mls)
}
