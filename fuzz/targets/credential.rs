//! MLS credentials and the leaves that carry them.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use openmls::prelude::{BasicCredential, Credential, CredentialType};
use qpq_trust::credential::{Leaf, LeafId};

#[derive(Arbitrary, Debug)]
struct Input {
    kind: u16,
    basic: bool,
    identity: Vec<u8>,
    signature_key: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let credential: Credential = match input.basic {
        true => BasicCredential::new(input.identity).into(),
        false => Credential::new(CredentialType::from(input.kind), input.identity),
    };
    if let Ok(id) = LeafId::from_credential(&credential) {
        assert_eq!(LeafId::from_credential(&id.credential()), Ok(id));
    }
    let _ = Leaf::new(&credential, &input.signature_key);
});
