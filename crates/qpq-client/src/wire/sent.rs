//! What this device has sent over one connection comes back as its hash alone: here is what it stands for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use qpq_proto::ids::{ContentHash, GroupId, Seq};
use qpq_proto::limits;
use qpq_proto::stream::{Entry, LogId};

/// What was sent and has not come back, shared by the calls and the stream of one connection.
#[derive(Clone, Default)]
pub struct Sent(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    kept: HashMap<ContentHash, Kept>,
    bytes: usize,
    /// How far the logs have come.
    reached: HashMap<GroupId, Seq>,
}

struct Kept {
    group: GroupId,
    payload: Vec<u8>,
    /// Where the server has put it.
    seq: Option<Seq>,
    /// Calls with it that are not answered. One that is repeated may be refused after the first one was accepted.
    calls: usize,
}

impl Sent {
    /// Keeps what is about to be sent to a group, if there is room; whether there is, the server has to be told.
    pub fn keep(&self, group: GroupId, payload: &[u8]) -> Option<ContentHash> {
        let state = &mut *self.0.borrow_mut();
        let hash = ContentHash::of(payload);
        if let Some(kept) = state.kept.get_mut(&hash) {
            kept.calls += 1;
            return Some(hash);
        }
        if state.kept.len() >= limits::ECHOES || state.bytes + payload.len() > MOST_BYTES {
            return None;
        }
        state.bytes += payload.len();
        state.kept.insert(hash, Kept { group, payload: payload.to_vec(), seq: None, calls: 1 });
        Some(hash)
    }

    /// The server has answered a call: it is in the log there, or not by this call.
    pub fn answered(&self, hash: ContentHash, seq: Option<Seq>) {
        let state = &mut *self.0.borrow_mut();
        let Some(kept) = state.kept.get_mut(&hash) else { return };
        kept.calls = kept.calls.saturating_sub(1);
        kept.seq = kept.seq.or(seq);
        let reached = state.reached.get(&kept.group).copied().unwrap_or_default();
        let is_over = kept.seq.map_or(kept.calls == 0, |seq| seq <= reached);
        if is_over {
            state.drop_kept(hash);
        }
    }

    /// A log is followed anew, perhaps from further back.
    pub fn follow(&self, log: LogId) {
        if let LogId::Group(group) = log {
            self.0.borrow_mut().reached.remove(&group);
        }
    }

    /// What an echo stands for, once.
    pub fn take(&self, hash: ContentHash) -> Option<Vec<u8>> {
        self.0.borrow_mut().drop_kept(hash)
    }

    /// Entries have come. What stands before the last of them has come, too, or was left out.
    pub fn came(&self, entries: &[Entry]) {
        let state = &mut *self.0.borrow_mut();
        for entry in entries {
            if let LogId::Group(group) = entry.log {
                state.reached.insert(group, entry.seq);
            }
        }
        let has_come =
            |kept: &Kept| kept.seq.is_some_and(|seq| state.reached.get(&kept.group).is_some_and(|at| seq <= *at));
        let come: Vec<_> = state.kept.iter().filter(|(_, kept)| has_come(kept)).map(|(hash, _)| *hash).collect();
        come.into_iter().for_each(|hash| drop(state.drop_kept(hash)));
    }
}

impl State {
    fn drop_kept(&mut self, hash: ContentHash) -> Option<Vec<u8>> {
        let kept = self.kept.remove(&hash)?;
        self.bytes -= kept.payload.len();
        Some(kept.payload)
    }
}

/// Several commits of the largest groups.
const MOST_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use qpq_proto::stream::EntryKind;
    use qpq_proto::time::Timestamp;

    use super::*;

    const GROUP: GroupId = GroupId([1; 16]);

    fn is_empty(sent: &Sent) -> bool {
        let state = sent.0.borrow();
        state.kept.is_empty() && state.bytes == 0
    }

    fn came(sent: &Sent, seq: u64) {
        let (log, kind) = (LogId::Group(GROUP), EntryKind::Message);
        sent.came(&[Entry { log, seq: Seq(seq), at: Timestamp(0), kind, payload: b"whole".to_vec() }]);
    }

    #[test]
    fn an_echo_stands_for_what_was_sent_before_and_after_the_answer() {
        let sent = Sent::default();
        let hash = sent.keep(GROUP, b"early").expect("room");
        assert_eq!(sent.take(hash).as_deref(), Some(&b"early"[..]));
        came(&sent, 1);
        sent.answered(hash, Some(Seq(1)));
        let hash = sent.keep(GROUP, b"late").expect("room");
        sent.answered(hash, Some(Seq(2)));
        assert_eq!(sent.take(hash).as_deref(), Some(&b"late"[..]));
        assert_eq!(sent.take(hash), None, "once");
        assert!(is_empty(&sent));
    }

    #[test]
    fn what_is_refused_or_comes_whole_is_not_kept() {
        let sent = Sent::default();
        let refused = sent.keep(GROUP, b"refused").expect("room");
        sent.answered(refused, None);
        assert!(is_empty(&sent));
        let hash = sent.keep(GROUP, b"whole").expect("room");
        sent.answered(hash, Some(Seq(3)));
        came(&sent, 2);
        assert!(!is_empty(&sent), "it stands behind that");
        came(&sent, 3);
        assert!(is_empty(&sent));
        let hash = sent.keep(GROUP, b"whole").expect("room");
        came(&sent, 5);
        assert!(!is_empty(&sent), "nobody knows where it is");
        sent.answered(hash, Some(Seq(4)));
        assert!(is_empty(&sent));
    }

    #[test]
    fn a_repetition_that_is_refused_takes_nothing_from_what_was_accepted() {
        for accepted_first in [true, false] {
            let sent = Sent::default();
            let hash = sent.keep(GROUP, b"twice").expect("room");
            assert_eq!(sent.keep(GROUP, b"twice"), Some(hash));
            if accepted_first {
                sent.answered(hash, Some(Seq(1)));
            }
            sent.answered(hash, None);
            assert_eq!(sent.take(hash).as_deref(), Some(&b"twice"[..]));
            assert!(is_empty(&sent));
        }
        let sent = Sent::default();
        let hash = sent.keep(GROUP, b"twice").expect("room");
        sent.keep(GROUP, b"twice");
        sent.answered(hash, None);
        assert!(!is_empty(&sent));
        sent.answered(hash, None);
        assert!(is_empty(&sent), "both were refused");
    }

    #[test]
    fn what_comes_again_after_a_log_is_followed_anew_is_kept_for_that() {
        let sent = Sent::default();
        came(&sent, 5);
        sent.follow(LogId::Group(GROUP));
        let hash = sent.keep(GROUP, b"repeated").expect("room");
        sent.answered(hash, Some(Seq(4)));
        assert!(sent.take(hash).is_some());
    }

    #[test]
    fn there_is_room_for_so_much() {
        let sent = Sent::default();
        let kept: Vec<_> = (0..limits::ECHOES as u64).filter_map(|n| sent.keep(GROUP, &n.to_be_bytes())).collect();
        assert_eq!(kept.len(), limits::ECHOES);
        assert_eq!(sent.keep(GROUP, b"more"), None);
        kept.into_iter().for_each(|hash| sent.answered(hash, None));
        assert!(sent.keep(GROUP, &vec![0; MOST_BYTES + 1]).is_none() && is_empty(&sent));
    }
}
