use std::time::Duration;

use qpq_proto::blobs::{PART, sealed};
use qpq_proto::ids::{ContentHash, Seq};
use qpq_proto::time::Timestamp;

use crate::store::blob::{Begun, BlobName, NewBlob, NewPart, Put};
use crate::store::group::PostResult;
use crate::store::sqlcipher::Quotas;

use super::world::{GROUP, NOW, QUOTAS, World, device, identity, post};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn name(number: u8) -> BlobName {
    BlobName(ContentHash([number; 32]))
}

fn bytes(size: u64) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

impl World {
    async fn begin(&self, owner: u8, number: u8, size: u64, now: Timestamp) -> Begun {
        let blob = NewBlob { name: name(number), owner: identity(owner), size, keep_until: now.after(DAY) };
        self.store.begin_blob(blob, now).await.unwrap()
    }

    async fn put(&self, owner: u8, number: u8, offset: u64, bytes: &[u8]) -> Put {
        let part = NewPart { name: name(number), owner: identity(owner), offset, bytes: bytes.to_vec() };
        self.store.put_part(part, NOW).await.unwrap()
    }

    /// Announced and complete.
    async fn blob(&self, owner: u8, number: u8, content: &[u8]) {
        assert_eq!(self.begin(owner, number, content.len() as u64, NOW).await, Begun::Received(0));
        for (index, part) in content.chunks(PART).enumerate() {
            let received = (index * PART + part.len()) as u64;
            assert_eq!(self.put(owner, number, (index * PART) as u64, part).await, Put::Received(received));
        }
    }

    async fn read(&self, number: u8, offset: u64, length: usize, now: Timestamp) -> Option<Vec<u8>> {
        self.store.read_blob(name(number), offset, length, now).await.unwrap()
    }
}

#[tokio::test]
async fn a_blob_is_taken_part_by_part_and_read_from_anywhere() {
    let world = World::new();
    let size = sealed(3 * 65_536 + 5);
    let content = bytes(size);
    world.blob(1, 1, &content).await;
    let world = world.restart();
    let part = PART as u64;
    for (offset, length) in [(0, PART), (part, PART), (part - 10, 20), (part + 5, 1), (size - 7, PART), (size, 5)] {
        let end = content.len().min(offset as usize + length);
        assert_eq!(world.read(1, offset, length, NOW).await.as_deref(), Some(&content[offset as usize..end]));
    }
    assert_eq!(world.read(1, u64::MAX, PART, NOW).await, Some(vec![]));
}

#[tokio::test]
async fn an_upload_goes_on_where_it_stopped() {
    let world = World::new();
    let content = bytes(sealed(2 * 65_536 + 1));
    let (size, part) = (content.len() as u64, PART as u64);
    assert_eq!(world.begin(1, 1, size, NOW).await, Begun::Received(0));
    assert_eq!(world.put(1, 1, part, &content[PART..2 * PART]).await, Put::Received(0), "too early");
    assert_eq!(world.put(1, 1, 0, &content[..PART]).await, Put::Received(part));
    let world = world.restart();
    assert_eq!(world.begin(1, 1, size, NOW).await, Begun::Received(part));
    assert_eq!(world.put(1, 1, 0, &[0; PART]).await, Put::Received(part), "it is here already, and stays as it is");
    assert_eq!(world.put(1, 1, part, &content[PART..2 * PART]).await, Put::Received(2 * part));
    assert_eq!(world.read(1, 0, 1, NOW).await, None, "not complete");
    assert_eq!(world.put(1, 1, 2 * part, &content[2 * PART..]).await, Put::Received(size));
    assert_eq!(world.read(1, 0, PART, NOW).await.as_deref(), Some(&content[..PART]));
}

#[tokio::test]
async fn only_its_uploader_adds_to_a_blob_and_only_what_fits() {
    let world = World::new();
    let content = bytes(sealed(65_537));
    let size = content.len() as u64;
    assert_eq!(world.put(1, 1, 0, &content[..PART]).await, Put::Unknown);
    assert_eq!(world.begin(1, 1, size, NOW).await, Begun::Received(0));
    assert_eq!(world.begin(2, 1, size, NOW).await, Begun::Taken);
    assert_eq!(world.begin(1, 1, size + 1, NOW).await, Begun::Taken);
    assert_eq!(world.put(2, 1, 0, &content[..PART]).await, Put::Unknown);
    for (offset, length) in [(0, PART - 1), (0, 1), (1, PART), (PART as u64, PART), (size, 1), (u64::MAX, 1)] {
        assert_eq!(world.put(1, 1, offset, &vec![0; length]).await, Put::Misplaced, "{offset} {length}");
    }
}

#[tokio::test]
async fn an_account_keeps_so_many_bytes() {
    // Smaller ones count as a whole part.
    let size = PART as u64;
    let world = World::with(Quotas { file_bytes_per_account: 2 * size, ..QUOTAS });
    assert_eq!(world.begin(1, 1, size, NOW).await, Begun::Received(0));
    assert_eq!(world.begin(1, 2, size, NOW).await, Begun::Received(0));
    assert_eq!(world.begin(1, 3, 1, NOW).await, Begun::Quota("file_bytes_per_account"));
    assert_eq!(world.begin(1, 1, size, NOW).await, Begun::Received(0), "one that is here already is no further one");
    assert_eq!(world.begin(2, 3, size, NOW).await, Begun::Received(0), "another account");
    let later = NOW.after(DAY);
    world.store.sweep_blobs(later).await.unwrap();
    assert_eq!(world.begin(1, 4, 2 * size, later).await, Begun::Received(0), "there is room again");
}

#[tokio::test]
async fn a_blob_lives_as_long_as_the_last_message_that_refers_to_it() {
    let world = World::new();
    world.group(&[1, 2]).await;
    let content = bytes(sealed(65_537));
    world.blob(1, 1, &content).await;
    world.blob(1, 2, &content).await;
    let mut new = post(1, 1, "two files");
    (new.blobs, new.blobs_until) = (vec![name(1), name(2)], NOW.after(10 * DAY));
    assert_eq!(world.store.post(new.clone(), NOW).await, Ok(PostResult::Accepted(Seq(2))));
    let mut again = post(2, 1, "forwarded");
    (again.blobs, again.blobs_until) = (vec![name(2)], NOW.after(20 * DAY));
    assert_eq!(world.store.post(again, NOW).await, Ok(PostResult::Accepted(Seq(3))));
    let mut shorter = post(1, 1, "for a moment");
    (shorter.blobs, shorter.blobs_until) = (vec![name(2)], NOW.after(DAY));
    assert_eq!(world.store.post(shorter, NOW).await, Ok(PostResult::Accepted(Seq(4))));

    let just_before = Timestamp(NOW.after(10 * DAY).0 - 1);
    assert_eq!(world.store.sweep_blobs(just_before).await.unwrap().erased, 0);
    let later = NOW.after(10 * DAY);
    assert_eq!(world.read(1, 0, 1, later).await, None, "also before it is swept");
    assert_eq!(world.store.sweep_blobs(later).await.unwrap().erased, 2);
    assert!(world.read(2, 0, 1, later).await.is_some());
    assert_eq!(world.store.sweep_blobs(NOW.after(20 * DAY)).await.unwrap().erased, 2);
    assert_eq!(world.store.post(new, later).await, Ok(PostResult::Accepted(Seq(2))), "a repetition is still one");
}

#[tokio::test]
async fn a_message_about_a_blob_that_is_not_here_is_refused_and_changes_nothing() {
    let world = World::new();
    world.group(&[1, 2]).await;
    let content = bytes(sealed(65_537));
    world.blob(1, 1, &content).await;
    assert_eq!(world.begin(1, 2, content.len() as u64, NOW).await, Begun::Received(0));
    for missing in [name(2), name(3)] {
        let mut new = post(1, 1, "files");
        (new.blobs, new.blobs_until) = (vec![name(1), missing], NOW.after(30 * DAY));
        assert_eq!(world.store.post(new, NOW).await, Ok(PostResult::BlobMissing));
    }
    assert_eq!(world.post(1, 1, "next").await, PostResult::Accepted(Seq(2)));
    assert_eq!(world.store.sweep_blobs(NOW.after(DAY)).await.unwrap().erased, 2, "not kept for what was refused");
    let membership = world.store.membership(GROUP, device(1)).await.unwrap().unwrap();
    assert_eq!(membership.head.seq, Seq(2));
}

#[tokio::test]
async fn large_blobs_are_swept_in_steps_and_begun_anew_in_between() {
    let world = World::with(Quotas { file_bytes_per_account: u64::MAX, ..QUOTAS });
    let content = bytes(300 * PART as u64);
    world.blob(1, 1, &content).await;
    let later = NOW.after(DAY);
    let swept = world.store.sweep_blobs(later).await.unwrap();
    assert!(swept.more && swept.erased < 300);
    // What is still there is not erased while somebody waits for it.
    assert_eq!(world.begin(1, 1, content.len() as u64, later).await, Begun::Taken);
    while world.store.sweep_blobs(later).await.unwrap().more {}
    assert_eq!(world.begin(1, 1, content.len() as u64, later).await, Begun::Received(0));
    assert_eq!(world.store.sweep_blobs(later).await.unwrap().erased, 0);
    assert_eq!(world.put(1, 1, 0, &content[..PART]).await, Put::Received(PART as u64));
}
