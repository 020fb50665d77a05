//! MLS through OpenMLS: the provider over the engine's transaction, and the operations that the engine needs.

pub mod commit;
pub mod group;
pub mod key_package;
pub mod rejoin;
pub mod storage;
pub mod welcome;

#[cfg(test)]
mod vectors;

use ed25519_dalek::Signer as _;
use openmls::prelude::{CredentialWithKey, SignaturePublicKey};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::OpenMlsProvider;
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::types::SignatureScheme;
use qpq_proto::ids::GroupId;
use qpq_trust::credential::LeafId;

use crate::store::Store;
use crate::store::rows::AccountRow;
use storage::MlsStorage;

/// What OpenMLS works with during one engine step.
pub struct Provider<'a> {
    crypto: &'a RustCrypto,
    storage: MlsStorage<'a>,
}

impl<'a> Provider<'a> {
    /// Reads and writes this transaction.
    pub fn new(crypto: &'a RustCrypto, store: &'a mut dyn Store) -> Self {
        Self { crypto, storage: MlsStorage::new(store) }
    }
}

impl<'a> OpenMlsProvider for Provider<'a> {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = MlsStorage<'a>;

    fn storage(&self) -> &MlsStorage<'a> {
        &self.storage
    }

    fn crypto(&self) -> &RustCrypto {
        self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        self.crypto
    }
}

/// This device as a member: its credential and the key that signs.
pub struct Myself {
    pub leaf: LeafId,
    key: ed25519_dalek::SigningKey,
}

impl Myself {
    /// The device of this account.
    pub fn new(account: &AccountRow) -> Self {
        Self {
            leaf: LeafId { identity: account.identity, device: account.device },
            key: ed25519_dalek::SigningKey::from_bytes(&account.device_key),
        }
    }

    /// What goes into new leaves.
    pub fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: self.leaf.credential(),
            signature_key: SignaturePublicKey::from(self.key.verifying_key().to_bytes().to_vec()),
        }
    }

    /// Signs something outside MLS; `message` begins with a domain string.
    pub fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl Signer for Myself {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.key.sign(payload).to_bytes().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Our 16-byte id as OpenMLS wants it.
pub fn mls_id(group: GroupId) -> openmls::group::GroupId {
    openmls::group::GroupId::from_slice(&group.0)
}
