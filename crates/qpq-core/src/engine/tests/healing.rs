//! Groups that cannot go on as they are: lost state, restored backups on either side, commits that nobody can apply.

use qpq_proto::ids::GroupId;

use crate::engine::{Command, Query};
use crate::store::memory::MemoryStore;
use crate::store::rows::{Row as _, WishKind, WishRow};
use crate::store::{Store as _, Table};
use crate::view::{ConversationId, ConversationState, EventKind};

use super::simulation::with_seeds;
use super::world::World;

pub(super) fn group_id(conversation: ConversationId) -> GroupId {
    match conversation {
        ConversationId::Group(group) => group,
        ConversationId::Direct(_) => panic!("a direct conversation"),
    }
}

/// All of these agree, nothing waits, and a message of each reaches all others.
pub(super) fn check_health(world: &mut World, nodes: &[usize], conversation: ConversationId) {
    for node in nodes {
        world.send(*node, conversation, &format!("alive {node}"));
    }
    world.quiesce();
    let facts = world.facts(nodes[0], conversation);
    for node in nodes {
        assert_eq!(world.facts(*node, conversation), facts, "node {node}");
        let state = Query::new(&mut world.nodes[*node].store).conversation(conversation).unwrap().unwrap().state;
        assert_eq!(state, ConversationState::Active, "node {node}");
        let wishes: Vec<_> =
            WishRow::all(&world.nodes[*node].store).unwrap().into_iter().map(|wish| wish.kind).collect();
        assert_eq!(wishes, [], "wishes of node {node}");
        let history = world.history(*node, conversation);
        for other in nodes {
            let text = format!("alive {other}");
            assert_eq!(history.iter().filter(|known| **known == text).count(), 1, "node {node}: {text}");
        }
    }
}

pub(super) fn gaps(world: &mut World, node: usize) -> u64 {
    let gap = |event: crate::view::Event| match event.kind {
        EventKind::Gap { count, .. } => Some(count),
        _ => None,
    };
    world.events(node).into_iter().filter_map(gap).sum()
}

#[test]
fn a_commit_that_nobody_can_apply_does_not_stop_the_group() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1, 2]);
            world.quiesce();
            world.delivery.poison = true;
            world.change(1, group, WishKind::UpdateKey);
            world.quiesce();
            world.send(0, group, "still here");
            world.quiesce();
            for node in 0..3 {
                assert!(world.history(node, group).contains(&"still here".to_owned()), "node {node}");
            }
            check_health(world, &[0, 1, 2], group);
        },
        &["alice", "bob", "carol"],
    );
}

#[test]
fn a_device_that_lost_its_keys_comes_back() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1, 2]);
            world.quiesce();
            world.send(0, group, "before");
            world.quiesce();
            world.disconnect(1);
            let store = &mut world.nodes[1].store;
            for (key, _) in store.scan(Table::Mls, &[]).unwrap() {
                store.remove(Table::Mls, &key).unwrap();
            }
            world.restore(1, None);
            world.connect(1);
            world.quiesce();
            world.send(1, group, "back");
            world.quiesce();
            assert_eq!(world.history(0, group), ["before", "back"]);
            check_health(world, &[0, 1, 2], group);
        },
        &["alice", "bob", "carol"],
    );
}

#[test]
fn a_device_restored_from_a_backup_comes_back_before_it_says_anything() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1, 2]);
            world.quiesce();
            world.send(1, group, "in the backup");
            world.quiesce();
            let backup: MemoryStore = world.nodes[1].store.clone();
            world.send(1, group, "lost with the disk");
            world.send(0, group, "read twice");
            world.quiesce();
            if world.random(2) == 0 {
                world.change(1, group, WishKind::Rename { name: "new plans".into() });
                world.quiesce();
            }
            world.send(2, group, "after that");
            world.quiesce();
            world.restore(1, Some(backup));
            world.send(1, group, "from the backup");
            world.connect(1);
            world.quiesce();
            let mut history = world.history(0, group);
            assert_eq!(history, world.history(2, group));
            history.sort();
            let expected = ["after that", "from the backup", "in the backup", "lost with the disk", "read twice"];
            assert_eq!(history, expected);
            let own = world.history(1, group);
            assert!(
                own.iter().any(|text| text == "from the backup") && !own.iter().any(|text| text.starts_with("lost"))
            );
            assert!(gaps(world, 1) >= 1, "what is missing is named");
            check_health(world, &[0, 1, 2], group);
        },
        &["alice", "bob", "carol"],
    );
}

#[test]
fn a_device_learns_of_groups_that_its_backup_does_not_know() {
    with_seeds(
        |world| {
            let before = world.create_group(0, "known", &[1]);
            world.quiesce();
            let backup: MemoryStore = world.nodes[1].store.clone();
            let after = world.create_group(0, "unknown", &[1, 2]);
            world.quiesce();
            world.send(0, after, "hello");
            world.quiesce();
            world.restore(1, Some(backup));
            world.connect(1);
            world.quiesce();
            // Nobody there is known to this device: it is a request, and the name is asked for when it is accepted.
            world.command(1, Command::Accept(after));
            world.quiesce();
            assert_eq!(world.facts(1, after).0, "unknown", "another member told the name");
            check_health(world, &[0, 1, 2], after);
            check_health(world, &[0, 1], before);
        },
        &["alice", "bob", "carol"],
    );
}

#[test]
fn a_device_that_makes_a_group_again_takes_the_welcome_to_the_first_one() {
    with_seeds(
        |world| {
            world.disconnect(0);
            let group = world.create_group(0, "plans", &[1, 2]);
            let backup: MemoryStore = world.nodes[0].store.clone();
            world.connect(0);
            world.quiesce();
            let (alice, bob) = (world.nodes[0].identity, world.nodes[1].identity);
            world.change(0, group, WishKind::SetAdmin { who: bob, is_admin: true });
            world.send(1, group, "from bob");
            world.send(2, group, "from carol");
            world.quiesce();
            world.disconnect(0);
            world.change(1, group, WishKind::Remove { who: alice });
            world.quiesce();
            world.change(1, group, WishKind::Add { who: vec![alice] });
            world.quiesce();
            world.restore(0, Some(backup));
            world.send(0, group, "from the backup");
            world.connect(0);
            world.quiesce();
            assert!(world.history(1, group).contains(&"from the backup".to_owned()));
            check_health(world, &[0, 1, 2], group);
        },
        &["alice", "bob", "carol"],
    );
}

#[test]
fn what_a_restored_server_has_forgotten_is_said_and_done_again() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1, 2]);
            world.quiesce();
            world.send(0, group, "kept");
            world.quiesce();
            let kept = world.delivery.groups[&group_id(group)].log.len();
            for node in 0..3 {
                world.send(node, group, &format!("forgotten {node}"));
            }
            world.quiesce();
            let dave = world.nodes[3].identity;
            // Sometimes only messages are lost, sometimes the group has moved on, too.
            let is_fork = world.random(2) == 0;
            if is_fork {
                world.change(1, group, WishKind::Rename { name: "better plans".into() });
                world.change(0, group, WishKind::Add { who: vec![dave] });
                world.quiesce();
                world.send(3, group, "from dave");
                world.quiesce();
            }
            let away = world.random(4) as usize;
            for node in 0..4 {
                world.disconnect(node);
            }
            world.delivery.set_back(group_id(group), Some(kept));
            for node in (0..4).filter(|node| *node != away) {
                world.connect(node);
            }
            world.quiesce();
            world.send((away + 1) % 3, group, "afterwards");
            world.quiesce();
            world.connect(away);
            world.quiesce();
            let members: &[usize] = if is_fork { &[0, 1, 2, 3] } else { &[0, 1, 2] };
            let mut expected = vec!["afterwards".to_owned(), "kept".to_owned()];
            expected.extend((0..3).map(|node| format!("forgotten {node}")));
            expected.extend(is_fork.then(|| "from dave".to_owned()));
            expected.sort();
            for node in 0..3 {
                let mut history = world.history(node, group);
                history.sort();
                let mut expected = expected.clone();
                if is_fork && node == away {
                    // It was in the epoch that the server forgot, not in the one in which this was said.
                    expected.retain(|text| text != "afterwards" || history.contains(text));
                    assert!(expected.len() == history.len() || gaps(world, node) > 0);
                }
                assert_eq!(history, expected, "node {node}");
            }
            if is_fork {
                assert_eq!(world.facts(0, group).0, "better plans");
            }
            check_health(world, members, group);
        },
        &["alice", "bob", "carol", "dave"],
    );
}

#[test]
fn a_group_that_a_restored_server_never_heard_of_is_made_again() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1, 2]);
            let bob = world.nodes[1].identity;
            world.quiesce();
            world.send(1, group, "from bob");
            world.send(0, group, "from alice");
            world.quiesce();
            for node in 0..3 {
                world.disconnect(node);
            }
            world.delivery.set_back(group_id(group), None);
            for node in [1, 0, 2] {
                world.connect(node);
                world.quiesce();
            }
            for node in 0..3 {
                let mut history = world.history(node, group);
                history.sort();
                assert_eq!(history, ["from alice", "from bob"], "node {node}");
            }
            check_health(world, &[0, 1, 2], group);
            world.command(0, Command::Direct(bob));
            world.send(0, ConversationId::Direct(bob), "hi");
            world.quiesce();
            assert!(world.texts(1).contains(&"hi".to_owned()));
        },
        &["alice", "bob", "carol"],
    );
}

#[test]
fn a_user_may_ask_for_a_fresh_start() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1]);
            world.quiesce();
            world.command(1, Command::Mend(group));
            world.quiesce();
            assert!(world.facts(0, group).1 >= 2, "it came back by a commit");
            check_health(world, &[0, 1], group);
        },
        &["alice", "bob"],
    );
}
