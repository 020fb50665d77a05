//! Disappearing messages: how long they stay is state of the group, which all members see; when one is due is reckoned by the
//! server's clock, which all devices share, and put into this device's own time.

use std::time::Duration;

use qpq_proto::content::Content;
use qpq_proto::time::Timestamp;

use super::ctx::Ctx;
use crate::error::Error;
use crate::store::notes::NoteRow;
use crate::store::rows::{GroupRow, MessageRow};

impl Ctx<'_> {
    /// Removes what is due, whether there is a connection or not.
    pub(super) fn expire(&mut self) -> Result<(), Error> {
        loop {
            let due = self.store.expired_messages(self.now, AT_ONCE)?;
            for row in &due {
                self.store.delete_message(row)?;
                NoteRow::forget(self.store, row.conversation, row.id)?;
            }
            if due.len() < AT_ONCE {
                return Ok(());
            }
        }
    }

    /// When a message that the server took at `at` is due here. The group's rule holds also for those who do not keep it.
    pub(super) fn due(&self, row: &GroupRow, content: &Content, at: Timestamp) -> Option<Timestamp> {
        let rule = row.expires_after.map(Duration::from_millis);
        let after = [content.expires_after, rule].into_iter().flatten().min()?;
        Some(self.here(at).after(after))
    }

    /// When an own message, accepted now, is due here.
    pub(super) fn own_due(&self, row: &MessageRow) -> Option<Timestamp> {
        let content = Content::decode(&row.content).ok()?;
        Some(self.now.after(content.expires_after?))
    }

    /// The server's time, as far as it is known.
    pub(super) fn there(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_add_signed(self.connection.ahead))
    }

    /// A time of the server's in the time of this device.
    fn here(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_add_signed(self.connection.ahead.saturating_neg()))
    }
}

/// Messages that are read into memory together.
const AT_ONCE: usize = 500;
