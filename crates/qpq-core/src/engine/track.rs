//! Keeping track of a group's log: a few entries that were taken, thinned out towards the past, so that the point where
//! device and server last agreed is found with one question.

use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{ContentHash, Epoch, GroupId, Seq};
use qpq_proto::limits;
use qpq_proto::stream::{Entry, Mark, digest};
use qpq_proto::time::Timestamp;

use super::ctx::Ctx;
use crate::error::Error;
use crate::store::rows::{Done, GroupRow, Owed, Rejoin, RepairRow, Row as _, SetBack, TrackMark, TrackRow, WishKind};
use crate::view::{ConversationId, ConversationState};

impl Ctx<'_> {
    /// The track of a group's log; an empty one at first.
    pub(super) fn track(&self, group: GroupId) -> Result<TrackRow, Error> {
        let empty = TrackRow { group, marks: vec![], last_at: Timestamp::default(), done: vec![] };
        Ok(TrackRow::load(self.store, &group)?.unwrap_or(empty))
    }

    /// What there is to mend in a group; at first nothing.
    pub(super) fn repair(&self, group: GroupId) -> Result<RepairRow, Error> {
        let nothing = RepairRow { group, set_back: None, rejoin: None, owed: Owed::default() };
        Ok(RepairRow::load(self.store, &group)?.unwrap_or(nothing))
    }

    /// Remembers an own change, in case that the server forgets it.
    pub(super) fn remember_change(&mut self, group: GroupId, seq: Seq, kind: &WishKind) -> Result<(), Error> {
        match kind {
            WishKind::Start { .. }
            | WishKind::Add { .. }
            | WishKind::Remove { .. }
            | WishKind::Rename { .. }
            | WishKind::SetAdmin { .. }
            | WishKind::SetExpiry { .. }
            | WishKind::Annotate { .. } => {}
            WishKind::Send { .. }
            | WishKind::Leave
            | WishKind::UpdateKey
            | WishKind::RemoveLeavers
            | WishKind::Rejoin
            | WishKind::Receipt { .. }
            | WishKind::RemoveOwn { .. }
            | WishKind::Tell { .. } => return Ok(()),
        }
        let mut track = self.track(group)?;
        track.done.push(Done { seq, kind: kind.clone() });
        // Of what was said about messages, and of changes of the group, so many each. The making of the group stays: whoever
        // made it makes it again.
        let is_said = |done: &Done| matches!(done.kind, WishKind::Annotate { .. });
        let same = is_said(&Done { seq, kind: kind.clone() });
        let goes = |done: &Done| is_said(done) == same && !matches!(done.kind, WishKind::Start { .. });
        if track.done.iter().filter(|done| is_said(done) == same).count() > CHANGES
            && let Some(oldest) = track.done.iter().position(goes)
        {
            track.done.remove(oldest);
        }
        Ok(track.save(self.store)?)
    }
}

impl TrackRow {
    /// An entry was taken.
    pub(super) fn take(&mut self, entry: &Entry) {
        self.last_at = self.last_at.max(entry.at);
        self.marks.push(TrackMark(entry.seq, digest(ContentHash::of(&entry.payload))));
        let same = |known: &TrackMark| level(known.0) == level(entry.seq);
        if self.marks.iter().filter(|known| same(known)).count() > MARKS_PER_LEVEL
            && let Some(oldest) = self.marks.iter().position(same)
        {
            self.marks.remove(oldest);
        }
    }

    /// For a subscription: the newest first.
    pub(super) fn known(&self) -> Vec<Mark> {
        let newest = self.marks.iter().rev().take(limits::MARKS);
        newest.map(|TrackMark(seq, digest)| Mark { seq: *seq, digest: *digest }).collect()
    }

    /// Forgets what came after `seq`.
    pub(super) fn back_to(&mut self, seq: Seq) {
        self.marks.retain(|known| known.0 <= seq);
        self.done.retain(|done| done.seq <= seq);
    }
}

impl Rejoin {
    pub(super) fn because(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            members: vec![],
            lost: 0,
            commit: None,
            accepted: None,
            leaving: vec![],
            attempts: 0,
            trouble: None,
        }
    }
}

impl SetBack {
    /// Nothing but a reason to come back with a fresh leaf, once the log is read.
    pub(super) fn because(reason: &str) -> Self {
        let (until, taken_at) = (Seq(0), Timestamp::default());
        Self { until, taken_at, rejoin: Some(reason.to_owned()), messages: vec![], changes: vec![] }
    }
}

impl GroupRow {
    /// A group that this device is in according to the server, and has no state of.
    pub(super) fn unknown(
        group: GroupId,
        conversation: ConversationId,
        kind: GroupKind,
        suite: u16,
        now: Timestamp,
    ) -> Self {
        Self {
            group,
            conversation,
            kind,
            name: String::new(),
            name_key: [0; 32],
            suite,
            state: ConversationState::Starting,
            cursor: Seq(0),
            pending: None,
            wait_for: Epoch(0),
            leaving: vec![],
            awaiting: vec![],
            joined_by: None,
            expires_after: None,
            joined: Epoch(0),
            was_in: false,
            refreshed: now,
        }
    }
}

/// Every other entry is one level up.
fn level(seq: Seq) -> u32 {
    seq.0.trailing_zeros()
}

/// The distances between marks double towards the past.
const MARKS_PER_LEVEL: usize = 2;

/// Own changes that are remembered.
const CHANGES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_few_and_reach_far_back() {
        let group = GroupId([1; 16]);
        let mut track = TrackRow { group, marks: vec![], last_at: Timestamp(0), done: vec![] };
        for seq in 1..=100_000_u64 {
            let payload = seq.to_be_bytes().to_vec();
            use qpq_proto::stream::EntryKind;
            let log = qpq_proto::stream::LogId::Group(group);
            track.take(&Entry { log, seq: Seq(seq), at: Timestamp(seq), kind: EntryKind::Message, payload });
            assert_eq!(track.known()[0].seq, Seq(seq));
        }
        let known = track.known();
        assert!(known.len() <= 34 && known.is_sorted_by(|a, b| a.seq > b.seq));
        for back in [1, 10, 100, 1000, 10_000, 50_000] {
            let nearest = known.iter().find(|mark| mark.seq.0 <= 100_000 - back).expect("a mark before it");
            assert!(100_000 - nearest.seq.0 <= 8 * back + 8, "{back} back: {nearest:?}");
        }
    }
}
