use qpq_proto::groups::Head;
use qpq_proto::ids::{ContentHash, Epoch, GroupId, Seq};
use qpq_proto::time::Timestamp;

use crate::store::StoreError;
use crate::store::group::{CommitResult, CreateResult, PostResult, Snapshot};
use crate::store::sqlcipher::Quotas;

use super::world::{ALL, GROUP, NOW, QUOTAS, World, commit, device, group, leave, member};

fn head(epoch: u64, seq: u64) -> Head {
    Head { epoch: Epoch(epoch), seq: Seq(seq) }
}

#[tokio::test]
async fn one_commit_wins_an_epoch_and_repeating_it_is_harmless() {
    let world = World::new();
    world.group(&[1, 2]).await;
    let first = commit(1, 1, &[], &[]);
    assert_eq!(world.store.commit(first.clone(), NOW).await, Ok(CommitResult::Accepted(Seq(2))));
    assert_eq!(world.store.commit(first, NOW).await, Ok(CommitResult::Accepted(Seq(2))));
    let loser = commit(2, 1, &[], &[]);
    assert_eq!(world.store.commit(loser, NOW).await, Ok(CommitResult::Superseded(head(2, 2))));
}

#[tokio::test]
async fn a_commit_changes_log_inboxes_and_roster_together() {
    let world = World::new();
    world.group(&[1, 2]).await;
    world.account(3).await;
    world.changes.lock().unwrap().clear();
    world.store.commit(commit(1, 1, &[3], &[2]), NOW).await.unwrap();
    assert_eq!(world.changes.lock().unwrap().len(), 2);

    let standing = |number| world.store.standing(GROUP, device(number), None);
    assert!(standing(3).await.unwrap().unwrap().is_member);
    let removed = standing(2).await.unwrap().unwrap();
    assert!(!removed.is_member && removed.was_member);
    assert_eq!(removed.head, head(2, 2));
    let inbox = world.store.read_inbox(device(3), Seq(0), ALL).await.unwrap();
    assert_eq!((inbox.entries.len(), inbox.entries[0].payload.clone()), (1, vec![3; 10]));
    assert_eq!(world.post(2, 2, "no longer").await, PostResult::NotMember);
}

#[tokio::test]
async fn a_full_inbox_stops_the_whole_commit() {
    let world = World::with(Quotas { log_entries_per_group: 3, inbox_entries_per_device: 0, ..QUOTAS });
    world.group(&[1]).await;
    world.account(2).await;
    let refused = world.store.commit(commit(1, 0, &[2], &[]), NOW).await;
    assert_eq!(refused, Ok(CommitResult::Quota("inbox_entries_per_device")));
    assert_eq!(world.store.standing(GROUP, device(1), None).await.unwrap().unwrap().head, head(0, 0));
}

#[tokio::test]
async fn a_group_is_created_once() {
    let world = World::new();
    world.group(&[1, 2]).await;
    let mut same = group(1);
    same.first = Some(commit(1, 0, &[2], &[]));
    assert_eq!(world.store.create_group(same, NOW).await, Ok(CreateResult::Created(Seq(1))));
    let mut other = group(1);
    other.request = ContentHash([2; 32]);
    assert_eq!(world.store.create_group(other, NOW).await, Ok(CreateResult::Exists(GROUP)));
    let mut foreign = group(1);
    foreign.creator = member(2);
    assert_eq!(world.store.create_group(foreign, NOW).await, Ok(CreateResult::Taken));
}

#[tokio::test]
async fn a_creation_that_fails_half_way_leaves_nothing() {
    let world = World::new();
    world.account(1).await;
    let mut broken = group(1);
    broken.first = Some(commit(1, 7, &[], &[]));
    assert!(matches!(world.store.create_group(broken, NOW).await, Err(StoreError::Internal(_))));
    assert_eq!(world.store.standing(GROUP, device(1), None).await, Ok(None));
}

#[tokio::test]
async fn a_pair_has_one_direct_conversation() {
    let world = World::new();
    world.account(1).await;
    let mut direct = group(1);
    direct.pair = Some([5; 32]);
    assert_eq!(world.store.create_group(direct.clone(), NOW).await, Ok(CreateResult::Created(Seq(0))));
    direct.group = GroupId([10; 16]);
    assert_eq!(world.store.create_group(direct, NOW).await, Ok(CreateResult::Exists(GROUP)));
}

#[tokio::test]
async fn who_leaves_is_out_at_once_and_stays_marked_until_removed() {
    let world = World::new();
    world.group(&[1, 2]).await;
    assert_eq!(world.store.leave(leave(2, 0), NOW).await, Ok(PostResult::StaleEpoch(head(1, 1))));
    assert_eq!(world.store.leave(leave(2, 1), NOW).await, Ok(PostResult::Accepted(Seq(2))));
    assert_eq!(world.store.leave(leave(2, 1), NOW).await, Ok(PostResult::Accepted(Seq(2))));
    assert_eq!(world.post(2, 1, "one more thing").await, PostResult::NotMember);
    let leaving = world.store.standing(GROUP, device(1), None).await.unwrap().unwrap().leaving;
    assert_eq!(leaving, [device(2)].into());
    world.store.commit(commit(1, 1, &[], &[2]), NOW).await.unwrap();
    assert!(world.store.standing(GROUP, device(1), None).await.unwrap().unwrap().leaving.is_empty());
    assert_eq!(world.visible(2).await, ["leave by 2"]);
}

#[tokio::test]
async fn states_are_found_by_epoch_together_with_the_commits_after_them() {
    let world = World::new();
    world.group(&[1]).await;
    for epoch in 0..4 {
        world.store.commit(commit(1, epoch, &[], &[]), NOW).await.unwrap();
    }
    let written = Snapshot { epoch: Epoch(3), state: b"state 3".to_vec() };
    world.store.write_snapshot(GROUP, written.clone(), NOW).await.unwrap();
    let snapshot = |epoch| world.store.snapshot(GROUP, Epoch(epoch));
    assert_eq!(snapshot(2).await.unwrap().unwrap().epoch, Epoch(0));
    assert_eq!(snapshot(4).await.unwrap().unwrap(), written);
    let commits = world.store.commits(GROUP, Epoch(1), Epoch(3)).await.unwrap();
    assert_eq!(commits, [b"commit 1 by 1".to_vec(), b"commit 2 by 1".to_vec()]);
}

#[tokio::test]
async fn commits_that_cannot_be_replayed_for_long_call_for_a_snapshot() {
    let world = World::new();
    world.group(&[1]).await;
    let mut short_lived = commit(1, 0, &[], &[]);
    short_lived.replayable_until = Some(Timestamp(NOW.0 + 10));
    world.store.commit(short_lived, NOW).await.unwrap();
    let expiring = || world.store.expiring_groups(Timestamp(NOW.0 + 11));
    assert_eq!(expiring().await, Ok(vec![GROUP]));
    let state = |epoch| Snapshot { epoch: Epoch(epoch), state: vec![1] };
    world.store.write_snapshot(GROUP, state(0), NOW).await.unwrap();
    assert_eq!(expiring().await, Ok(vec![GROUP]));
    world.store.write_snapshot(GROUP, state(1), NOW).await.unwrap();
    assert_eq!(expiring().await, Ok(vec![]));
}
