//! Key packages as a device publishes them and as the server hands them out.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use openmls_rust_crypto::RustCrypto;
use qpq_fuzz::edits::Edits;
use qpq_fuzz::members::{Person, now};
use qpq_trust::key_package::{MAX_LIFETIME, validate};
use qpq_trust::suite::Suite;
use tls_codec::Serialize as _;

static VALID: LazyLock<(Person, Vec<Vec<u8>>)> = LazyLock::new(|| {
    let person = Person::new(1);
    let kinds = Suite::ALL.into_iter().flat_map(|suite| [(suite, false), (suite, true)]);
    let packages =
        kinds.map(|(suite, last)| person.key_package(suite, last).tls_serialize_detached().expect("encodes"));
    let packages = packages.collect();
    (person, packages)
});

#[derive(Arbitrary, Debug)]
enum Input {
    Raw(Vec<u8>),
    Edited(u8, Edits, i32),
}

fuzz_target!(|input: Input| {
    let (person, packages) = &*VALID;
    let (bytes, original, later) = match &input {
        Input::Raw(bytes) => (bytes.clone(), None, 0),
        Input::Edited(which, edits, later) => {
            let original = &packages[usize::from(*which) % packages.len()];
            (edits.apply(original), Some(original), i64::from(*later))
        }
    };
    let now = qpq_proto::time::Timestamp(now().0.saturating_add_signed(later * 1000));
    if let Ok(valid) = validate(&RustCrypto::default(), &bytes, person.identity(), &person.record, now) {
        assert_eq!(Some(&bytes), original, "only what was signed is valid");
        assert!(valid.expires.as_seconds() > now.as_seconds());
        assert!(valid.expires.as_seconds() - now.as_seconds() <= MAX_LIFETIME + 3 * 24 * 3600);
    }
});
