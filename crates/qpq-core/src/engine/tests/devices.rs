//! Several devices of one identity: they come in by themselves, say the same, and go together.

use super::simulation::with_seeds;
use super::world::World;
use qpq_proto::ids::BlobId;
use qpq_proto::link::LinkedHistory;

use crate::engine::{Command, Query};
use crate::store::archive::{HistoryStep, Record};
use crate::store::rows::{DeviceChange, WishKind};
use crate::view::{ConversationId, ConversationState, EventKind, OwnDevice};

fn devices(world: &mut World, node: usize) -> Vec<OwnDevice> {
    Query::new(&mut world.nodes[node].store).devices().unwrap()
}

fn state(world: &mut World, node: usize, conversation: ConversationId) -> ConversationState {
    Query::new(&mut world.nodes[node].store).conversation(conversation).unwrap().unwrap().state
}

fn device_events(world: &mut World, node: usize) -> Vec<(bool, String)> {
    let news = |event: crate::view::Event| match event.kind {
        EventKind::DeviceAdded { name, .. } => Some((true, name)),
        EventKind::DeviceRemoved { name, .. } => Some((false, name)),
        _ => None,
    };
    world.events(node).into_iter().filter_map(news).collect()
}

#[test]
fn a_new_device_comes_into_everything_and_both_say_the_same() {
    let mut world = World::new(11, &["alice", "bob"]);
    let (alice, bob) = (world.nodes[0].identity, world.nodes[1].identity);
    let groups: Vec<_> = ["one", "two", "three"].map(|title| world.create_group(0, title, &[1])).into();
    world.command(1, Command::Direct(alice));
    let direct = ConversationId::Direct(bob);
    world.quiesce();
    world.send(1, ConversationId::Direct(alice), "before");
    world.quiesce();

    let phone = world.link(0, "phone");
    for group in &groups {
        assert_eq!(state(&mut world, phone, *group), ConversationState::Active);
        assert_eq!(world.facts(phone, *group), world.facts(0, *group));
        assert_eq!(world.facts(phone, *group), world.facts(1, *group));
    }
    assert_eq!(state(&mut world, phone, direct), ConversationState::Active);
    assert_eq!(device_events(&mut world, 1), vec![(true, "phone".to_owned()); 4]);
    assert_eq!(device_events(&mut world, 0), [(true, "phone".to_owned())], "of one's own it is said once");
    assert_eq!(devices(&mut world, 0).len(), 2);
    assert!(devices(&mut world, phone).iter().any(|device| device.is_this && device.name == "phone"));

    // From now on everything reaches both, from either of them.
    world.send(1, groups[0], "from bob");
    world.send(0, groups[0], "from the laptop");
    world.send(phone, groups[0], "from the phone");
    world.send(phone, direct, "privately");
    world.quiesce();
    for node in [0, 1, phone] {
        let mut history = world.history(node, groups[0]);
        history.sort();
        assert_eq!(history, ["from bob", "from the laptop", "from the phone"], "node {node}");
    }
    assert_eq!(world.history(1, ConversationId::Direct(alice)), ["before", "privately"]);
    assert_eq!(world.history(0, direct), ["before", "privately"]);
    assert_eq!(world.history(phone, direct), ["privately"]);

    // New groups of either, and of others, have both from the beginning.
    let of_phone = world.create_group(phone, "phone's", &[1]);
    let of_bob = world.create_group(1, "bob's", &[0]);
    world.quiesce();
    for group in [of_phone, of_bob] {
        assert_eq!(world.facts(0, group), world.facts(phone, group));
        assert_eq!(state(&mut world, 0, group), ConversationState::Active);
    }
}

#[test]
fn an_unlinked_device_is_taken_out_of_every_group() {
    let mut world = World::new(12, &["alice", "bob"]);
    let group = world.create_group(0, "team", &[1]);
    world.quiesce();
    let phone = world.link(0, "phone");
    world.send(phone, group, "last words");
    world.quiesce();
    let id = world.device(phone);
    world.disconnect(phone);
    world.command(0, Command::Devices(DeviceChange::Remove(id)));
    world.quiesce();
    assert_eq!(devices(&mut world, 0).len(), 1);
    let info = Query::new(&mut world.nodes[1].store).group_info(group).unwrap().unwrap();
    let alice = info.members.iter().find(|member| member.devices == 1 && !member.unchecked).is_some();
    assert!(alice && info.members.len() == 2, "{info:?}");
    assert_eq!(device_events(&mut world, 1), [(true, "phone".to_owned()), (false, "phone".to_owned())]);
    assert!(world.texts(1).contains(&"last words".to_owned()));
    world.send(0, group, "without the phone");
    world.quiesce();
    assert!(world.texts(1).contains(&"without the phone".to_owned()));
    assert!(!world.texts(phone).contains(&"without the phone".to_owned()));
}

#[test]
fn two_devices_that_change_the_list_at_once_both_get_their_way() {
    let mut world = World::new(13, &["alice"]);
    let phone = world.link(0, "phone");
    let (laptop_id, phone_id) = (world.device(0), world.device(phone));
    world.command(0, Command::Devices(DeviceChange::Rename(laptop_id, "old laptop".into())));
    world.command(phone, Command::Devices(DeviceChange::Rename(phone_id, "new phone".into())));
    world.quiesce();
    world.command(0, Command::Devices(DeviceChange::Look));
    world.command(phone, Command::Devices(DeviceChange::Look));
    world.quiesce();
    for node in [0, phone] {
        let mut names: Vec<_> = devices(&mut world, node).into_iter().map(|device| device.name).collect();
        names.sort();
        assert_eq!(names, ["new phone", "old laptop"]);
    }
    let settled = world.nodes[0].settled.values().chain(world.nodes[phone].settled.values());
    assert!(settled.clone().count() >= 4 && settled.into_iter().all(Result::is_ok));
}

#[test]
fn the_last_device_cannot_be_unlinked() {
    let mut world = World::new(14, &["alice"]);
    let id = world.device(0);
    world.command(0, Command::Devices(DeviceChange::Remove(id)));
    world.quiesce();
    assert!(world.nodes[0].settled.values().any(|outcome| outcome.as_ref().is_err_and(|why| why.contains("only"))));
    assert_eq!(devices(&mut world, 0).len(), 1);
}

#[test]
fn whoever_leaves_leaves_with_all_devices() {
    let mut world = World::new(15, &["alice", "bob"]);
    let group = world.create_group(1, "team", &[0]);
    world.quiesce();
    let phone = world.link(0, "phone");
    world.change(phone, group, WishKind::Leave);
    world.quiesce();
    for node in [0, phone] {
        assert_eq!(state(&mut world, node, group), ConversationState::Left, "node {node}");
    }
    assert_eq!(world.facts(1, group).2, [world.nodes[1].identity]);
    // And comes back with all of them.
    let alice = world.nodes[0].identity;
    world.change(1, group, WishKind::Add { who: vec![alice] });
    world.quiesce();
    for node in [0, phone] {
        assert_eq!(state(&mut world, node, group), ConversationState::Active, "node {node}");
    }
}

#[test]
fn faults_do_no_harm() {
    for seed in 0..6 {
        let mut world = World::new(100 + seed, &["alice", "bob"]);
        let group = world.create_group(0, "team", &[1]);
        world.quiesce();
        world.faults = 5;
        let phone = world.link(0, "phone");
        for round in 0..3 {
            for node in [0, 1, phone] {
                world.send(node, group, &format!("{node} says {round}"));
            }
        }
        world.quiesce();
        world.faults = 0;
        world.quiesce();
        for node in [0, 1, phone] {
            assert_eq!(world.history(node, group).len(), 9, "seed {seed}, node {node}");
        }
        assert_eq!(world.facts(0, group), world.facts(phone, group), "seed {seed}");
    }
}

#[test]
fn a_server_that_rolls_the_own_devices_back_is_caught() {
    let mut world = World::new(16, &["alice", "bob"]);
    let before: Vec<_> = world.delivery.accounts.iter().map(|(account, _, _)| account.clone()).collect();
    world.link(0, "phone");
    for (account, _, _) in &mut world.delivery.accounts {
        if account.name == before[0].name {
            account.manifest = before[0].manifest.clone();
        }
    }
    let id = world.device(0);
    let known = world.nodes[0].settled.len();
    world.command(0, Command::Devices(DeviceChange::Rename(id, "desk".into())));
    world.quiesce();
    assert_eq!(world.nodes[0].settled.len(), known + 1);
    let (_, outcome) = world.nodes[0].settled.last_key_value().unwrap();
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(devices(&mut world, 0).len(), 2, "what is known stays known");
}

#[test]
fn a_server_that_never_takes_a_manifest_is_given_up() {
    let mut world = World::new(17, &["alice"]);
    world.delivery.is_mocking = true;
    let id = world.device(0);
    world.command(0, Command::Devices(DeviceChange::Rename(id, "desk".into())));
    world.quiesce();
    let (_, outcome) = world.nodes[0].settled.last_key_value().unwrap();
    assert!(outcome.as_ref().is_err_and(|why| why.contains("again and again")), "{outcome:?}");
}

/// Everything that a device would write about a conversation, a page at a time.
fn archived(world: &mut World, node: usize, conversation: ConversationId) -> Vec<Record> {
    let now = world.now();
    let query = Query::new(&mut world.nodes[node].store);
    let conversations = query.archived_conversations().unwrap();
    let mut records: Vec<_> =
        conversations.into_iter().filter(|(id, _)| *id == conversation).map(|(_, record)| record).collect();
    let mut before = None;
    loop {
        let (page, next) = query.archive_page(conversation, before, 2, now).unwrap();
        records.extend(page);
        if next.is_none() {
            return records;
        }
        before = next;
    }
}

#[test]
fn a_history_that_comes_late_and_twice_stands_before_what_is_new() {
    for is_told in [true, false] {
        let mut world = World::new(12, &["alice", "bob"]);
        let group = world.create_group(0, "one", &[1]);
        world.quiesce();
        for text in ["a", "b", "c"] {
            world.send(1, group, text);
            world.send(0, group, &text.to_uppercase());
            world.quiesce();
        }
        world.command(0, Command::React { conversation: group, number: 1, emoji: "👍".into(), removed: false });
        world.quiesce();
        let mut expected = world.history(0, group);
        expected.push("new".to_owned());
        let records = archived(&mut world, 0, group);
        let history = LinkedHistory { blob: BlobId([1; 32]), key: [2; 32], sha256: [3; 32], size: 4 };
        let phone = world.link_with(0, "phone", |bundle| bundle.history = Some(history).filter(|_| is_told));
        world.send(1, group, "new");
        world.quiesce();
        let unread =
            |world: &mut World| Query::new(&mut world.nodes[phone].store).conversation(group).unwrap().unwrap().unread;
        assert_eq!(unread(&mut world), 1);
        let events = world.events(phone).len();
        for _ in 0..2 {
            for record in &records {
                world.command(phone, Command::History(HistoryStep::Import(vec![record.clone()])));
            }
            world.quiesce();
            assert_eq!(world.history(phone, group), expected);
            let shown = Query::new(&mut world.nodes[phone].store).history(group, None, 100, None).unwrap();
            let mut numbers: Vec<_> = shown.iter().map(|message| message.number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), 7, "each has a number of its own");
            assert_eq!(shown.iter().filter(|message| message.notes.reactions.is_empty()).count(), 6);
            if is_told {
                assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7], "those that they had");
                assert_eq!(unread(&mut world), 1, "only what is new");
            }
        }
        assert_eq!(world.events(phone).len(), events, "nothing has happened");
    }
}

#[test]
fn what_two_devices_of_one_person_say_about_a_message_ends_the_same_everywhere() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1]);
            world.quiesce();
            let phone = world.link(0, "phone");
            world.send(0, group, "as written");
            world.quiesce();
            let edit = |text: &str| Command::Edit { conversation: group, number: 1, text: text.into() };
            let react = |removed| Command::React { conversation: group, number: 1, emoji: "👍".into(), removed };
            for round in 0..4 {
                for node in [0, phone] {
                    if world.random(3) == 0 {
                        world.disconnect(node);
                    }
                }
                for node in [phone, 0, phone] {
                    if world.random(3) > 0 {
                        world.command(node, edit(&format!("{round} by {node}")));
                    }
                    let removed = world.random(2) == 0;
                    world.command(node, react(removed));
                    for _ in 0..world.random(8) {
                        world.step();
                    }
                }
                for node in [phone, 0] {
                    world.connect(node);
                    world.run(2);
                }
                world.quiesce();
                let seen = |world: &mut World, node: usize| {
                    let mut store = world.nodes[node].store.clone();
                    let message = Query::new(&mut store).history(group, None, 1, None).unwrap().remove(0);
                    let reactions: Vec<_> =
                        message.notes.reactions.iter().map(|(emoji, who)| (emoji.clone(), who.len())).collect();
                    (message.content.text().to_owned(), reactions)
                };
                let by_bob = seen(world, 1);
                for node in [0, phone] {
                    assert_eq!(seen(world, node), by_bob, "round {round}, node {node}");
                }
            }
        },
        &["alice", "bob"],
    );
}
