//! The promises of the engine under faults.

use crate::engine::Command;
use crate::store::rows::WishKind;
use crate::view::{ConversationId, ConversationState, EventKind};

use super::world::World;

/// Runs `scenario` with many seeds, calm and stormy; a failure prints its seed.
pub(super) fn with_seeds(scenario: impl Fn(&mut World) + std::panic::RefUnwindSafe, names: &[&str]) {
    let seeds = std::env::var("QPQ_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, names);
            world.faults = [0, 4, 12][seed as usize % 3];
            scenario(&mut world);
        });
        if let Err(panic) = run {
            eprintln!("failed with seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn direct_messages_arrive_once_and_in_order() {
    with_seeds(
        |world| {
            let (alice, bob) = (world.nodes[0].identity, world.nodes[1].identity);
            world.command(0, Command::Direct(bob));
            for number in 0..5 {
                world.send(0, ConversationId::Direct(bob), &format!("a{number}"));
            }
            world.quiesce();
            for number in 0..5 {
                world.send(1, ConversationId::Direct(alice), &format!("b{number}"));
                world.step();
            }
            world.quiesce();
            assert_eq!(world.texts(1), ["a0", "a1", "a2", "a3", "a4"]);
            assert_eq!(world.texts(0), ["b0", "b1", "b2", "b3", "b4"]);
            let shown = world.history(0, ConversationId::Direct(bob));
            assert_eq!(shown, ["a0", "a1", "a2", "a3", "a4", "b0", "b1", "b2", "b3", "b4"]);
            assert_eq!(shown, world.history(1, ConversationId::Direct(alice)));
        },
        &["alice", "bob"],
    );
}

#[test]
fn two_who_start_at_once_end_up_in_one_conversation() {
    with_seeds(
        |world| {
            let (alice, bob) = (world.nodes[0].identity, world.nodes[1].identity);
            world.command(0, Command::Direct(bob));
            world.command(1, Command::Direct(alice));
            world.send(0, ConversationId::Direct(bob), "from alice");
            world.send(1, ConversationId::Direct(alice), "from bob");
            world.quiesce();
            assert_eq!(world.texts(0), ["from bob"]);
            assert_eq!(world.texts(1), ["from alice"]);
            assert_eq!(world.delivery.groups.len(), 1);
            let shown = world.history(0, ConversationId::Direct(bob));
            assert_eq!(shown, world.history(1, ConversationId::Direct(alice)));
        },
        &["alice", "bob"],
    );
}

#[test]
fn a_notepad_needs_nobody() {
    with_seeds(
        |world| {
            let alice = world.nodes[0].identity;
            world.command(0, Command::Direct(alice));
            world.send(0, ConversationId::Direct(alice), "milk");
            world.quiesce();
            assert_eq!(world.history(0, ConversationId::Direct(alice)), ["milk"]);
            let own = |event: &crate::view::Event| matches!(event.kind, EventKind::Sent { .. });
            assert!(world.events(0).iter().any(own));
        },
        &["alice"],
    );
}

#[test]
fn conflicting_changes_all_succeed() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1, 2]);
            world.quiesce();
            let dave = world.nodes[3].identity;
            let carol = world.nodes[2].identity;
            let wishes = [
                (0, world.change(0, group, WishKind::Rename { name: "better plans".into() })),
                (1, world.change(1, group, WishKind::Add { who: vec![dave] })),
                (2, world.change(2, group, WishKind::UpdateKey)),
                (0, world.change(0, group, WishKind::SetAdmin { who: carol, is_admin: true })),
            ];
            for node in 0..3 {
                world.send(node, group, &format!("meanwhile {node}"));
            }
            world.quiesce();
            for (node, wish) in wishes {
                let refusal = world.nodes[node].settled.get(&wish).and_then(|result| result.clone().err());
                assert_eq!(refusal, None, "a wish of node {node}");
            }
            let facts = world.facts(0, group);
            assert_eq!(facts.0, "better plans");
            assert_eq!(facts.2.len(), 4);
            for node in 1..4 {
                assert_eq!(world.facts(node, group), facts, "node {node}");
            }
            let history = world.history(0, group);
            assert_eq!(history.len(), 3);
            assert_eq!(history, world.history(1, group));
            assert_eq!(history, world.history(2, group));
        },
        &["alice", "bob", "carol", "dave"],
    );
}

#[test]
fn who_leaves_or_is_removed_reads_nothing_more() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1, 2, 3]);
            world.quiesce();
            world.send(0, group, "for all");
            world.quiesce();
            world.change(1, group, WishKind::Leave);
            world.quiesce();
            let carol = world.nodes[2].identity;
            world.change(0, group, WishKind::Remove { who: carol });
            world.quiesce();
            world.send(3, group, "for two");
            world.quiesce();
            assert_eq!(world.texts(0), ["for two"]);
            assert_eq!(world.texts(1), ["for all"]);
            assert_eq!(world.texts(2), ["for all"]);
            assert_eq!(world.texts(3), ["for all"]);
            assert_eq!(world.facts(0, group).2.len(), 2);
            assert_eq!(world.facts(0, group), world.facts(3, group));
            let states: Vec<_> = (0..4)
                .map(|node| {
                    let mut query = crate::engine::Query::new(&mut world.nodes[node].store);
                    query.group_info(group).unwrap().unwrap().conversation.state
                })
                .collect();
            use ConversationState::{Active, Left, Removed};
            assert_eq!(states, [Active, Left, Removed, Active]);

            // And who was removed can be invited again, and reads from then on.
            world.change(0, group, WishKind::Add { who: vec![carol] });
            world.quiesce();
            world.send(0, group, "welcome back");
            world.quiesce();
            assert_eq!(world.texts(2), ["for all", "welcome back"]);
        },
        &["alice", "bob", "carol", "dave"],
    );
}

#[test]
fn a_leaver_goes_before_a_newcomer_comes() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1, 2]);
            world.quiesce();
            // The one who would carry out the leave at once is away.
            world.disconnect(0);
            world.change(1, group, WishKind::Leave);
            let dave = world.nodes[3].identity;
            world.change(2, group, WishKind::Add { who: vec![dave] });
            world.quiesce();
            world.send(2, group, "welcome");
            world.quiesce();
            assert_eq!(world.texts(3), ["welcome"]);
            world.connect(0);
            world.quiesce();
            let facts = world.facts(0, group);
            assert_eq!(facts.2.len(), 3);
            assert_eq!(facts, world.facts(2, group));
            assert_eq!(facts, world.facts(3, group));
        },
        &["alice", "bob", "carol", "dave"],
    );
}

#[test]
fn an_answer_about_an_earlier_stay_does_not_end_the_present_one() {
    let mut world = World::new(17, &["alice", "bob"]);
    let group = world.create_group(0, "team", &[1]);
    world.quiesce();
    let bob = world.nodes[1].identity;
    // Bob is removed and does not know it yet; his message is refused, and he asks whether he is still in.
    (world.nodes[1].is_deaf, world.nodes[1].late) = (true, Some(vec![]));
    world.change(0, group, WishKind::Remove { who: bob });
    world.quiesce();
    world.send(1, group, "to nobody");
    world.quiesce();
    assert_eq!(world.nodes[1].late.as_ref().map(Vec::len), Some(1));
    // Before he hears that he is not, he is in again.
    world.change(0, group, WishKind::Add { who: vec![bob] });
    world.quiesce();
    world.nodes[1].is_deaf = false;
    world.quiesce();
    world.let_late_answers_in(1);
    world.quiesce();
    world.send(0, group, "welcome back");
    world.quiesce();
    assert_eq!(world.facts(0, group), world.facts(1, group));
    assert_eq!(world.texts(1).last().map(String::as_str), Some("welcome back"));
}

#[test]
fn who_comes_back_while_away_reads_both_stays() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1, 2]);
            world.quiesce();
            world.disconnect(1);
            let bob = world.nodes[1].identity;
            world.send(0, group, "first stay");
            world.change(0, group, WishKind::Remove { who: bob });
            world.send(0, group, "not for bob");
            world.change(0, group, WishKind::Add { who: vec![bob] });
            world.quiesce();
            world.send(2, group, "second stay");
            world.quiesce();
            world.connect(1);
            world.quiesce();
            world.send(1, group, "thanks");
            world.quiesce();
            assert!(world.texts(0).contains(&"thanks".to_owned()));
            assert_eq!(world.facts(0, group), world.facts(1, group));
            assert_eq!(world.texts(1), ["first stay", "second stay"]);
        },
        &["alice", "bob", "carol"],
    );
}

#[test]
fn who_is_added_twice_while_away_reads_both_stays() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[2]);
            world.quiesce();
            world.disconnect(1);
            let bob = world.nodes[1].identity;
            world.change(0, group, WishKind::Add { who: vec![bob] });
            world.send(0, group, "first stay");
            world.change(0, group, WishKind::Remove { who: bob });
            world.send(0, group, "not for bob");
            world.change(0, group, WishKind::Add { who: vec![bob] });
            world.send(0, group, "second stay");
            world.quiesce();
            world.connect(1);
            world.quiesce();
            assert_eq!(world.facts(0, group), world.facts(1, group));
            assert_eq!(world.texts(1), ["first stay", "second stay"]);
        },
        &["alice", "bob", "carol"],
    );
}

#[test]
fn whoever_was_away_catches_up() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "news", &[1, 2]);
            world.quiesce();
            world.disconnect(2);
            let mut expected = Vec::new();
            for number in 0..30 {
                let text = format!("message {number}");
                world.send(number % 2, group, &text);
                expected.push(text);
                world.quiesce();
                if number == 10 {
                    world.change(1, group, WishKind::UpdateKey);
                    world.change(0, group, WishKind::Rename { name: format!("news {number}") });
                }
            }
            // What was written offline goes out as well.
            world.send(2, group, "from afar");
            expected.push("from afar".into());
            world.connect(2);
            world.quiesce();
            for node in 0..3 {
                assert_eq!(world.history(node, group), expected, "node {node}");
                assert_eq!(world.facts(node, group).0, "news 10");
            }
        },
        &["alice", "bob", "carol"],
    );
}

/// `QPQ_SEEDS` in the environment runs more.
const SEEDS: u64 = 12;
