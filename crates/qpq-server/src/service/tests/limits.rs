//! Each limit on both sides: what just fits is done, and one more is refused by the limit's name, with the time to wait
//! where waiting helps.

use std::time::Duration;

use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::{Commit, GroupKind, NewGroup, Post, PostOutcome};
use qpq_proto::ids::{Epoch, GroupId, Seq};
use qpq_proto::limits;
use qpq_proto::stream::LogId;
use qpq_trust::suite::Suite;
use tls_codec::Serialize as _;

use super::device::{Device, Group, HERE};
use super::world::World;
use crate::config::ByteSize;
use crate::service::stream::mailbox::Mailbox;
use crate::service::stream::{Delivery, DeviceStream, Pump};

/// The refusal names the limit, and says when to come back.
fn check_later<T>(outcome: Result<T, Refusal>, limit: &str) {
    let refusal = outcome.err().unwrap_or_else(|| panic!("{limit} does not hold"));
    assert_eq!(refusal.code, Code::RateLimited, "{limit}");
    assert!(refusal.detail.contains(limit), "{limit}: {}", refusal.detail);
    let wait = refusal.retry_after.unwrap_or_else(|| panic!("{limit}: no time to wait"));
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(3600), "{limit}: {wait:?}");
}

/// The refusal names the limit; time does not change it.
fn check_never<T>(outcome: Result<T, Refusal>, code: Code, limit: &str) {
    let refusal = outcome.err().unwrap_or_else(|| panic!("{limit} does not hold"));
    assert_eq!(refusal.code, code, "{limit}: {}", refusal.detail);
    assert!(refusal.detail.contains(limit) && refusal.retry_after.is_none(), "{limit}: {refusal:?}");
}

fn message(group: &mut Group<'_>, bytes: usize) -> Post {
    let message = group.mls.create_message(&group.device.provider, &group.device.signer, &vec![7; bytes]).unwrap();
    Post { epoch: group.epoch(), payload: message.tls_serialize_detached().unwrap(), expires_at: None, blobs: vec![] }
}

async fn create(world: &World, group: &mut Group<'_>) -> NewGroup {
    let new = group.creation(&world.service, &[]).await;
    world.service.create_group(&group.device.caller, new.clone()).await.unwrap();
    new
}

#[tokio::test]
async fn messages_and_commits_have_a_size() {
    let draft = Device::new("draft");
    let mut group = draft.group(1, GroupKind::Group);
    let fits = message(&mut group, 10).payload.len();
    let (info, tree) = {
        let new = group.creation(&World::new().await.service, &[]).await;
        (new.group_info.len(), new.ratchet_tree.len())
    };
    let most = info.max(tree);
    let world = World::with(|options| {
        options.limits.max_message = ByteSize(fits);
        options.limits.max_commit = ByteSize(most);
    })
    .await;
    let alice = world.device("alice").await;
    let mut group = alice.group(1, GroupKind::Group);
    let new = create(&world, &mut group).await;
    assert_eq!(new.group_info.len().max(new.ratchet_tree.len()), most);
    for (info, tree) in [(1, 0), (0, 1)] {
        let larger = NewGroup {
            group_info: [&new.group_info[..], &vec![0; info * most]].concat(),
            ratchet_tree: [&new.ratchet_tree[..], &vec![0; tree * most]].concat(),
            first: None,
        };
        check_never(world.service.create_group(&alice.caller, larger).await, Code::TooLarge, "limits.max_commit");
    }

    let post = message(&mut group, 10);
    assert_eq!(post.payload.len(), fits);
    assert!(matches!(world.service.post(&alice.caller, group.id, post).await, Ok(PostOutcome::Accepted(_))));
    let larger = message(&mut group, 200);
    check_never(world.service.post(&alice.caller, group.id, larger).await, Code::TooLarge, "limits.max_message");

    let commit = |commit, group_info| Commit {
        expected_epoch: Epoch(0),
        commit: vec![0; commit],
        group_info: vec![0; group_info],
        welcomes: vec![],
        leaving: vec![],
    };
    // What has the size is looked at; what is larger is not.
    let looked_at = world.service.commit(&alice.caller, group.id, commit(most, most)).await;
    assert_eq!(looked_at.unwrap_err().code, Code::Invalid);
    for larger in [commit(most + 1, 1), commit(1, most + 1)] {
        check_never(world.service.commit(&alice.caller, group.id, larger).await, Code::TooLarge, "limits.max_commit");
    }
    let leave = world.service.leave(&alice.caller, group.id, Epoch(0), vec![0; limits::POST + 1]).await;
    check_never(leave, Code::TooLarge, "a proposal");
}

#[tokio::test]
async fn everything_that_is_written_counts_as_a_post() {
    let world = World::with(|options| options.limits.posts_per_minute = 6).await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut group = alice.group(1, GroupKind::Group);
    create(&world, &mut group).await;
    group.post(&world.service, "two").await.unwrap();
    let commit = group.update();
    group.submit(&world.service, commit).await.unwrap();
    world.service.tree(&alice.caller, group.id, Epoch(1)).await.unwrap();
    // With the key packages at the beginning these were five.
    group.post(&world.service, "six").await.unwrap();
    check_later(group.post(&world.service, "seven").await, "posts_per_minute");
    let commit = group.update();
    check_later(world.service.commit(&alice.caller, group.id, commit).await, "posts_per_minute");
    check_later(world.service.leave(&alice.caller, group.id, Epoch(1), vec![1]).await, "posts_per_minute");
    check_later(world.service.tree(&alice.caller, group.id, Epoch(1)).await, "posts_per_minute");
    check_later(world.service.publish(&alice.caller, vec![], vec![]).await, "posts_per_minute");
    let mut other = bob.group(2, GroupKind::Group);
    create(&world, &mut other).await;
    assert!(other.post(&world.service, "not my fault").await.is_ok(), "one account's rate is its own");
}

#[tokio::test]
async fn look_ups_count_as_claims() {
    let world = World::with(|options| options.limits.claims_per_minute = 2).await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let (name, identity) = (bob.caller.name.clone(), bob.caller.identity);
    world.service.by_name(&alice.caller, name.clone()).await.unwrap();
    world.service.by_identity(&alice.caller, identity).await.unwrap();
    check_later(world.service.by_name(&alice.caller, name).await, "claims_per_minute");
    check_later(world.service.by_identity(&alice.caller, identity).await, "claims_per_minute");
    check_later(world.service.claim(&alice.caller, identity, Suite::Hybrid.number()).await, "claims_per_minute");
    assert!(world.service.by_identity(&bob.caller, identity).await.is_ok());
}

#[tokio::test]
async fn an_address_registers_and_logs_in_at_a_limited_rate() {
    let world = World::with(|options| {
        options.registrations_per_hour = 2;
        options.limits.logins_per_minute_per_address = 2;
    })
    .await;
    Device::new("one").register(&world.service).await.unwrap();
    Device::new("two").register(&world.service).await.unwrap();
    check_later(Device::new("three").register(&world.service).await, "registrations_per_hour_per_address");
    let element = [
        0xe2, 0xf2, 0xae, 0x0a, 0x6a, 0xbc, 0x4e, 0x71, 0xa8, 0x84, 0xa9, 0x61, 0xc5, 0x00, 0x51, 0x5f, 0x58, 0xe3,
        0x0b, 0x6a, 0xa5, 0x82, 0xdd, 0x8d, 0xb6, 0xa6, 0x59, 0x45, 0xe0, 0x8d, 0x2d, 0x76,
    ];
    let request = [element, [7; 32], element].concat();
    let log_in = |from, name: &str| {
        let (service, name, request) = (world.service.clone(), name.parse().unwrap(), request.clone());
        async move { service.login(from, name, &request).await.map(|_| ()) }
    };
    assert_eq!(log_in(HERE, "one").await, Ok(()));
    assert_eq!(log_in(HERE, "nobody").await, Ok(()));
    check_later(log_in(HERE, "two").await, "logins_per_minute_per_address");
    assert_eq!(log_in([192, 0, 2, 1].into(), "two").await, Ok(()), "another address");
}

#[tokio::test]
async fn an_account_lists_so_many_devices() {
    let world = World::with(|options| options.limits.devices_per_account = 2).await;
    assert!(Device::with_siblings("two", 1).register(&world.service).await.is_ok());
    let three = Device::with_siblings("three", 2).register(&world.service).await;
    check_never(three, Code::QuotaExceeded, "devices_per_account");
    // More than the protocol knows are refused wherever they come from.
    assert!(Device::with_siblings("most", 15).register(&world.service).await.is_err());
    let world = World::new().await;
    assert!(Device::with_siblings("most", 15).register(&world.service).await.is_ok());
    let beyond = Device::with_siblings("beyond", 16).register(&world.service).await;
    check_never(beyond, Code::Invalid, "manifest.devices");
}

#[tokio::test]
async fn a_stock_of_key_packages_is_limited_and_room_comes_back() {
    let world = World::with(|options| options.limits.key_packages_per_device = 5).await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let one_time = |count| (0..count).map(|_| alice.key_package(false)).collect::<Vec<_>>();
    assert_eq!(world.service.publish(&alice.caller, one_time(2), vec![]).await, Ok(5));
    check_never(
        world.service.publish(&alice.caller, one_time(1), vec![]).await,
        Code::QuotaExceeded,
        "key_packages_per_device",
    );
    world.service.claim(&bob.caller, alice.caller.identity, Suite::Hybrid.number()).await.unwrap();
    assert_eq!(world.service.publish(&alice.caller, one_time(1), vec![]).await, Ok(5));

    let spares = |count| (0..count).map(|_| alice.key_package(true)).collect::<Vec<_>>();
    assert_eq!(world.service.publish(&alice.caller, vec![], spares(2)).await, Ok(5));
    let more = world.service.publish(&alice.caller, vec![], spares(3)).await;
    check_never(more, Code::QuotaExceeded, "last-resort key packages");
}

#[tokio::test]
async fn logs_and_inboxes_are_limited() {
    let world = World::with(|options| {
        options.limits.log_entries_per_group = 2;
        options.limits.inbox_entries_per_device = 1;
    })
    .await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut group = alice.group(1, GroupKind::Group);
    create(&world, &mut group).await;
    for text in ["one", "two"] {
        assert!(group.post(&world.service, text).await.is_ok());
    }
    check_never(group.post(&world.service, "three").await, Code::QuotaExceeded, "log_entries_per_group");
    let commit = group.update();
    assert!(group.submit(&world.service, commit).await.is_ok(), "a full group can still be healed");

    let mut first = alice.group(2, GroupKind::Group);
    let new = first.creation(&world.service, &[&bob]).await;
    assert!(world.service.create_group(&alice.caller, new).await.is_ok());
    let mut second = alice.group(3, GroupKind::Group);
    let new = second.creation(&world.service, &[&bob]).await;
    check_never(
        world.service.create_group(&alice.caller, new.clone()).await,
        Code::QuotaExceeded,
        "inbox_entries_per_device",
    );
    // Bob comes online and takes his Welcome; then the same request succeeds.
    let (stream, mut pump) = world.service.open_stream(&bob.caller);
    stream.subscribe(LogId::Inbox, Seq(0), vec![]).await.unwrap();
    assert_eq!(next_seqs(&mut pump).await, [1]);
    stream.acknowledge(&[qpq_proto::stream::Position { log: LogId::Inbox, seq: Seq(1) }]);
    world.service.flush_acknowledgements().await.unwrap();
    assert!(world.service.create_group(&alice.caller, new).await.is_ok());
}

async fn next_seqs(pump: &mut Pump) -> Vec<u64> {
    loop {
        if let Delivery::Entries { entries, .. } = pump.next().await.unwrap() {
            return entries.iter().map(|entry| entry.seq.0).collect();
        }
    }
}

#[test]
fn a_device_follows_so_many_logs() {
    let mailbox = Mailbox::default();
    let log = |number: usize| LogId::Group(GroupId((number as u128).to_be_bytes()));
    assert!((0..limits::POSITIONS).all(|number| mailbox.subscribe(log(number), Seq(0))));
    assert!(!mailbox.subscribe(log(limits::POSITIONS), Seq(0)));
    assert!(mailbox.subscribe(log(0), Seq(5)), "one that is followed already is no further one");
    mailbox.unsubscribe(log(1));
    assert!(mailbox.subscribe(log(limits::POSITIONS), Seq(0)));
    assert_eq!(mailbox.heads().len(), limits::POSITIONS);
}

/// An attacker takes all key packages of somebody who is offline; friends can still add them, and when they come online
/// everything is as before.
#[tokio::test]
async fn drained_key_packages_fall_back_to_the_last_resort_and_recover() {
    let world = World::new().await;
    let (bob, mallory, alice) = (world.device("bob").await, world.device("mallory").await, world.device("alice").await);
    let claim = |by: &Device| {
        let (service, by, of) = (world.service.clone(), by.caller.clone(), bob.caller.identity);
        async move { service.claim(&by, of, Suite::Hybrid.number()).await.unwrap().remove(0) }
    };
    let mut drained = Vec::new();
    for _ in 0..3 {
        drained.push(claim(&mallory).await);
    }
    let last_resort = claim(&mallory).await;
    assert_eq!(claim(&mallory).await, last_resort);
    assert!(!drained.contains(&last_resort));

    // Friends are not kept out.
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[&bob]).await;
    assert!(world.service.create_group(&alice.caller, new).await.is_ok());

    let (stream, mut pump): (DeviceStream, Pump) = world.service.open_stream(&bob.caller);
    stream.subscribe(LogId::Inbox, Seq(0), vec![]).await.unwrap();
    assert_eq!(pump.next().await, Ok(Delivery::KeyPackagesLow(0)));
    bob.publish(&world.service, 25).await;
    let fresh = claim(&alice).await;
    assert!(fresh != last_resort && !drained.contains(&fresh));
    // And the owner hears of it while online, as soon as the stock is low again.
    for _ in 0..5 {
        claim(&mallory).await;
    }
    assert_eq!(pump.next().await, Ok(Delivery::KeyPackagesLow(19)));
}
