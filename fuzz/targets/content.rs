//! End-to-end content, as another member sent it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qpq_proto::content::{Body, Content};
use qpq_proto::limits;

fuzz_target!(|bytes: &[u8]| {
    let Ok(content) = Content::decode(bytes) else { return };
    assert!(content.text().len() <= limits::TEXT);
    let again = Content::decode(&content.encode()).expect("own encoding");
    match content.body {
        // Written again, an unknown kind is an empty text with the same fallback.
        Body::Unknown => assert_eq!(again.fallback, content.fallback),
        _ => assert_eq!(again, content),
    }
});
