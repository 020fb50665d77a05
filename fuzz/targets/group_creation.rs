//! Group info and ratchet tree of a new group, as the server judges them, and trees as joiners get them.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use openmls::prelude::RatchetTreeIn;
use openmls_rust_crypto::{MemoryStorage, RustCrypto};
use qpq_fuzz::edits::Edits;
use qpq_fuzz::members::{Person, creation};
use qpq_proto::groups::NewGroup;
use qpq_trust::group::{new_public_group, roster};
use qpq_trust::suite::Suite;
use tls_codec::DeserializeBytes as _;

static VALID: LazyLock<Vec<NewGroup>> = LazyLock::new(|| {
    let group = |suite| {
        let person = Person::new(1);
        creation(&person, &person.group(suite))
    };
    Suite::ALL.map(group).into()
});

#[derive(Arbitrary, Debug)]
enum Input {
    Raw { group_info: Vec<u8>, ratchet_tree: Vec<u8> },
    Tree(Vec<u8>),
    Edited { which: u8, info: Edits, tree: Edits },
}

fuzz_target!(|input: Input| {
    let new = match input {
        Input::Raw { group_info, ratchet_tree } => NewGroup { group_info, ratchet_tree, first: None },
        Input::Tree(bytes) => {
            let _ = RatchetTreeIn::tls_deserialize_exact_bytes(&bytes);
            return;
        }
        Input::Edited { which, info, tree } => {
            let valid = &VALID[usize::from(which) % VALID.len()];
            let (group_info, ratchet_tree) = (info.apply(&valid.group_info), tree.apply(&valid.ratchet_tree));
            NewGroup { group_info, ratchet_tree, first: None }
        }
    };
    if let Ok(group) = new_public_group(&RustCrypto::default(), &MemoryStorage::default(), &new) {
        assert_eq!(roster(&group).expect("checked").len(), 1);
    }
});
