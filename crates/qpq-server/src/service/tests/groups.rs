use openmls::group::StagedWelcome;
use openmls::prelude::{MlsMessageBodyIn, MlsMessageIn, RatchetTreeIn};
use qpq_proto::code::Code;
use qpq_proto::groups::{CommitOutcome, CreateOutcome, GroupKind, PostOutcome};
use qpq_proto::ids::{Epoch, Seq};
use qpq_trust::suite::join_config;
use tls_codec::{DeserializeBytes as _, Serialize as _};

use super::device::{Device, Group};
use super::world::World;

/// Joins from the Welcome in the inbox, with the tree from the server.
pub(super) async fn join<'d>(world: &World, device: &'d Device, id: qpq_proto::ids::GroupId, epoch: u64) -> Group<'d> {
    let limit = crate::store::log::ReadLimit { entries: 10, bytes: usize::MAX };
    let inbox = world.service.store.read_inbox(device.caller.device, Seq(0), limit).await.unwrap();
    let message = MlsMessageIn::tls_deserialize_exact_bytes(&inbox.entries[0].payload).unwrap();
    let MlsMessageBodyIn::Welcome(welcome) = message.extract() else { panic!("no Welcome") };
    let tree = world.service.tree(&device.caller, id, Epoch(epoch)).await.unwrap();
    let tree = RatchetTreeIn::tls_deserialize_exact_bytes(&tree).unwrap();
    let staged = StagedWelcome::new_from_welcome(&device.provider, &join_config(), welcome, Some(tree)).unwrap();
    Group { device, id, mls: staged.into_group(&device.provider).unwrap() }
}

#[tokio::test]
async fn a_group_lives_from_creation_to_removal() {
    let world = World::new().await;
    let (alice, bob, carol) = (world.device("alice").await, world.device("bob").await, world.device("carol").await);
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[&bob]).await;
    let created = world.service.create_group(&alice.caller, new.clone()).await;
    assert_eq!(created, Ok(CreateOutcome::Created { first: Seq(1) }));
    assert_eq!(world.service.create_group(&alice.caller, new).await, created, "repeating it is harmless");
    group.merge();

    assert_eq!(group.post(&world.service, "hello").await, Ok(PostOutcome::Accepted(Seq(2))));
    let mut bobs = join(&world, &bob, group.id, 1).await;
    assert_eq!(bobs.post(&world.service, "hi").await, Ok(PostOutcome::Accepted(Seq(3))));

    let commit = group.add(&world.service, &[&carol]).await;
    assert_eq!(group.submit(&world.service, commit.clone()).await, Ok(CommitOutcome::Accepted(Seq(4))));
    let again = world.service.commit(&alice.caller, group.id, commit).await;
    assert_eq!(again, Ok(CommitOutcome::Accepted(Seq(4))));
    let loser = bobs.update();
    let outcome = bobs.submit(&world.service, loser).await;
    assert!(matches!(outcome, Ok(CommitOutcome::Superseded(head)) if head.epoch == Epoch(2)), "{outcome:?}");
    join(&world, &carol, group.id, 2).await;

    let commit = group.remove(&carol);
    assert!(matches!(group.submit(&world.service, commit).await, Ok(CommitOutcome::Accepted(_))));
    let refused = world.service.tree(&Device::new("dave").caller, group.id, Epoch(2)).await;
    assert_eq!(refused.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn what_was_accepted_is_rebuilt_after_a_restart_for_any_epoch() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    let mut trees = vec![group.mls.export_ratchet_tree().tls_serialize_detached().unwrap()];
    let commit = group.add(&world.service, &[&bob]).await;
    group.submit(&world.service, commit).await.unwrap();
    trees.push(group.mls.export_ratchet_tree().tls_serialize_detached().unwrap());
    // Enough bytes for several snapshots.
    for _ in 0..40 {
        let commit = group.update();
        assert!(matches!(group.submit(&world.service, commit).await, Ok(CommitOutcome::Accepted(_))));
        trees.push(group.mls.export_ratchet_tree().tls_serialize_detached().unwrap());
    }
    let written = world.service.store.snapshot(group.id, Epoch(100)).await.unwrap().unwrap().epoch;
    assert!(written > Epoch(1), "{written}");
    let world = world.restart().await;
    for epoch in [41, 1, 0, 30, 41, 7] {
        let tree = world.service.tree(&alice.caller, group.id, Epoch(epoch)).await.unwrap();
        assert_eq!(&tree[..], &trees[epoch as usize][..], "epoch {epoch}");
    }
    let commit = group.update();
    assert!(matches!(group.submit(&world.service, commit).await, Ok(CommitOutcome::Accepted(_))));
    assert_eq!(world.service.tree(&alice.caller, group.id, Epoch(99)).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn a_commit_must_fit_its_sender_its_welcomes_and_the_manifests() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[&bob]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    group.merge();

    let commit = group.update();
    let foreign = world.service.commit(&bob.caller, group.id, commit.clone()).await;
    assert_eq!(foreign.unwrap_err().code, Code::Forbidden);
    let mut broken = commit.clone();
    let last = broken.commit.len() - 1;
    broken.commit[last - 130] ^= 1;
    assert_eq!(world.service.commit(&alice.caller, group.id, broken).await.unwrap_err().code, Code::Invalid);
    assert!(group.submit(&world.service, commit).await.is_ok());

    let carol = world.device("carol").await;
    let mut commit = group.add(&world.service, &[&carol]).await;
    let welcomes = std::mem::take(&mut commit.welcomes);
    assert_eq!(world.service.commit(&alice.caller, group.id, commit.clone()).await.unwrap_err().code, Code::Invalid);
    world.service.store.delete_account(carol.caller.name.clone()).await.unwrap();
    commit.welcomes = welcomes;
    assert_eq!(world.service.commit(&alice.caller, group.id, commit).await.unwrap_err().code, Code::Invalid);
}

#[tokio::test]
async fn two_people_have_one_direct_conversation() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut first = alice.group(1, GroupKind::Direct);
    let new = first.creation(&world.service, &[&bob]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    first.merge();
    let mut second = bob.group(2, GroupKind::Direct);
    let new = second.creation(&world.service, &[&alice]).await;
    assert_eq!(world.service.create_group(&bob.caller, new).await, Ok(CreateOutcome::Exists(first.id)));

    let mut notepad = alice.group(3, GroupKind::Direct);
    let new = notepad.creation(&world.service, &[]).await;
    let created = world.service.create_group(&alice.caller, new).await;
    assert_eq!(created, Ok(CreateOutcome::Created { first: Seq(0) }));
    let commit = notepad.add(&world.service, &[&bob]).await;
    let refused = world.service.commit(&alice.caller, notepad.id, commit).await;
    assert_eq!(refused.unwrap_err().code, Code::Forbidden);

    let mut bobs = join(&world, &bob, first.id, 1).await;
    let proposal = bobs.mls.leave_group(&bob.provider, &bob.signer).unwrap().tls_serialize_detached().unwrap();
    let refused = world.service.leave(&bob.caller, first.id, Epoch(1), proposal).await;
    assert_eq!(refused.unwrap_err().code, Code::Forbidden);
}

#[tokio::test]
async fn who_leaves_may_be_removed_by_anybody() {
    let world = World::new().await;
    let (alice, bob, carol) = (world.device("alice").await, world.device("bob").await, world.device("carol").await);
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[&bob, &carol]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    group.merge();
    let (mut bobs, mut carols) = (join(&world, &bob, group.id, 1).await, join(&world, &carol, group.id, 1).await);

    let removal = carols.remove(&bob);
    let refused = world.service.commit(&carol.caller, group.id, removal.clone()).await;
    assert_eq!(refused.unwrap_err().code, Code::Forbidden);
    let proposal = bobs.mls.leave_group(&bob.provider, &bob.signer).unwrap().tls_serialize_detached().unwrap();
    let left = world.service.leave(&bob.caller, group.id, Epoch(1), proposal.clone()).await;
    assert_eq!(left, Ok(PostOutcome::Accepted(Seq(2))));
    assert_eq!(world.service.leave(&bob.caller, group.id, Epoch(1), proposal.clone()).await, left);
    let stolen = world.service.leave(&carol.caller, group.id, Epoch(1), [proposal, vec![0]].concat()).await;
    assert_eq!(stolen.unwrap_err().code, Code::Invalid);
    assert_eq!(carols.submit(&world.service, removal).await, Ok(CommitOutcome::Accepted(Seq(3))));
}

#[tokio::test]
async fn posts_are_for_this_group_and_epoch() {
    let world = World::new().await;
    let alice = world.device("alice").await;
    let (mut one, mut other) = (alice.group(1, GroupKind::Group), alice.group(2, GroupKind::Group));
    for group in [&mut one, &mut other] {
        let new = group.creation(&world.service, &[]).await;
        world.service.create_group(&alice.caller, new).await.unwrap();
    }
    other.id = one.id;
    assert_eq!(other.post(&world.service, "misdirected").await.unwrap_err().code, Code::Invalid);
    let message = one.mls.create_message(&alice.provider, &alice.signer, b"early").unwrap();
    let payload = message.tls_serialize_detached().unwrap();
    let commit = one.update();
    one.submit(&world.service, commit).await.unwrap();
    let post = qpq_proto::groups::Post { epoch: Epoch(0), payload, expires_at: None, blobs: vec![] };
    let stale = world.service.post(&alice.caller, one.id, post).await;
    assert!(matches!(stale, Ok(PostOutcome::StaleEpoch(head)) if head.epoch == Epoch(1)), "{stale:?}");
}

#[tokio::test]
async fn expiring_key_packages_call_for_a_snapshot() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[&bob]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    let newest = || async { world.service.store.snapshot(group.id, Epoch(9)).await.unwrap().unwrap().epoch };
    world.service.tidy().await.unwrap();
    assert_eq!(newest().await, Epoch(0));
    world.pass(std::time::Duration::from_secs(5 * 24 * 3600));
    world.service.tidy().await.unwrap();
    assert_eq!(newest().await, Epoch(1));
}
