//! Files: who may put and fetch what, and how long it stays, with a clock that only moves when it is told to.

use std::time::Duration;

use qpq_proto::blobs::{PART, sealed};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::{GroupKind, Post, PostOutcome};
use qpq_proto::ids::BlobId;
use qpq_proto::time::Timestamp;
use tls_codec::Serialize as _;

use super::device::{Device, Group};
use super::world::World;
use crate::config::ByteSize;

const HOUR: Duration = Duration::from_secs(3600);
const FILE: BlobId = BlobId([3; 32]);

impl World {
    /// Uploads a blob whole.
    async fn upload(&self, device: &Device, id: BlobId, size: u64) -> Result<(), Refusal> {
        let mut received = self.service.begin_blob(&device.caller, id, size).await?;
        while received < size {
            let part = vec![id.0[0]; PART.min((size - received) as usize)];
            received = self.service.put_part(&device.caller, id, received, part).await?;
        }
        Ok(())
    }

    async fn is_there(&self, device: &Device, id: BlobId) -> bool {
        self.service.read_blob(&device.caller, id, 0, PART).await.is_ok()
    }
}

fn message(group: &mut Group<'_>, blobs: Vec<BlobId>, expires_at: Option<Timestamp>) -> Post {
    let message = group.mls.create_message(&group.device.provider, &group.device.signer, b"a file").unwrap();
    Post { epoch: group.epoch(), payload: message.tls_serialize_detached().unwrap(), expires_at, blobs }
}

#[tokio::test]
async fn whoever_knows_the_id_fetches_and_only_the_uploader_puts() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let size = sealed(PART as u64);
    world.service.begin_blob(&alice.caller, FILE, size).await.unwrap();
    let unknown = world.service.read_blob(&bob.caller, BlobId([9; 32]), 0, PART).await.unwrap_err();
    let unfinished = world.service.read_blob(&bob.caller, FILE, 0, PART).await.unwrap_err();
    let foreign = world.service.put_part(&bob.caller, FILE, 0, vec![0; PART]).await.unwrap_err();
    assert_eq!((unknown.code, &unknown, &unknown), (Code::NotFound, &unfinished, &foreign));
    assert_eq!(world.service.begin_blob(&bob.caller, FILE, size).await.unwrap_err().code, Code::Forbidden);
    let wrong = world.service.put_part(&alice.caller, FILE, 0, vec![0; 5]).await.unwrap_err();
    assert_eq!(wrong.code, Code::Invalid);
    world.upload(&alice, FILE, size).await.unwrap();
    let fetched = world.service.read_blob(&bob.caller, FILE, 0, usize::MAX).await.unwrap();
    assert_eq!(fetched, vec![FILE.0[0]; PART], "never more than one part at a time");
}

#[tokio::test]
async fn a_file_outlives_its_uploaders_account_as_nobodys() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let size = sealed(2 * PART as u64);
    world.upload(&alice, FILE, size).await.unwrap();
    world.service.delete_own_account(&alice.caller).await.unwrap();
    assert!(world.is_there(&bob, FILE).await);
    let put = world.service.put_part(&alice.caller, FILE, 0, vec![FILE.0[0]; PART]).await.unwrap_err();
    assert_eq!(put.code, Code::NotFound, "it is not hers any more");
}

#[tokio::test]
async fn what_no_message_refers_to_is_swept_after_a_day() {
    let world = World::new().await;
    let alice = world.device("alice").await;
    let (unfinished, unsent, sent) = (BlobId([1; 32]), BlobId([2; 32]), FILE);
    let size = sealed(100_000);
    world.upload(&alice, unsent, size).await.unwrap();
    world.upload(&alice, sent, size).await.unwrap();
    world.service.begin_blob(&alice.caller, unfinished, size).await.unwrap();
    world.service.put_part(&alice.caller, unfinished, 0, vec![1; PART]).await.unwrap();
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    let post = message(&mut group, vec![sent], None);
    let posted = world.service.post(&alice.caller, group.id, post).await;
    assert!(matches!(posted, Ok(PostOutcome::Accepted(_))));

    world.pass(23 * HOUR);
    world.service.tidy().await.unwrap();
    assert_eq!(world.service.begin_blob(&alice.caller, unfinished, size).await, Ok(PART as u64), "begun again");
    assert!(world.is_there(&alice, unsent).await);
    world.pass(HOUR);
    world.service.tidy().await.unwrap();
    assert_eq!(world.service.metrics().swept_parts.get(), 2, "the one that nobody has come back for");
    assert!(!world.is_there(&alice, unsent).await && world.is_there(&alice, sent).await);
    let late = message(&mut group, vec![unsent], None);
    let refused = world.service.post(&alice.caller, group.id, late).await.unwrap_err();
    assert!(refused.code == Code::NotFound && refused.detail.contains("send it again"), "{refused}");
    world.pass(23 * HOUR);
    world.service.tidy().await.unwrap();
    assert_eq!(world.service.metrics().swept_parts.get(), 3);

    world.pass(28 * 24 * HOUR);
    world.service.tidy().await.unwrap();
    assert!(world.is_there(&alice, sent).await);
    world.pass(HOUR);
    world.service.tidy().await.unwrap();
    assert!(!world.is_there(&alice, sent).await, "retention.blobs");
}

#[tokio::test]
async fn the_file_of_a_message_that_disappears_goes_with_it() {
    let world = World::with(|options| options.blobs.unreferred = HOUR).await;
    let alice = world.device("alice").await;
    world.upload(&alice, FILE, sealed(1)).await.unwrap();
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    let expires = crate::service::Clock::system().now().after(3 * HOUR);
    let post = message(&mut group, vec![FILE], Some(expires));
    world.service.post(&alice.caller, group.id, post).await.unwrap();
    world.pass(2 * HOUR);
    world.service.tidy().await.unwrap();
    assert!(world.is_there(&alice, FILE).await);
    world.pass(2 * HOUR);
    world.service.tidy().await.unwrap();
    assert!(!world.is_there(&alice, FILE).await);
}

#[tokio::test]
async fn files_have_a_size_a_quota_and_a_rate() {
    let most = 3 * 65_536;
    let world = World::with(|options| {
        options.limits.max_file = ByteSize(most);
        options.limits.file_bytes_per_account = ByteSize(2 * sealed(most as u64) as usize);
        options.limits.file_parts_per_minute = 7;
    })
    .await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let begin = |number: u8, size| {
        let (service, caller) = (world.service.clone(), alice.caller.clone());
        async move { service.begin_blob(&caller, BlobId([number; 32]), size).await }
    };
    let sealed_most = sealed(most as u64);
    let refused = begin(1, sealed_most + 1).await.unwrap_err();
    assert_eq!((refused.code, refused.detail.contains("limits.max_file")), (Code::TooLarge, true), "{refused}");
    assert_eq!(begin(1, sealed(0) - 1).await.unwrap_err().code, Code::Invalid, "without padding");
    assert_eq!(begin(1, sealed_most).await, Ok(0));
    assert_eq!(begin(2, sealed_most).await, Ok(0));
    let refused = begin(3, sealed(0)).await.unwrap_err();
    assert_eq!(refused.code, Code::QuotaExceeded);
    assert!(refused.detail.contains("file_bytes_per_account") && refused.retry_after.is_none(), "{refused}");

    let id = BlobId([1; 32]);
    for offset in 0..3 {
        world.service.put_part(&alice.caller, id, offset * PART as u64, vec![0; PART]).await.unwrap();
    }
    // With the beginnings these were six.
    world.service.read_blob(&alice.caller, id, 0, PART).await.unwrap();
    let outcomes = [
        begin(1, sealed_most).await.unwrap_err(),
        world.service.put_part(&alice.caller, id, 0, vec![0; PART]).await.unwrap_err(),
        world.service.read_blob(&alice.caller, id, 0, PART).await.unwrap_err(),
    ];
    for refused in outcomes {
        assert_eq!(refused.code, Code::RateLimited);
        assert!(refused.detail.contains("file_parts_per_minute") && refused.retry_after.is_some(), "{refused}");
    }
    assert!(world.service.read_blob(&bob.caller, id, 0, PART).await.is_ok(), "one account's rate is its own");
}
