//! Transfers against a server that fails at chosen moments.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use qpq_proto::blobs::{PART, sealed};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::ids::BlobId;

use super::calls::BlobAnswered;
use super::fetch::{Streamed, fetch};
use super::partial::Partial;
use super::source::{Source, Stored};
use super::upload::upload;
use super::watch::{Progress, Remote, Watch};
use crate::Error;
use crate::waiter::{Awaited, waiter};
use crate::wire::{BlobAnswer, BlobCall};

/// A server in memory. What it is not to answer is lost together with everything that follows, until somebody asks whether
/// there is a connection.
#[derive(Default)]
struct Shelf {
    blobs: RefCell<HashMap<BlobId, (u64, Vec<u8>)>>,
    calls: Cell<usize>,
    /// The call that the connection is lost with, and whether it arrives before that.
    cut: Cell<Option<(usize, bool)>>,
    down: Cell<bool>,
    /// Refused for the moment.
    busy: Cell<Option<usize>>,
    parts_put: Cell<usize>,
    parts_got: Cell<usize>,
}

impl Shelf {
    fn handle(&self, call: BlobCall) -> BlobAnswered {
        let mut blobs = self.blobs.borrow_mut();
        match call {
            BlobCall::Begin { blob, size } => {
                let (known, bytes) = blobs.entry(blob).or_insert((size, Vec::new()));
                assert_eq!(*known, size);
                Ok(BlobAnswer::Received(bytes.len() as u64))
            }
            BlobCall::Put { blob, offset, bytes } => {
                let (size, stored) = blobs.get_mut(&blob).expect("begun");
                assert_eq!(qpq_proto::blobs::part_at(*size, offset), Some(bytes.len()));
                let offset = offset as usize;
                if offset == stored.len() {
                    stored.extend(bytes);
                    self.parts_put.set(self.parts_put.get() + 1);
                } else if let Some(known) = stored.get(offset..offset + bytes.len()) {
                    assert_eq!(known, bytes, "the same part of the same file is the same bytes");
                }
                Ok(BlobAnswer::Received(stored.len() as u64))
            }
            BlobCall::Get { blob, offset, length } => {
                let Some((_, stored)) = blobs.get(&blob) else {
                    return Err(Refusal::new(Code::NotFound, "there is no such file"));
                };
                self.parts_got.set(self.parts_got.get() + 1);
                let begin = stored.len().min(offset as usize);
                Ok(BlobAnswer::Bytes(stored[begin..stored.len().min(begin + length as usize)].to_vec()))
            }
        }
    }
}

impl Remote for Shelf {
    fn call(&self, call: BlobCall) -> Awaited<BlobAnswered> {
        let (answer, awaited) = waiter();
        let number = self.calls.replace(self.calls.get() + 1);
        match self.cut.get() {
            _ if self.down.get() => return awaited,
            Some((cut, arrives)) if cut == number => {
                self.down.set(true);
                if arrives {
                    let _ = self.handle(call);
                }
                return awaited;
            }
            _ if self.busy.get() == Some(number) => {
                answer.tell(Err(Refusal::later(Code::RateLimited, "busy", Duration::from_millis(1))));
            }
            _ => answer.tell(self.handle(call)),
        }
        awaited
    }

    fn is_online(&self) -> Result<bool, Error> {
        self.down.set(false);
        Ok(true)
    }

    fn trouble(&self, waited: Duration) -> Error {
        Error::TimedOut(waited)
    }
}

const PATIENCE: Duration = Duration::from_secs(600);
const PARTS: usize = 4;

fn content() -> Vec<u8> {
    (0..3 * 65_536 + 77).map(|at: usize| (at % 251) as u8).collect()
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Stops when it has been told of so many bytes of one of these steps.
fn stop_at(step: super::Step, bytes: u64) -> impl FnMut(Progress) -> ControlFlow<()> {
    move |progress| {
        if progress.step == step && progress.done >= bytes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn stored(content: &[u8]) -> Stored {
    use sha2::Digest as _;
    let sha256 = sha2::Sha256::digest(content).into();
    Stored { blob: BlobId([1; 32]), key: [2; 32], sha256, size: content.len() as u64 }
}

fn put(shelf: &Shelf, content: &[u8], tell: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<Stored, Error> {
    let mut watch = Watch::new(shelf, PATIENCE, tell);
    let mut source = Source::read(Cursor::new(content), u64::MAX, &mut watch)?;
    let stored = stored(content);
    assert_eq!(source.sha256(), stored.sha256);
    upload(&mut source, &stored, &mut watch)?;
    Ok(stored)
}

fn get(shelf: &Shelf, stored: &Stored) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let mut sink = Streamed::new(stored, &mut out);
    fetch(stored, &mut sink, &mut Watch::new(shelf, PATIENCE, &mut go_on))?;
    sink.finish()?;
    Ok(out)
}

fn download(
    shelf: &Shelf,
    stored: &Stored,
    directory: &Path,
    tell: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut watch = Watch::new(shelf, PATIENCE, tell);
    let mut partial = Partial::open(directory, stored, &mut watch)?;
    fetch(stored, &mut partial, &mut watch)?;
    partial.finish(stored, &directory.join("target"), false, &mut watch)
}

fn files(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).expect("a directory");
    names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn files_of_all_sizes_come_back_as_they_were() {
    for size in [0, 1, 1023, 1024, 1025, 65_535, 65_536, 65_537, 200_000, 2_000_000] {
        let content: Vec<u8> = (0..size).map(|at| (at % 253) as u8).collect();
        let shelf = Shelf::default();
        let stored = put(&shelf, &content, &mut go_on).expect("an upload");
        assert_eq!(shelf.blobs.borrow()[&stored.blob].1.len() as u64, sealed(size), "{size}");
        assert!(get(&shelf, &stored).expect("a download") == content, "{size}");
    }
}

#[test]
fn a_connection_may_be_lost_with_every_single_call() {
    let content = content();
    for arrives in [false, true] {
        for cut in 0..=PARTS {
            let shelf = Shelf::default();
            shelf.cut.set(Some((cut, arrives)));
            let stored = put(&shelf, &content, &mut go_on).expect("an upload");
            assert_eq!(shelf.parts_put.get(), PARTS, "cut {cut}: none is stored twice");
            shelf.cut.set(Some((shelf.calls.get() + cut, false)));
            assert!(get(&shelf, &stored).expect("a download") == content, "cut {cut}");
        }
    }
}

#[test]
fn what_the_server_refuses_for_the_moment_is_asked_again() {
    let content = content();
    for busy in 0..=PARTS {
        let shelf = Shelf::default();
        shelf.busy.set(Some(busy));
        let stored = put(&shelf, &content, &mut go_on).expect("an upload");
        shelf.busy.set(Some(shelf.calls.get() + busy));
        assert!(get(&shelf, &stored).expect("a download") == content, "busy {busy}");
    }
}

#[test]
fn an_upload_that_was_stopped_goes_on_where_it_stopped() {
    let content = content();
    for parts in 0..PARTS {
        let shelf = Shelf::default();
        let stopped = put(&shelf, &content, &mut stop_at(super::Step::Sending, (parts * PART) as u64));
        assert!(matches!(stopped, Err(Error::Stopped)));
        let stored = put(&shelf, &content, &mut go_on).expect("the rest");
        assert_eq!(shelf.parts_put.get(), PARTS, "stopped after {parts}");
        assert!(get(&shelf, &stored).expect("a download") == content);
    }
}

#[test]
fn a_download_that_was_stopped_goes_on_where_it_stopped() {
    let content = content();
    for parts in 0..=PARTS {
        let shelf = Shelf::default();
        let stored = put(&shelf, &content, &mut go_on).expect("an upload");
        let directory = tempfile::tempdir().expect("a temporary folder");
        let bytes = if parts == PARTS { stored.sealed() } else { (parts * PART) as u64 };
        let stopped = download(&shelf, &stored, directory.path(), &mut stop_at(super::Step::Receiving, bytes));
        assert!(matches!(stopped, Err(Error::Stopped)));
        let left = files(directory.path());
        assert!(left.len() == 1 && left[0].starts_with(".qpq-"), "{left:?}");
        shelf.parts_got.set(0);
        download(&shelf, &stored, directory.path(), &mut go_on).expect("the rest");
        assert_eq!(shelf.parts_got.get(), PARTS - parts, "stopped after {parts}");
        assert_eq!(files(directory.path()), ["target"]);
        assert!(fs::read(directory.path().join("target")).expect("the file") == content);
    }
}

#[test]
fn a_download_that_is_killed_while_it_is_written_leaves_nothing_under_its_name() {
    let content = content();
    let shelf = Shelf::default();
    let stored = put(&shelf, &content, &mut go_on).expect("an upload");
    let directory = tempfile::tempdir().expect("a temporary folder");
    let stopped = download(&shelf, &stored, directory.path(), &mut stop_at(super::Step::Writing, 1));
    assert!(matches!(stopped, Err(Error::Stopped)));
    let left = files(directory.path());
    // What a killed process could not remove.
    fs::write(directory.path().join(left[0].replace(".part", ".plain")), vec![9; content.len() * 2]).expect("a file");
    shelf.parts_got.set(0);
    download(&shelf, &stored, directory.path(), &mut go_on).expect("the rest");
    assert_eq!((shelf.parts_got.get(), files(directory.path())), (0, vec!["target".to_owned()]));
    assert!(fs::read(directory.path().join("target")).expect("the file") == content);
}

#[test]
fn what_a_temporary_file_has_is_checked_part_by_part() {
    let content = content();
    let shelf = Shelf::default();
    let stored = put(&shelf, &content, &mut go_on).expect("an upload");
    let whole = shelf.blobs.borrow()[&stored.blob].1.clone();
    let swapped = [&whole[PART..2 * PART], &whole[..PART], &whole[2 * PART..]].concat();
    let mut flipped = whole.clone();
    flipped[2 * PART + 5] ^= 1;
    let longer = [&whole[..], &[0; 99]].concat();
    let cases: [(&str, &[u8], usize); 8] = [
        ("empty", &[], PARTS),
        ("one byte", &whole[..1], PARTS),
        ("almost a part", &whole[..PART - 1], PARTS),
        ("a part and a bit", &whole[..PART + 1], PARTS - 1),
        ("swapped", &swapped, PARTS),
        ("flipped", &flipped, PARTS - 2),
        ("whole", &whole, 0),
        ("longer", &longer, 0),
    ];
    for (what, bytes, missing) in cases {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let stopped = download(&shelf, &stored, directory.path(), &mut stop_at(super::Step::Receiving, 0));
        assert!(matches!(stopped, Err(Error::Stopped)));
        fs::write(directory.path().join(&files(directory.path())[0]), bytes).expect("a file");
        shelf.parts_got.set(0);
        download(&shelf, &stored, directory.path(), &mut go_on).expect(what);
        assert_eq!(shelf.parts_got.get(), missing, "{what}");
        assert!(fs::read(directory.path().join("target")).expect("the file") == content, "{what}");
    }
}

#[test]
fn what_is_not_what_the_message_says_is_refused_and_leaves_nothing() {
    let content = content();
    let shelf = Shelf::default();
    let stored = put(&shelf, &content, &mut go_on).expect("an upload");
    let change = |change: fn(&mut Stored)| {
        let mut changed = stored.clone();
        change(&mut changed);
        changed
    };
    let lies = [
        change(|stored| stored.sha256[0] ^= 1),
        change(|stored| stored.key[0] ^= 1),
        change(|stored| stored.size += 1),
        change(|stored| stored.size -= 1),
        change(|stored| stored.size = 0),
        change(|stored| stored.size *= 2),
        change(|stored| stored.size /= 2),
        change(|stored| stored.size = u64::MAX),
        change(|stored| stored.blob = BlobId([9; 32])),
    ];
    for (number, lie) in lies.iter().enumerate() {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let outcome = super::fetch::check_size(lie).and_then(|()| download(&shelf, lie, directory.path(), &mut go_on));
        assert!(matches!(outcome, Err(Error::Refused(_))), "lie {number}: {outcome:?}");
        assert!(!directory.path().join("target").exists());
        assert!(matches!(get(&shelf, lie), Err(Error::Refused(_))), "lie {number}");
    }
    let whole = shelf.blobs.borrow()[&stored.blob].1.clone();
    let swapped = [&whole[PART..2 * PART], &whole[..PART], &whole[2 * PART..]].concat();
    let without_a_part = [&whole[..PART], &whole[2 * PART..]].concat();
    let repeated = [&whole[..PART], &whole[..PART], &whole[2 * PART..]].concat();
    for (what, bytes) in [
        ("swapped", swapped),
        ("left out", without_a_part),
        ("repeated", repeated),
        ("cut", whole[..3 * PART].to_vec()),
        ("cut in a part", whole[..whole.len() - 1].to_vec()),
        ("nothing", vec![]),
    ] {
        shelf.blobs.borrow_mut().insert(stored.blob, (stored.sealed(), bytes));
        assert!(matches!(get(&shelf, &stored), Err(Error::Refused(_))), "{what}");
    }
}

#[test]
fn nothing_is_replaced_unless_told_to_and_what_has_come_is_kept() {
    let content = content();
    let shelf = Shelf::default();
    let stored = put(&shelf, &content, &mut go_on).expect("an upload");
    let directory = tempfile::tempdir().expect("a temporary folder");
    let target = directory.path().join("target");
    fs::write(&target, "mine").expect("a file");
    let refused = download(&shelf, &stored, directory.path(), &mut go_on);
    assert!(matches!(refused, Err(Error::Exists(path)) if path == target));
    assert_eq!(fs::read(&target).expect("the file"), b"mine");
    shelf.parts_got.set(0);
    let mut watch_it = go_on;
    let mut watch = Watch::new(&shelf, PATIENCE, &mut watch_it);
    let partial = Partial::open(directory.path(), &stored, &mut watch).expect("what has come");
    let again = Partial::open(directory.path(), &stored, &mut Watch::new(&shelf, PATIENCE, &mut go_on));
    assert!(matches!(again, Err(Error::BadInput(reason)) if reason.contains("already")));
    partial.finish(&stored, &target, true, &mut watch).expect("to replace it");
    assert!(fs::read(&target).expect("the file") == content);
    assert_eq!((shelf.parts_got.get(), files(directory.path())), (0, vec!["target".to_owned()]));
}

#[test]
fn one_key_never_encrypts_two_contents() {
    let shelf = Shelf::default();
    let mut tell = go_on;
    let mut watch = Watch::new(&shelf, PATIENCE, &mut tell);
    let directory = tempfile::tempdir().expect("a temporary folder");
    let path = directory.path().join("file");
    fs::write(&path, content()).expect("a file");
    let mut source = Source::read(fs::File::open(&path).expect("the file"), u64::MAX, &mut watch).expect("a source");
    let stored = stored(&content());
    let mut changed = content();
    changed[PART * 2] ^= 1;
    fs::write(&path, changed).expect("a file");
    let outcome = upload(&mut source, &stored, &mut watch);
    assert!(matches!(outcome, Err(Error::BadInput(reason)) if reason.contains("changed")));
    assert!(matches!(
        Source::read(Cursor::new(content()), 1000, &mut watch).err(),
        Some(Error::BadInput(reason)) if reason.contains("too large")
    ));
}

#[test]
fn a_transfer_that_nothing_moves_is_given_up() {
    struct Dead;
    impl Remote for Dead {
        fn call(&self, _: BlobCall) -> Awaited<BlobAnswered> {
            waiter().1
        }
        fn is_online(&self) -> Result<bool, Error> {
            Ok(true)
        }
        fn trouble(&self, _: Duration) -> Error {
            Error::Offline("it is dead".into())
        }
    }
    let mut tell = go_on;
    let mut watch = Watch::new(&Dead, Duration::from_millis(1), &mut tell);
    let stored = stored(&content());
    let outcome = fetch(&stored, &mut Streamed::new(&stored, &mut Vec::new()), &mut watch);
    assert!(matches!(outcome, Err(Error::Offline(_))));
}
