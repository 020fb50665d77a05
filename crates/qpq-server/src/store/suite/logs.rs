use std::time::Duration;

use futures::future::join_all;
use qpq_proto::groups::Head;
use qpq_proto::ids::{Epoch, Seq};
use qpq_proto::stream::LogId;
use qpq_proto::time::Timestamp;

use crate::store::change::Change;
use crate::store::group::{CommitResult, PostResult, Snapshot};
use crate::store::log::{LogPosition, ReadLimit};
use crate::store::sqlcipher::Quotas;

use super::world::{ALL, GROUP, NOW, QUOTAS, World, commit, device, leave, post};

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

fn acknowledged(number: u8, seq: u64) -> LogPosition {
    LogPosition { device: device(number), log: LogId::Group(GROUP), seq: Seq(seq) }
}

#[tokio::test]
async fn posting_twice_gives_the_same_answer_even_in_a_later_epoch() {
    let world = World::new();
    world.group(&[1, 2]).await;
    assert_eq!(world.post(1, 1, "hello").await, PostResult::Accepted(Seq(2)));
    world.store.commit(commit(2, 1, &[], &[]), NOW).await.unwrap();
    assert_eq!(world.post(1, 1, "hello").await, PostResult::Accepted(Seq(2)));
    let head = Head { epoch: Epoch(2), seq: Seq(3) };
    assert_eq!(world.post(1, 1, "too late").await, PostResult::StaleEpoch(head));
    assert_eq!(world.post(3, 2, "a stranger").await, PostResult::NotMember);
}

#[tokio::test]
async fn a_device_reads_from_after_its_joining_up_to_its_leaving() {
    let world = World::new();
    world.group(&[1, 2]).await;
    world.post(1, 1, "before").await;
    world.account(3).await;
    world.store.commit(commit(1, 1, &[3], &[]), NOW).await.unwrap();
    world.post(1, 2, "with three").await;
    world.store.commit(commit(1, 2, &[], &[3]), NOW).await.unwrap();
    world.post(1, 3, "without three").await;
    assert_eq!(world.visible(3).await, ["with three", "commit 2 by 1"]);
    world.store.commit(commit(1, 3, &[3], &[]), NOW).await.unwrap();
    world.post(1, 4, "back again").await;
    assert_eq!(world.visible(3).await, ["with three", "commit 2 by 1", "back again"]);
    assert_eq!(world.visible(2).await.len(), 7);
}

#[tokio::test]
async fn reads_are_cut_at_the_limit_and_go_on_where_they_stopped() {
    let world = World::new();
    world.group(&[1]).await;
    for number in 0..10 {
        world.post(1, 0, &format!("message {number}")).await;
    }
    check_cuts(&world).await;
    // The newest entries come from memory at first, and from disk after a restart.
    check_cuts(&world.restart()).await;
}

async fn check_cuts(world: &World) {
    let limit = ReadLimit { entries: 4, bytes: usize::MAX };
    let batch = world.store.read_group(GROUP, Seq(0), Seq(10), limit).await.unwrap();
    assert_eq!((batch.entries.len(), batch.reached), (4, Seq(4)));
    let limit = ReadLimit { entries: 100, bytes: 1 };
    let batch = world.store.read_group(GROUP, Seq(4), Seq(10), limit).await.unwrap();
    assert_eq!((batch.entries.len(), batch.reached), (1, Seq(5)));
    let batch = world.store.read_group(GROUP, Seq(5), Seq(10), ALL).await.unwrap();
    assert_eq!((batch.entries.len(), batch.reached), (5, Seq(10)));
}

#[tokio::test]
async fn what_everybody_has_is_swept_but_still_recognised() {
    let world = World::new();
    world.group(&[1, 2]).await;
    world.post(1, 1, "one").await;
    world.post(1, 1, "two").await;
    world.store.acknowledge(vec![acknowledged(1, 99), acknowledged(2, 2)]).await.unwrap();
    // The commit at 1 is needed for late joiners, so only "one" goes.
    assert_eq!(world.store.sweep(0, NOW, MONTH).await.unwrap().erased, 1);
    assert_eq!(world.post(1, 1, "one").await, PostResult::Accepted(Seq(2)));
    let world = world.restart();
    assert_eq!(world.visible(2).await, ["two"]);
    assert_eq!(world.post(1, 1, "three").await, PostResult::Accepted(Seq(4)));
    assert_eq!(world.store.sweep(0, NOW, MONTH).await.unwrap().erased, 0, "nobody may acknowledge what is to come");
}

#[tokio::test]
async fn what_is_older_than_the_retention_time_is_not_recognised_any_more() {
    let world = World::new();
    world.group(&[1, 2]).await;
    assert_eq!(world.post(1, 1, "one").await, PostResult::Accepted(Seq(2)));
    let later = NOW.after(MONTH + Duration::from_secs(1));
    world.store.sweep(0, later, MONTH).await.unwrap();
    assert_eq!(world.post(1, 1, "one").await, PostResult::Accepted(Seq(3)));
    assert_eq!(world.post(1, 1, "one").await, PostResult::Accepted(Seq(3)));
}

#[tokio::test]
async fn posts_and_commits_that_share_a_transaction_see_each_other() {
    let world = World::new();
    world.group(&[1, 2]).await;
    let post = |epoch, text: &str| world.store.post(post(1, epoch, text), NOW);
    let (first, again) = (post(1, "one"), post(1, "one"));
    let commit = world.store.commit(commit(2, 1, &[], &[]), NOW);
    let (late, second) = (post(1, "late"), post(2, "two"));
    let left = world.store.leave(leave(1, 2), NOW);
    let (outside, repeated) = (post(2, "outside"), post(2, "two"));
    let head = Head { epoch: Epoch(2), seq: Seq(3) };
    assert_eq!(first.await, Ok(PostResult::Accepted(Seq(2))));
    assert_eq!(again.await, Ok(PostResult::Accepted(Seq(2))));
    assert_eq!(commit.await, Ok(CommitResult::Accepted(Seq(3))));
    assert_eq!(late.await, Ok(PostResult::StaleEpoch(head)));
    assert_eq!(second.await, Ok(PostResult::Accepted(Seq(4))));
    assert_eq!(left.await, Ok(PostResult::Accepted(Seq(5))));
    assert_eq!(outside.await, Ok(PostResult::NotMember));
    assert_eq!(repeated.await, Ok(PostResult::Accepted(Seq(4))));
    let standing = world.store.standing(GROUP, device(2), None).await.unwrap().unwrap();
    assert_eq!(standing.head, Head { epoch: Epoch(2), seq: Seq(5) });
}

#[tokio::test]
async fn retention_ends_everything_but_what_rebuilds_the_group() {
    let world = World::new();
    world.group(&[1, 2]).await;
    world.post(1, 1, "one").await;
    world.store.commit(commit(1, 1, &[], &[]), NOW).await.unwrap();
    let later = NOW.after(MONTH + Duration::from_secs(1));
    assert_eq!(world.store.sweep(0, later, MONTH).await.unwrap().erased, 1);
    assert_eq!(world.store.commits(GROUP, Epoch(0), Epoch(2)).await.unwrap().len(), 2);

    world.store.write_snapshot(GROUP, Snapshot { epoch: Epoch(2), state: vec![2] }, NOW).await.unwrap();
    assert_eq!(world.store.sweep(0, later, MONTH).await.unwrap().erased, 2);
    assert_eq!(world.store.snapshot(GROUP, Epoch(1)).await, Ok(None));
    assert_eq!(world.store.snapshot(GROUP, Epoch(2)).await.unwrap().unwrap().epoch, Epoch(2));
    assert_eq!(world.store.read_inbox(device(2), Seq(0), ALL).await.unwrap().entries.len(), 0);
}

#[tokio::test]
async fn a_disappearing_message_goes_when_its_time_is_up() {
    let world = World::new();
    world.group(&[1]).await;
    let mut short = post(1, 0, "short");
    short.expires = Some(Timestamp(NOW.0 + 5));
    world.store.post(short, NOW).await.unwrap();
    assert_eq!(world.store.sweep(0, NOW, MONTH).await.unwrap().erased, 0);
    assert_eq!(world.visible(1).await, ["short"]);
    assert_eq!(world.store.sweep(0, Timestamp(NOW.0 + 5), MONTH).await.unwrap().erased, 1);
    assert!(world.visible(1).await.is_empty());
}

#[tokio::test]
async fn an_inbox_is_emptied_by_its_acknowledgement() {
    let world = World::new();
    world.group(&[1, 2]).await;
    assert_eq!(world.store.inbox_and_stock(device(2), 1, NOW).await.unwrap().0.head, Seq(1));
    let position = LogPosition { device: device(2), log: LogId::Inbox, seq: Seq(1) };
    world.store.acknowledge(vec![position]).await.unwrap();
    assert!(world.store.read_inbox(device(2), Seq(0), ALL).await.unwrap().entries.is_empty());
    assert_eq!(world.store.inbox_and_stock(device(2), 1, NOW).await.unwrap().0.head, Seq(1));
}

#[tokio::test]
async fn a_full_log_says_so() {
    let world = World::with(Quotas { log_entries_per_group: 1, ..QUOTAS });
    world.group(&[1]).await;
    assert_eq!(world.post(1, 0, "fits").await, PostResult::Accepted(Seq(1)));
    assert_eq!(world.post(1, 0, "too much").await, PostResult::Quota("log_entries_per_group"));
    assert_eq!(world.post(1, 0, "fits").await, PostResult::Accepted(Seq(1)));
}

#[tokio::test]
async fn what_queues_up_shares_a_transaction_and_everybody_is_woken() {
    let world = World::new();
    world.group(&[1]).await;
    world.changes.lock().unwrap().clear();
    let posts: Vec<_> = (0..300).map(|number| world.store.post(post(1, 0, &format!("{number}")), NOW)).collect();
    let answers = join_all(posts).await;
    let mut seqs: Vec<_> = answers
        .into_iter()
        .map(|answer| match answer.unwrap() {
            PostResult::Accepted(seq) => seq.0,
            other => panic!("{other:?}"),
        })
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=300).collect::<Vec<_>>());
    assert!(world.batches.lock().unwrap().iter().max().is_some_and(|largest| *largest > 1));
    let heads: Vec<_> = world
        .changes
        .lock()
        .unwrap()
        .iter()
        .map(|change| match change {
            Change::Group { head, .. } => head.0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(heads, (1..=300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let world = World::new();
    world.group(&[1, 2]).await;
    world.post(1, 1, "kept").await;
    let world = world.restart();
    assert_eq!(world.visible(1).await, ["commit 0 by 1", "kept"]);
    assert_eq!(world.visible(2).await, ["kept"]);
    assert_eq!(world.post(1, 1, "kept").await, PostResult::Accepted(Seq(2)));
    assert_eq!(world.store.read_inbox(device(2), Seq(0), ALL).await.unwrap().entries.len(), 1);
}
