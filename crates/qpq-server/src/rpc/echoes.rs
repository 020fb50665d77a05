//! What a device sends comes back to it in the log. As long as its connection lives it has that already: the hash will do.

use std::cell::RefCell;
use std::collections::VecDeque;

use qpq_proto::ids::ContentHash;
use qpq_proto::limits;
use qpq_proto::stream::Entry;

/// What came over one connection, is kept by the device, and has not been pushed to it. Forgetting costs bytes, nothing else.
#[derive(Default)]
pub struct Echoes(VecDeque<Kept>);

struct Kept {
    /// Tells nearly all entries apart without hashing them.
    length: usize,
    hash: ContentHash,
}

impl Echoes {
    fn expect(&mut self, length: usize, hash: ContentHash) {
        self.forget(hash);
        self.0.truncate(limits::ECHOES - 1);
        self.0.push_front(Kept { length, hash });
    }

    fn forget(&mut self, hash: ContentHash) {
        self.0.retain(|kept| kept.hash != hash);
    }

    /// The device follows its logs anew, perhaps from further back.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The hash that the device gets instead of the payload, once.
    pub fn take(&mut self, entry: &Entry) -> Option<ContentHash> {
        if !self.0.iter().any(|kept| kept.length == entry.payload.len()) {
            return None;
        }
        let hash = ContentHash::of(&entry.payload);
        let index = self.0.iter().position(|kept| kept.hash == hash)?;
        self.0.remove(index).map(|kept| kept.hash)
    }
}

/// What the server has not decided about. It may be pushed before its sender has the answer; dropped, it was not accepted.
pub struct Expected<'a> {
    echoes: &'a RefCell<Echoes>,
    hash: ContentHash,
    is_accepted: bool,
}

impl<'a> Expected<'a> {
    pub fn new(echoes: &'a RefCell<Echoes>, payload: &[u8]) -> Self {
        let hash = ContentHash::of(payload);
        echoes.borrow_mut().expect(payload.len(), hash);
        Self { echoes, hash, is_accepted: false }
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        if !self.is_accepted {
            self.echoes.borrow_mut().forget(self.hash);
        }
    }
}

/// The server has decided.
pub fn settle(expected: Option<Expected<'_>>, is_accepted: bool) {
    if let Some(mut expected) = expected {
        expected.is_accepted = is_accepted;
    }
}

#[cfg(test)]
mod tests {
    use qpq_proto::ids::Seq;
    use qpq_proto::stream::{EntryKind, LogId};
    use qpq_proto::time::Timestamp;

    use super::*;

    fn entry(payload: &[u8]) -> Entry {
        let (log, seq, at) = (LogId::Inbox, Seq(1), Timestamp(0));
        Entry { log, seq, at, kind: EntryKind::Message, payload: payload.to_vec() }
    }

    fn accept(echoes: &RefCell<Echoes>, payload: &[u8]) -> ContentHash {
        let expected = Expected::new(echoes, payload);
        let hash = expected.hash;
        settle(Some(expected), true);
        hash
    }

    #[test]
    fn only_what_was_sent_and_accepted_is_echoed_and_once() {
        let echoes = RefCell::default();
        let hash = accept(&echoes, b"sent");
        settle(Some(Expected::new(&echoes, b"nope")), false);
        let take = |payload: &[u8]| echoes.borrow_mut().take(&entry(payload));
        assert_eq!(take(b"else"), None, "as long as it, and somebody else's");
        assert_eq!(take(b"nope"), None);
        assert_eq!(take(b"sent"), Some(hash));
        assert_eq!(take(b"sent"), None, "read again, it comes whole");
        let undecided = Expected::new(&echoes, b"fast");
        assert_eq!(take(b"fast"), Some(undecided.hash), "pushed before the call is answered");
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let echoes = RefCell::default();
        let sent = |number: usize| number.to_be_bytes();
        for number in 0..=limits::ECHOES {
            accept(&echoes, &sent(number));
        }
        let mut echoes = echoes.into_inner();
        assert_eq!(echoes.take(&entry(&sent(0))), None);
        assert!((1..=limits::ECHOES).all(|number| echoes.take(&entry(&sent(number))).is_some()));
    }
}
