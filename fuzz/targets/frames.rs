//! The limit on message sizes: whatever the bytes and however they arrive, no more passes than the limit allows, and what
//! passes is the beginning of what came in.
#![no_main]

use arbitrary::Arbitrary;
use futures::FutureExt as _;
use futures::io::{AsyncRead, AsyncReadExt as _};
use libfuzzer_sys::fuzz_target;
use qpq_fuzz::frame::{FrameLimit, LimitedReader};

#[derive(Arbitrary, Debug)]
struct Input {
    limit: u16,
    chunk: u8,
    buffer: u8,
    bytes: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let parts = input.bytes.chunks(usize::from(input.chunk).max(1));
    let empty: std::pin::Pin<Box<dyn AsyncRead>> = Box::pin(futures::io::empty());
    let inner = parts.take(200).fold(empty, |before, part| Box::pin(before.chain(part)));
    let mut reader = LimitedReader::new(inner, FrameLimit::new(usize::from(input.limit)));
    let mut buffer = vec![0; usize::from(input.buffer).max(1)];
    let mut passed = Vec::new();
    let failed = loop {
        match reader.read(&mut buffer).now_or_never().expect("memory does not wait") {
            Ok(0) => break false,
            Ok(read) => passed.extend(&buffer[..read]),
            Err(_) => break true,
        }
    };
    assert!(input.bytes.starts_with(&passed));
    assert!(largest_message(&passed) <= usize::from(input.limit));
    if failed {
        assert!(reader.read(&mut buffer).now_or_never().expect("memory does not wait").is_err());
    }
});

/// The size of the largest complete message at the beginning of `bytes`.
fn largest_message(mut bytes: &[u8]) -> usize {
    let mut largest = 0;
    while bytes.len() >= 8 {
        let number = |at: usize| bytes.get(at..at + 4).map(|four| u32::from_le_bytes(four.try_into().expect("four")));
        let Some(segments) = number(0).and_then(|less_one| usize::try_from(less_one).ok()?.checked_add(1)) else {
            break;
        };
        let table = (4 + 4 * segments).next_multiple_of(8);
        let sizes: Option<Vec<u32>> = (0..segments).map(|index| number(4 + 4 * index)).collect();
        let Some(sizes) = sizes else { break };
        let total = table + sizes.iter().map(|words| *words as usize * 8).sum::<usize>();
        let Some(rest) = bytes.get(total..) else { break };
        largest = largest.max(total);
        bytes = rest;
    }
    largest
}
