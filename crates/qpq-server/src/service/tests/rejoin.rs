use openmls::prelude::{MlsMessageIn, ProcessedMessageContent};
use qpq_proto::code::Code;
use qpq_proto::groups::{CommitOutcome, GroupKind, PostOutcome, Stay};
use qpq_proto::ids::{ContentHash, Epoch, Seq};
use qpq_proto::stream::{LogId, Mark, digest};
use tls_codec::{DeserializeBytes as _, Serialize as _};

use super::device::{Device, Group};
use super::groups::join;
use super::world::World;

/// A group of alice and bob; bob has lost it before he ever joined.
async fn group<'d>(world: &World, alice: &'d Device, bob: &Device) -> Group<'d> {
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[bob]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    group.merge();
    group
}

#[tokio::test]
async fn a_device_that_lost_the_group_comes_back() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut alices = group(&world, &alice, &bob).await;
    assert_eq!(
        world.service.memberships(&bob.caller).await,
        Ok(vec![Stay { group: alices.id, acknowledged: Seq(0), inside: true }])
    );

    let (mut bobs, commit) = Group::outside(&world.service, &bob, alices.id).await;
    let accepted = world.service.commit(&bob.caller, bobs.id, commit.clone()).await;
    assert_eq!(accepted, Ok(CommitOutcome::Accepted(Seq(2))));
    assert_eq!(world.service.commit(&bob.caller, bobs.id, commit.clone()).await, accepted, "repeating it is harmless");

    let message = MlsMessageIn::tls_deserialize_exact_bytes(&commit.commit).unwrap();
    let message = message.try_into_protocol_message().unwrap();
    let processed = alices.mls.process_message(&alice.provider, message).unwrap();
    let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else { panic!("no commit") };
    alices.mls.merge_staged_commit(&alice.provider, *staged).unwrap();
    assert_eq!(alices.mls.members().count(), 2, "the old leaf is gone");
    assert_eq!(alices.mls.epoch_authenticator().as_slice(), bobs.mls.epoch_authenticator().as_slice());
    assert_eq!(bobs.post(&world.service, "back").await, Ok(PostOutcome::Accepted(Seq(3))));

    let late = Group::outside(&world.service, &bob, alices.id).await.1;
    let update = alices.update();
    alices.submit(&world.service, update).await.unwrap();
    let outcome = world.service.commit(&bob.caller, alices.id, late).await;
    assert!(matches!(outcome, Ok(CommitOutcome::Superseded(_))), "{outcome:?}");
}

#[tokio::test]
async fn whoever_comes_back_knows_who_is_leaving() {
    let world = World::new().await;
    let (alice, bob, carol) = (world.device("alice").await, world.device("bob").await, world.device("carol").await);
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[&bob, &carol]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    let mut carols = join(&world, &carol, group.id, 1).await;

    let early = Group::outside(&world.service, &bob, group.id).await.1;
    let proposal = carols.mls.leave_group(&carol.provider, &carol.signer).unwrap().tls_serialize_detached().unwrap();
    let left = world.service.leave(&carol.caller, group.id, Epoch(1), proposal).await;
    assert_eq!(left, Ok(PostOutcome::Accepted(Seq(2))));
    let outcome = world.service.commit(&bob.caller, group.id, early).await;
    assert!(matches!(outcome, Ok(CommitOutcome::Superseded(_))), "{outcome:?}");

    let aware = Group::outside(&world.service, &bob, group.id).await.1;
    assert_eq!(aware.leaving, [carol.caller.device]);
    assert_eq!(world.service.commit(&bob.caller, group.id, aware).await, Ok(CommitOutcome::Accepted(Seq(3))));
}

#[tokio::test]
async fn only_devices_of_members_come_in() {
    let world = World::new().await;
    let (alice, bob, eve) = (world.device("alice").await, world.device("bob").await, world.device("eve").await);
    let mut alices = group(&world, &alice, &bob).await;
    let code = |outcome: Result<_, qpq_proto::code::Refusal>| outcome.map(|_: ()| ()).unwrap_err().code;
    assert_eq!(code(world.service.rejoin_info(&eve.caller, alices.id).await.map(|_| ())), Code::NotFound);
    assert_eq!(world.service.memberships(&eve.caller).await, Ok(vec![]));

    let (_, commit) = Group::outside(&world.service, &bob, alices.id).await;
    let stolen = world.service.commit(&eve.caller, alices.id, commit.clone()).await;
    assert_eq!(code(stolen.map(|_| ())), Code::NotFound);
    let stolen = world.service.commit(&alice.caller, alices.id, commit).await;
    assert_eq!(code(stolen.map(|_| ())), Code::Forbidden, "a device submits its own commits only");

    let removal = alices.remove(&bob);
    let (_, late) = Group::outside(&world.service, &bob, alices.id).await;
    alices.submit(&world.service, removal).await.unwrap();
    assert_eq!(code(world.service.commit(&bob.caller, alices.id, late).await.map(|_| ())), Code::NotFound);
}

#[tokio::test]
async fn garbage_in_a_group_info_is_refused() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut alices = group(&world, &alice, &bob).await;
    let before = world.service.rejoin_info(&bob.caller, alices.id).await.unwrap().group_info;
    let good = alices.update();
    let length = good.group_info.len();
    let mut bad = vec![vec![1], before, [&good.group_info[..], &[0]].concat()];
    for position in [4, length / 2, length - 100, length - 68, length - 1] {
        let mut flipped = good.group_info.clone();
        flipped[position] ^= 1;
        bad.push(flipped);
    }
    for group_info in bad {
        let commit = qpq_proto::groups::Commit { group_info, ..good.clone() };
        let refused = world.service.commit(&alice.caller, alices.id, commit).await;
        assert_eq!(refused.unwrap_err().code, Code::Invalid);
    }
    assert!(matches!(alices.submit(&world.service, good).await, Ok(CommitOutcome::Accepted(_))));
}

#[tokio::test]
async fn a_device_and_a_server_that_disagree_go_back_to_where_they_agreed() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut alices = group(&world, &alice, &bob).await;
    for text in ["one", "two", "three"] {
        alices.post(&world.service, text).await.unwrap();
    }
    let log = LogId::Group(alices.id);
    let limit = crate::store::log::ReadLimit { entries: 10, bytes: usize::MAX };
    let entries = world.service.store.read_group(alices.id, Seq(0), Seq(4), limit).await.unwrap().entries;
    let mark = |seq: usize| Mark { seq: Seq(seq as u64), digest: digest(ContentHash::of(&entries[seq - 1].payload)) };
    let other = |seq: u64| Mark { seq: Seq(seq), digest: 7 };
    let (stream, _pump) = world.service.open_stream(&alice.caller);
    for (after, known, from) in [
        (4, vec![mark(4), mark(3)], 4),
        (4, vec![other(4), mark(2), mark(1)], 2),
        (9, vec![other(9), other(4), mark(3)], 3),
        (9, vec![other(9), other(4), other(1)], 0),
    ] {
        assert_eq!(stream.subscribe(log, Seq(after), known).await.unwrap().from, Seq(from));
    }
    assert_eq!(stream.subscribe(LogId::Inbox, Seq(5), vec![]).await.unwrap().from, Seq(0), "an inbox that is shorter");

    stream.subscribe(log, Seq(4), vec![mark(4)]).await.unwrap();
    stream.acknowledge(&[qpq_proto::stream::Position { log, seq: Seq(3) }]);
    assert_eq!(stream.subscribe(log, Seq(1), vec![mark(1)]).await.unwrap().acknowledged, Seq(3));
    world.service.flush_acknowledgements().await.unwrap();
    assert_eq!(stream.subscribe(log, Seq(1), vec![mark(1)]).await.unwrap().acknowledged, Seq(3));
}
