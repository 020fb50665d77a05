//! Histories that come from another device, in pieces: what is read does not depend on where they are cut.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use qpq_core::store::archive::{BEGINNING, Reader};

#[derive(Arbitrary, Debug)]
struct Input {
    /// Without the beginning nothing would be read.
    has_beginning: bool,
    bytes: Vec<u8>,
    pieces: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let mut archive = if input.has_beginning { BEGINNING.to_vec() } else { vec![] };
    archive.extend(&input.bytes);
    let mut whole = Reader::default();
    let at_once = whole.take(&archive);
    let (mut reader, mut records, mut rest) = (Reader::default(), vec![], &*archive);
    for length in input.pieces.iter().map(|length| usize::from(*length)).chain([usize::MAX]) {
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        match reader.take(piece) {
            Ok(some) => records.extend(some),
            Err(_) => return assert!(at_once.is_err()),
        }
    }
    assert_eq!(at_once.expect("the pieces were taken"), records);
    assert_eq!((reader.is_complete(), reader.failed), (whole.is_complete(), whole.failed));
    for record in records {
        let frame = record.frame().expect("a record");
        assert_eq!(Reader::default().take(&[&BEGINNING[..], &frame].concat()).expect("own frame"), [record]);
    }
});
