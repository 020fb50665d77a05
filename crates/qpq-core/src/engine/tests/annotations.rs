//! What is said about messages, and messages that disappear: also among those who do not keep to the rules, and whose clocks are
//! wrong.

use std::time::Duration;

use qpq_proto::content::{Body, Content};
use qpq_proto::ids::MessageId;
use qpq_proto::time::Timestamp;

use super::world::World;
use crate::engine::{Answer, Command, Query};
use crate::store::Store as _;
use crate::store::notes::{NoteKind, NoteRow};
use crate::store::rows::{ContactRow, ConversationRow, Row as _, WishKind, WishRow, next_number};
use crate::view::{ConversationId, EventKind, Message, MessageStatus};

/// What a changed client says, whatever the engine would have said about it.
fn say_anyway(world: &mut World, node: usize, conversation: ConversationId, body: Body) {
    let (id, sent_at) = (MessageId([node as u8 + 100; 16]), Timestamp(1));
    let content = Content { id, sent_at, in_reply_to: None, expires_after: None, fallback: "x".into(), body };
    say_content(world, node, conversation, &content);
}

fn say_content(world: &mut World, node: usize, conversation: ConversationId, content: &Content) {
    let content = serde_bytes::ByteBuf::from(content.encode());
    let store = &mut world.nodes[node].store;
    let id = next_number(store, "wish").unwrap();
    let kind = WishKind::Tell { content };
    WishRow { id, conversation, kind, not_before: Timestamp::default() }.save(store).unwrap();
    world.quiesce();
}

fn messages(world: &mut World, node: usize, conversation: ConversationId) -> Vec<Message> {
    Query::new(&mut world.nodes[node].store).history(conversation, None, 100, None).unwrap()
}

#[test]
fn what_was_said_before_a_set_back_is_taken_back_for_everybody() {
    let (mut world, group) = three(7);
    world.send(0, group, "first");
    world.quiesce();
    // The server forgets it, and Alice is about to say it again.
    let id = messages(&mut world, 0, group)[0].id;
    let alice = world.nodes[0].identity;
    world.disconnect(0);
    let store = &mut world.nodes[0].store;
    let mut row = store.message(group, alice, id).unwrap().unwrap();
    (row.seq, row.status) = (None, MessageStatus::Waiting);
    store.update_message(&row).unwrap();
    let (kind, at) = (NoteKind::SaidBefore, Timestamp(1));
    NoteRow { conversation: group, message: id, by: alice, kind, at }.save(store).unwrap();
    assert!(matches!(world.command(0, Command::TakeBack { conversation: group, number: 1 }), Answer::Wish(_)));
    world.connect(0);
    world.quiesce();
    for node in 0..3 {
        assert!(messages(&mut world, node, group)[0].is_deleted(), "node {node}");
    }
}

#[test]
fn nothing_answers_a_stranger_by_itself() {
    let (mut world, _) = three(8);
    // Bob has never had to do with Carol.
    let mut contact = ContactRow::load(&world.nodes[1].store, &world.nodes[2].identity).unwrap().unwrap();
    contact.is_known = false;
    contact.save(&mut world.nodes[1].store).unwrap();
    let group = world.create_group(2, "bait", &[1]);
    world.quiesce();
    let row = ConversationRow::load(&world.nodes[1].store, &group).unwrap().unwrap();
    assert_eq!(row.requested_by, Some(world.nodes[2].identity));
    let before = world.delivery.groups.values().map(|group| group.log.len()).sum::<usize>();
    say_anyway(&mut world, 2, group, Body::AskName);
    world.command(1, Command::MarkRead(group));
    world.command(1, Command::Typing(group));
    world.quiesce();
    let after = world.delivery.groups.values().map(|group| group.log.len()).sum::<usize>();
    assert_eq!(after, before + 1, "the stranger's own question, and no answer");
}

/// Alice, Bob and Carol, who have taken up the group.
fn three(seed: u64) -> (World, ConversationId) {
    let mut world = World::new(seed, &["alice", "bob", "carol"]);
    let group = world.create_group(0, "team", &[1, 2]);
    world.quiesce();
    for node in [1, 2] {
        world.command(node, Command::Accept(group));
    }
    (world, group)
}

#[test]
fn receipts_of_a_busy_conversation_are_gathered() {
    let (mut world, group) = three(9);
    let logged = |world: &World| world.delivery.groups.values().map(|group| group.log.len()).sum::<usize>();
    let before = logged(&world);
    let ids: Vec<_> = (0..5).map(|number| world.send(0, group, &format!("message {number}"))).collect();
    world.quiesce();
    // Bob and Carol confirm what came in the first step, and all the rest a second later.
    let receipts = logged(&world) - before - ids.len();
    assert!((2..=4).contains(&receipts), "{receipts} receipts");
    for id in ids {
        let notes = messages(&mut world, 0, group).into_iter().find(|message| message.id == id).unwrap().notes;
        assert_eq!(notes.delivered, 2, "{id:?}");
    }
}

#[test]
fn whoever_is_about_to_go_sends_the_receipts_that_are_being_gathered() {
    let (mut world, group) = three(10);
    for number in 0..5 {
        world.send(0, group, &format!("message {number}"));
    }
    // No time passes.
    while world.step() {}
    let delivered = |world: &mut World| messages(world, 0, group).last().unwrap().notes.delivered;
    assert_eq!(delivered(&mut world), 0);
    for node in [1, 2] {
        world.hurry(node);
    }
    while world.step() {}
    assert_eq!(delivered(&mut world), 2);
}

#[test]
fn nobody_changes_or_takes_back_what_somebody_else_wrote() {
    let (mut world, group) = three(1);
    let id = world.send(0, group, "as I wrote it");
    world.quiesce();
    say_anyway(&mut world, 1, group, Body::Edit { target: id, text: "as Bob wants it".into() });
    say_anyway(&mut world, 1, group, Body::Delete { target: id });
    for node in 0..3 {
        let seen = messages(&mut world, node, group);
        assert_eq!((seen.len(), seen[0].content.text()), (1, "as I wrote it"), "node {node}");
        assert!(seen[0].notes.edited.is_none());
    }
    // Not even when Bob takes the id for a message of his own: that one is kept aside, and nothing is said about both.
    let (sent_at, fallback, body) = (Timestamp(1), String::new(), Body::Text("mine".into()));
    let taken = Content { id, sent_at, in_reply_to: None, expires_after: None, fallback, body };
    say_content(&mut world, 1, group, &taken);
    say_anyway(&mut world, 1, group, Body::Edit { target: id, text: "changed".into() });
    say_anyway(&mut world, 1, group, Body::Delete { target: id });
    assert_eq!(world.history(2, group), ["as I wrote it"]);
    assert!(world.events(2).iter().any(|event| matches!(event.kind, EventKind::Gap { count: 1, .. })));
}

#[test]
fn what_is_said_about_nothing_is_forgotten() {
    let (mut world, group) = three(2);
    let nothing = MessageId([9; 16]);
    for body in [
        Body::Reaction { target: nothing, emoji: "👍".into(), removed: false },
        Body::Edit { target: nothing, text: "x".into() },
        Body::Delete { target: nothing },
        Body::Receipt { kind: qpq_proto::content::ReceiptKind::Read, targets: vec![nothing; 3] },
    ] {
        say_anyway(&mut world, 1, group, body);
    }
    world.send(0, group, "still here");
    world.quiesce();
    for node in 0..3 {
        assert_eq!(world.history(node, group), ["still here"]);
    }
}

#[test]
fn reactions_are_bounded_and_agree_everywhere() {
    let (mut world, group) = three(3);
    let id = world.send(0, group, "react!");
    world.quiesce();
    for number in 0..20_u8 {
        let emoji = format!("e{number}");
        say_anyway(&mut world, 1, group, Body::Reaction { target: id, emoji, removed: false });
    }
    world.command(2, Command::React { conversation: group, number: 1, emoji: "🎉".into(), removed: false });
    world.quiesce();
    for node in 0..3 {
        let reactions = messages(&mut world, node, group)[0].notes.reactions.clone();
        let by_bob = reactions.iter().filter(|(_, who)| who[0].identity == world.nodes[1].identity).count();
        // Bob's own client does not know what his changed one said.
        assert_eq!(by_bob, if node == 1 { 0 } else { 16 }, "node {node}");
        assert!(reactions.iter().any(|(emoji, _)| emoji == "🎉"));
    }
}

#[test]
fn an_edit_of_what_has_not_left_yet_arrives_as_one_message() {
    let (mut world, group) = three(4);
    world.disconnect(0);
    world.send(0, group, "first thought");
    world.command(0, Command::Edit { conversation: group, number: 1, text: "second thought".into() });
    world.send(0, group, "never mind");
    world.command(0, Command::TakeBack { conversation: group, number: 2 });
    world.connect(0);
    world.quiesce();
    for node in 1..3 {
        assert_eq!(world.texts(node), ["second thought"], "node {node}");
    }
    let kinds = world.events(0);
    let unsent = kinds.iter().filter(|event| matches!(event.kind, EventKind::NotSent { .. })).count();
    assert_eq!(unsent, 0, "what was taken back was not refused");
}

#[test]
fn requests_and_the_silent_tell_nothing() {
    let (mut world, group) = three(5);
    world.command(2, Command::TellOthers(false));
    world.send(0, group, "who has this?");
    world.quiesce();
    for node in [1, 2] {
        world.command(node, Command::MarkRead(group));
    }
    world.quiesce();
    let notes = messages(&mut world, 0, group)[0].notes.clone();
    assert_eq!((notes.delivered, notes.read_by.len()), (1, 1), "Bob alone");

    // A stranger's conversation.
    let alice = world.nodes[0].identity;
    world.command(1, Command::Direct(alice));
    world.send(1, ConversationId::Direct(alice), "hello?");
    world.quiesce();
    let bob = ConversationId::Direct(world.nodes[1].identity);
    let row = ConversationRow::load(&world.nodes[0].store, &bob).unwrap().unwrap();
    assert_eq!(row.requested_by, None, "Alice has added Bob to a group: he is no stranger");
    let carol = world.nodes[2].identity;
    world.command(1, Command::Direct(carol));
    world.send(1, ConversationId::Direct(carol), "hello?");
    world.quiesce();
    world.command(2, Command::TellOthers(true));
    world.command(2, Command::MarkRead(bob));
    world.quiesce();
    let row = ConversationRow::load(&world.nodes[2].store, &bob).unwrap().unwrap();
    assert_eq!(row.requested_by, Some(world.nodes[1].identity));
    let notes = messages(&mut world, 1, ConversationId::Direct(carol))[0].notes.clone();
    assert_eq!((notes.delivered, notes.read_by.len()), (0, 0));
}

#[test]
fn messages_disappear_in_time_by_the_clocks_of_everybody() {
    for skew in [0, 24 * 3600 * 1000, -24 * 3600 * 1000] {
        let (mut world, group) = three(6);
        world.nodes[1].skew = skew;
        world.disconnect(1);
        world.connect(1);
        world.quiesce();
        let after = Duration::from_secs(20 * 60).as_millis() as u64;
        world.change(0, group, WishKind::SetExpiry { after: Some(after) });
        world.quiesce();
        world.send(0, group, "for a while");
        world.run(2);
        for node in 0..3 {
            assert_eq!(world.history(node, group), ["for a while"], "skew {skew}, node {node}");
        }
        // Nobody keeps a message longer by leaving out how long it stays.
        say_anyway(&mut world, 2, group, Body::Text("for ever".into()));
        assert_eq!(messages(&mut world, 1, group).len(), 2);
        for node in 0..3 {
            world.disconnect(node);
            world.connect(node);
        }
        world.run(60);
        for node in 0..3 {
            assert!(world.history(node, group).is_empty(), "skew {skew}, node {node}");
            assert!(world.nodes[node].store.expired_messages(Timestamp(u64::MAX), 10).unwrap().is_empty());
        }
    }
}
