use qpq_proto::code::Code;
use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{GroupId, Seq};
use qpq_proto::stream::{EntryKind, LogId, Position};

use super::world::World;
use crate::service::stream::{Delivery, Pump, StreamEnd};

/// The numbers of the entries that come next, all of one log.
async fn seqs(pump: &mut Pump) -> Vec<u64> {
    push(pump).await.0
}

/// Those without what is said about key packages.
async fn entries(pump: &mut Pump) -> Vec<u64> {
    loop {
        match pump.next().await.unwrap() {
            Delivery::Entries { entries, .. } => return entries.iter().map(|entry| entry.seq.0).collect(),
            Delivery::KeyPackagesLow(_) | Delivery::CaughtUp(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The same, and whether they are the last ones of how many subscriptions.
async fn push(pump: &mut Pump) -> (Vec<u64>, Option<u32>) {
    match pump.next().await.unwrap() {
        Delivery::Entries { entries, caught_up } => (entries.iter().map(|entry| entry.seq.0).collect(), caught_up),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_delivers_what_is_there_and_what_comes() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[&bob]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    group.merge();
    group.post(&world.service, "one").await.unwrap();

    let (stream, mut pump) = world.service.open_stream(&bob.caller);
    assert_eq!(stream.subscribe(LogId::Inbox, Seq(0), vec![]).await.unwrap().head, Seq(1));
    assert_eq!(pump.next().await, Ok(Delivery::KeyPackagesLow(2)));
    let Delivery::Entries { entries: inbox, caught_up } = pump.next().await.unwrap() else { panic!("no Welcome") };
    assert_eq!((inbox.len(), inbox[0].kind, inbox[0].log), (1, EntryKind::Welcome, LogId::Inbox));
    assert_eq!(caught_up, Some(1));

    let log = LogId::Group(group.id);
    assert_eq!(stream.subscribe(log, Seq(1), vec![]).await.unwrap().head, Seq(2));
    assert_eq!(push(&mut pump).await, (vec![2], Some(2)));
    let unknown = stream.subscribe(LogId::Group(GroupId([9; 16])), Seq(0), vec![]).await;
    assert_eq!(unknown.unwrap_err().code, Code::NotFound);
    assert_eq!(pump.next().await, Ok(Delivery::CaughtUp(3)), "refused ones count, too");

    group.post(&world.service, "two").await.unwrap();
    let commit = group.remove(&bob);
    group.submit(&world.service, commit).await.unwrap();
    group.post(&world.service, "not for bob").await.unwrap();
    assert_eq!(push(&mut pump).await, (vec![3, 4], Some(3)));
    assert_eq!(pump.heads().positions(), [Position { log: LogId::Inbox, seq: Seq(1) }]);
    assert_eq!(
        stream.subscribe(log, Seq(0), vec![]).await.unwrap().head,
        Seq(4),
        "what was meant for bob stays readable"
    );
    assert_eq!(seqs(&mut pump).await, [2, 3, 4]);
}

#[tokio::test]
async fn another_stay_is_another_subscription() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[&bob]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    group.merge();
    let log = LogId::Group(group.id);
    let (stream, mut pump) = world.service.open_stream(&bob.caller);
    assert_eq!(stream.subscribe(log, Seq(1), vec![]).await.unwrap().joined, Seq(1));
    // Removed and added again before the pump looks.
    let commit = group.remove(&bob);
    group.submit(&world.service, commit).await.unwrap();
    let commit = group.add(&world.service, &[&bob]).await;
    group.submit(&world.service, commit).await.unwrap();
    group.post(&world.service, "of the second stay").await.unwrap();
    assert_eq!(entries(&mut pump).await, [2], "the end of the first stay");
    assert_eq!(pump.heads().positions(), []);
    assert_eq!(stream.subscribe(log, Seq(2), vec![]).await.unwrap().joined, Seq(3));
    assert_eq!(entries(&mut pump).await, [4]);
    // Followed when it is over.
    let commit = group.remove(&bob);
    group.submit(&world.service, commit).await.unwrap();
    assert_eq!(entries(&mut pump).await, [5]);
    assert_eq!(stream.subscribe(log, Seq(5), vec![]).await.unwrap().head, Seq(5));
    let commit = group.add(&world.service, &[&bob]).await;
    group.submit(&world.service, commit).await.unwrap();
    assert_eq!(pump.heads().positions(), []);
}

#[tokio::test]
async fn acknowledged_by_all_is_forgotten_even_across_a_restart() {
    let world = World::new().await;
    let alice = world.device("alice").await;
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    for text in ["one", "two", "three"] {
        group.post(&world.service, text).await.unwrap();
    }
    let (stream, mut pump) = world.service.open_stream(&alice.caller);
    stream.subscribe(LogId::Group(group.id), Seq(0), vec![]).await.unwrap();
    assert_eq!(seqs(&mut pump).await, [1, 2, 3]);
    stream.acknowledge(&[Position { log: LogId::Group(group.id), seq: Seq(2) }]);
    stream.acknowledge(&[Position { log: LogId::Group(group.id), seq: Seq(1) }]);
    stream.acknowledge(&[Position { log: LogId::Group(group.id), seq: Seq(9) }]);
    world.service.tidy().await.unwrap();
    drop((stream, pump));
    let world = world.restart().await;
    let (stream, mut pump) = world.service.open_stream(&alice.caller);
    stream.subscribe(LogId::Group(group.id), Seq(0), vec![]).await.unwrap();
    assert_eq!(seqs(&mut pump).await, [3]);
}

#[tokio::test]
async fn a_large_backlog_comes_in_batches_and_the_newest_stream_wins() {
    let world = World::new().await;
    let alice = world.device("alice").await;
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    for number in 0..300 {
        group.post(&world.service, &format!("{number}")).await.unwrap();
    }
    alice.publish(&world.service, 20).await;
    let (stream, mut pump) = world.service.open_stream(&alice.caller);
    stream.subscribe(LogId::Group(group.id), Seq(0), vec![]).await.unwrap();
    assert_eq!(push(&mut pump).await, ((1..=256).collect(), None));
    assert_eq!(push(&mut pump).await, ((257..=300).collect(), Some(1)));

    let (newer, mut newer_pump) = world.service.open_stream(&alice.caller);
    assert_eq!(pump.next().await, Ok(Delivery::End(StreamEnd::Replaced)));
    drop((stream, pump));
    newer.subscribe(LogId::Group(group.id), Seq(300), vec![]).await.unwrap();
    assert_eq!(newer_pump.next().await, Ok(Delivery::CaughtUp(1)));
    group.post(&world.service, "for the newer one").await.unwrap();
    assert_eq!(seqs(&mut newer_pump).await, [301]);
}
