//! Earlier messages for a new device of the same identity: out of the store of one, into that of the other.

use qpq_proto::ids::BlobId;
use qpq_proto::time::Timestamp;

use super::Answer;
use super::ctx::{Ctx, is_followed};
use super::query::Query;
use crate::error::Error;
use crate::store::archive::{ArchivedMessage, HistoryRow, HistoryStep, Record, part_key};
use crate::store::notes::NoteRow;
use crate::store::rows::{ConversationRow, GroupRow, Row as _};
use crate::store::{StoreError, Table};
use crate::view::ConversationId;

impl Ctx<'_> {
    pub(super) fn history(&mut self, step: HistoryStep) -> Result<Answer, Error> {
        match step {
            HistoryStep::Save(row) => HistoryRow { begun: self.now, ..row }.save(self.store)?,
            HistoryStep::Keep { blob, bytes } => {
                let missing = || StoreError::Failed("a part of a history that is not under way".into());
                let mut row = HistoryRow::load(self.store, &blob)?.ok_or_else(missing)?;
                self.store.put(Table::HistoryParts, &part_key(blob, row.parts), &bytes)?;
                row.parts += 1;
                row.save(self.store)?;
            }
            HistoryStep::Import(records) => records.iter().try_for_each(|record| self.import(record))?,
            HistoryStep::Forget(blob) => {
                let parts = HistoryRow::load(self.store, &blob)?.map_or(0, |row| row.parts);
                for index in 0..parts {
                    self.store.remove(Table::HistoryParts, &part_key(blob, index))?;
                }
                HistoryRow::delete(self.store, &blob)?;
            }
        }
        Ok(Answer::Done)
    }

    /// What is here already stays as it is. No event, no receipt: all of this was heard on another device.
    fn import(&mut self, record: &Record) -> Result<(), Error> {
        match record {
            Record::Conversation { id, last_activity } => {
                let Some(mut row) = ConversationRow::load(self.store, id)? else { return Ok(()) };
                if self.store.messages(*id, None, 1, None)?.is_empty() {
                    row.last_activity = *last_activity;
                    row.save(self.store)?;
                }
                Ok(())
            }
            Record::Message(message) => self.import_message(message),
        }
    }

    fn import_message(&mut self, message: &ArchivedMessage) -> Result<(), Error> {
        let known = self.store.message(message.conversation, message.sender, message.id)?.is_some();
        let is_due = message.expires_at.is_some_and(|at| at <= self.now);
        let Some(mut row) = message.row().filter(|_| !known && !is_due) else { return Ok(()) };
        if let Some(mut conversation) = ConversationRow::load(self.store, &row.conversation)? {
            // Numbers were set aside for these; only a conversation that came in another way can have used them.
            if self.store.message_numbered(row.conversation, row.number)?.is_some() {
                row.number = conversation.last_number + 1;
            }
            if row.number > conversation.last_number {
                if conversation.read_number == conversation.last_number {
                    conversation.read_number = row.number;
                }
                conversation.last_number = row.number;
                conversation.save(self.store)?;
            }
        }
        self.store.insert_message(&row)?;
        for note in &message.notes {
            note.save(self.store)?;
        }
        Ok(())
    }
}

impl Query<'_> {
    /// The conversations whose messages a new device gets: those that it comes into.
    pub fn archived_conversations(&self) -> Result<Vec<(ConversationId, Record)>, Error> {
        let mut records = Vec::new();
        for row in ConversationRow::all(self.store)? {
            let group = row.group.map(|group| GroupRow::load(self.store, &group)).transpose()?.flatten();
            if group.is_some_and(|group| is_followed(group.state)) {
                records.push((row.id, Record::of_conversation(&row)));
            }
        }
        Ok(records)
    }

    /// The next page of a conversation for an archive, going backwards, and the number that the page after it stands before.
    pub fn archive_page(
        &self,
        id: ConversationId,
        before: Option<u64>,
        limit: usize,
        now: Timestamp,
    ) -> Result<(Vec<Record>, Option<u64>), Error> {
        let rows = self.store.messages(id, before, limit, None)?;
        let next = rows.first().map(|row| row.number);
        let mut records = Vec::new();
        for row in rows.into_iter().rev() {
            let notes = NoteRow::of(self.store, id, row.id)?;
            records.extend(Record::of_message(row, notes, now));
        }
        Ok((records, next))
    }

    /// Archives that are on their way.
    pub fn histories(&self) -> Result<Vec<HistoryRow>, Error> {
        Ok(HistoryRow::all(self.store)?)
    }

    /// A part of one.
    pub fn history_part(&self, blob: BlobId, index: u32) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.store.get(Table::HistoryParts, &part_key(blob, index))?)
    }
}
