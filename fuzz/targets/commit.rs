//! Handshakes as server and members judge them: any bytes, changed valid ones, and validly signed nonsense of a member.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use openmls_rust_crypto::RustCrypto;
use qpq_fuzz::edits::Edits;
use qpq_fuzz::members::{Pair, Person};
use qpq_trust::commit::{process, process_leave};
use qpq_trust::suite::Suite;
use tls_codec::{DeserializeBytes as _, Serialize as _, VLBytes};

/// The group, and commits and proposals that are valid in it.
struct Valid {
    pair: Pair,
    messages: Vec<Vec<u8>>,
    /// Only what follows the framing, of the same messages: (is a commit, content).
    contents: Vec<(bool, Vec<u8>)>,
}

static VALID: LazyLock<Valid> = LazyLock::new(|| {
    let mut pair = Pair::new();
    let mut messages = Vec::new();
    let (provider, signer) = (&pair.alice.provider, &pair.alice.signer);
    let carol = Person::new(3).key_package(Suite::Hybrid, false);
    let encode = |message: openmls::prelude::MlsMessageOut| message.tls_serialize_detached().expect("encodes");
    let index = pair.group.members().last().expect("bob").index;
    let update = pair.group.self_update(provider, signer, Default::default()).expect("update").into_commit();
    messages.push(encode(update));
    pair.group.clear_pending_commit(openmls::prelude::OpenMlsProvider::storage(provider)).expect("memory");
    messages.push(encode(pair.group.add_members(provider, signer, &[carol]).expect("add").0));
    pair.group.clear_pending_commit(openmls::prelude::OpenMlsProvider::storage(provider)).expect("memory");
    messages.push(encode(pair.group.remove_members(provider, signer, &[index]).expect("remove").0));
    pair.group.clear_pending_commit(openmls::prelude::OpenMlsProvider::storage(provider)).expect("memory");
    messages.push(encode(pair.group.leave_group(provider, signer).expect("leave")));
    let contents = messages.iter().map(|message| content(message)).collect();
    Valid { pair, messages, contents }
});

/// Cuts framing and tags off a PublicMessage of a member.
fn content(message: &[u8]) -> (bool, Vec<u8>) {
    let (_, rest) = VLBytes::tls_deserialize_bytes(&message[4..]).expect("group id");
    let (_, rest) = VLBytes::tls_deserialize_bytes(&rest[8 + 1 + 4..]).expect("authenticated data");
    let is_commit = rest[0] == 3;
    // Signature (2 + 64), confirmation tag (1 + 48) of a commit, membership tag (1 + 48).
    let tail = 66 + 49 + if is_commit { 49 } else { 0 };
    (is_commit, rest[1..rest.len() - tail].to_vec())
}

#[derive(Arbitrary, Debug)]
enum Input {
    Raw(Vec<u8>),
    Edited(u8, Edits),
    Resigned(u8, Edits),
    Signed(bool, Vec<u8>),
}

fuzz_target!(|input: Input| {
    let Valid { pair, messages, contents } = &*VALID;
    let bytes = match input {
        Input::Raw(bytes) => bytes,
        Input::Edited(which, edits) => edits.apply(&messages[usize::from(which) % messages.len()]),
        Input::Resigned(which, edits) => {
            let (is_commit, content) = &contents[usize::from(which) % contents.len()];
            pair.signed(*is_commit, &edits.apply(content))
        }
        Input::Signed(is_commit, content) => pair.signed(is_commit, &content),
    };
    let crypto = RustCrypto::default();
    if let Ok((_, review)) = process(&crypto, &pair.public, &bytes, &BTreeSet::new()) {
        assert_eq!(review.committer.id, pair.alice.leaf, "nobody else has signed anything");
        assert_eq!(review.before.kind, review.after.kind);
    }
    if let Ok(leaver) = process_leave(&crypto, &pair.public, &bytes) {
        assert_eq!(leaver.id, pair.alice.leaf);
    }
});
