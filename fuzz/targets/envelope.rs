//! Envelopes: what was sealed opens, and nothing else does.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use qpq_core::crypto::envelope::{EnvelopeKey, seal};
use qpq_fuzz::edits::Edits;
use qpq_proto::ids::DeviceId;

static KEY: LazyLock<(EnvelopeKey, Vec<u8>)> = LazyLock::new(|| {
    let key = EnvelopeKey::from_seed(&[7; 32]);
    let public = key.public();
    (key, public)
});

#[derive(Arbitrary, Debug)]
enum Input {
    Raw(Vec<u8>),
    Edited(Vec<u8>, Edits),
    Key(Vec<u8>, Edits),
}

const DEVICE: DeviceId = DeviceId([3; 16]);

fuzz_target!(|input: Input| {
    let (key, public) = &*KEY;
    match input {
        Input::Raw(bytes) => assert!(key.open(DEVICE, &bytes).is_err()),
        Input::Edited(plaintext, edits) => {
            let envelope = seal(DEVICE, public, &plaintext).expect("own key");
            assert_eq!(key.open(DEVICE, &envelope).expect("own envelope").as_slice(), plaintext);
            let edited = edits.apply(&envelope);
            assert_eq!(key.open(DEVICE, &edited).is_ok(), edited == envelope);
        }
        Input::Key(plaintext, edits) => drop(seal(DEVICE, &edits.apply(public), &plaintext)),
    }
});
