//! The conformance suite of [`Store`]: what the engine relies on, run on every implementor.

#![allow(clippy::unwrap_used)]

use qpq_proto::ids::{DeviceId, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::time::Timestamp;

use super::rows::MessageRow;
use super::{Store, Table};
use crate::view::{ConversationId, MessageStatus};

/// Runs every check on an empty store.
pub fn check(store: &mut dyn Store) {
    keys_and_values(store);
    scans_are_ordered_and_bounded(store);
    messages_are_unique_and_in_log_order(store);
    held_messages_are_not_shown(store);
    messages_are_found_in_all_ways(store);
    messages_disappear(store);
    events_have_positions(store);
}

fn keys_and_values(store: &mut dyn Store) {
    assert_eq!(store.get(Table::Mls, b"k").unwrap(), None);
    store.put(Table::Mls, b"k", b"one").unwrap();
    store.put(Table::Mls, b"k", b"two").unwrap();
    store.put(Table::Own, b"k", b"other table").unwrap();
    assert_eq!(store.get(Table::Mls, b"k").unwrap().as_deref(), Some(&b"two"[..]));
    store.remove(Table::Mls, b"k").unwrap();
    store.remove(Table::Mls, b"never there").unwrap();
    assert_eq!(store.get(Table::Mls, b"k").unwrap(), None);
    assert_eq!(store.get(Table::Own, b"k").unwrap().as_deref(), Some(&b"other table"[..]));
}

fn scans_are_ordered_and_bounded(store: &mut dyn Store) {
    for key in [&b"b2"[..], b"a", b"b1", b"b\xff", b"b\xff\xff", b"c"] {
        store.put(Table::Backlog, key, key).unwrap();
    }
    store.remove(Table::Backlog, b"b1").unwrap();
    let keys = |prefix: &[u8]| -> Vec<Vec<u8>> {
        store.scan(Table::Backlog, prefix).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(b"b"), [&b"b2"[..], b"b\xff", b"b\xff\xff"]);
    assert_eq!(keys(b"b\xff"), [&b"b\xff"[..], b"b\xff\xff"]);
    assert_eq!(keys(b"").len(), 5);
    let first = |limit| -> Vec<Vec<u8>> {
        store.scan_first(Table::Backlog, b"b", limit).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(first(0), [b""; 0]);
    assert_eq!(first(1), [b"b2"]);
    assert_eq!(first(2), [&b"b2"[..], b"b\xff"]);
    assert_eq!(first(9).len(), 3);
}

fn messages_are_unique_and_in_log_order(store: &mut dyn Store) {
    let conversation = ConversationId::Group(GroupId([9; 16]));
    for (number, seq) in [(1, Some(5)), (2, None), (3, Some(4)), (4, Some(6))] {
        assert!(store.insert_message(&message(conversation, number, seq)).unwrap());
        assert!(!store.insert_message(&message(conversation, number, seq)).unwrap());
    }
    let numbers = |before, limit, search| -> Vec<u64> {
        store.messages(conversation, before, limit, search).unwrap().iter().map(|row| row.number).collect()
    };
    assert_eq!(numbers(None, 10, None), [3, 1, 4, 2]);
    assert_eq!(numbers(None, 2, None), [4, 2]);
    assert_eq!(numbers(Some(4), 10, None), [3, 1]);
    assert_eq!(numbers(None, 10, Some("TEXT 3")), [3]);
    assert_eq!(numbers(None, 10, Some("nothing")), [0u64; 0]);
    assert_eq!(store.count_received(conversation, 1).unwrap(), 3);
    let changed = MessageRow { seq: Some(Seq(1)), status: MessageStatus::Sent, ..message(conversation, 2, None) };
    store.update_message(&changed).unwrap();
    let stored = store.message(conversation, changed.sender, changed.id).unwrap();
    assert_eq!(stored, Some(changed));
}

fn held_messages_are_not_shown(store: &mut dyn Store) {
    let conversation = ConversationId::Direct(IdentityId([8; 32]));
    let held = MessageRow { held: true, sender: IdentityId([8; 32]), ..message(conversation, 1, Some(1)) };
    store.insert_message(&held).unwrap();
    assert!(store.messages(conversation, None, 10, None).unwrap().is_empty());
    assert_eq!(store.count_received(conversation, 0).unwrap(), 0);
    assert_eq!(store.held_messages(held.sender).unwrap(), [held]);
}

fn messages_are_found_in_all_ways(store: &mut dyn Store) {
    let conversation = ConversationId::Group(GroupId([6; 16]));
    let texts = ["Straße 漢字かな", "a \"quoted\" word", "100% sure_ly", "rtl \u{5e9}\u{5dc}\u{5d5}\u{5dd}"];
    for (number, text) in (1..).zip(texts) {
        let row = MessageRow { text: text.into(), ..message(conversation, number, Some(number)) };
        store.insert_message(&row).unwrap();
    }
    let cases: [(&str, &[u64]); 10] = [
        ("straße", &[1]),
        ("漢字", &[1]),
        ("漢字か", &[1]),
        ("\"quoted\"", &[2]),
        ("quoted WORD a", &[2]),
        ("%", &[3]),
        ("re_ly", &[3]),
        ("OR AND NOT *", &[]),
        ("\u{5e9}\u{5dc}\u{5d5}", &[4]),
        ("uote", &[2]),
    ];
    for (words, expected) in cases {
        let found: Vec<u64> =
            store.messages(conversation, None, 10, Some(words)).unwrap().iter().map(|row| row.number).collect();
        assert_eq!(found, expected, "{words}");
    }
    let mut changed = store.message_numbered(conversation, 2).unwrap().unwrap();
    changed.text = "other words".into();
    store.update_message(&changed).unwrap();
    assert!(store.messages(conversation, None, 10, Some("quoted")).unwrap().is_empty());
    assert_eq!(store.messages(conversation, None, 10, Some("other words")).unwrap().len(), 1);
    // The id of another's message, taken by somebody else.
    let taken = MessageRow { sender: IdentityId([5; 32]), number: 9, ..changed.clone() };
    store.insert_message(&taken).unwrap();
    assert_eq!(store.messages_called(conversation, changed.id).unwrap(), [changed, taken]);
    assert_eq!(store.message_numbered(conversation, 77).unwrap(), None);
}

fn messages_disappear(store: &mut dyn Store) {
    let conversation = ConversationId::Group(GroupId([5; 16]));
    for (number, expires_at) in [(1, Some(10)), (2, None), (3, Some(20)), (4, Some(30))] {
        let expires_at = expires_at.map(Timestamp);
        let row = MessageRow { expires_at, ..message(conversation, number, Some(number)) };
        store.insert_message(&row).unwrap();
    }
    assert!(store.expired_messages(Timestamp(9), 10).unwrap().is_empty());
    let due = store.expired_messages(Timestamp(20), 10).unwrap();
    assert_eq!(due.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(store.expired_messages(Timestamp(20), 1).unwrap().len(), 1);
    for row in due {
        store.delete_message(&row).unwrap();
    }
    assert!(store.messages(conversation, None, 10, Some("text 1")).unwrap().is_empty());
    assert_eq!(store.messages(conversation, None, 10, None).unwrap().len(), 2);
    assert!(store.expired_messages(Timestamp(20), 10).unwrap().is_empty());
}

fn events_have_positions(store: &mut dyn Store) {
    let first = store.append_event(b"one").unwrap();
    assert_eq!(store.append_event(b"two").unwrap(), first + 1);
    let events = store.events(first - 1, 10).unwrap();
    assert_eq!(events, [(first, b"one".to_vec()), (first + 1, b"two".to_vec())]);
    assert_eq!(store.events(first, 10).unwrap().len(), 1);
    assert_eq!(store.events(first - 1, 1).unwrap().len(), 1);
    assert_eq!(store.newest_event().unwrap(), first + 1);
}

fn message(conversation: ConversationId, number: u64, seq: Option<u64>) -> MessageRow {
    MessageRow {
        conversation,
        number,
        id: MessageId([number as u8; 16]),
        seq: seq.map(Seq),
        sender: IdentityId([7; 32]),
        device: DeviceId([7; 16]),
        sent_at: Timestamp(number),
        received_at: Timestamp(number),
        status: MessageStatus::Received,
        held: false,
        expires_at: None,
        text: format!("Some text {number}"),
        content: vec![1],
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_memory_store_conforms() {
        super::check(&mut crate::store::memory::MemoryStore::default());
    }
}
