//! Hybrid identities: an Ed25519 and an ML-DSA-65 key pair, and both signatures must verify.

use ed25519_dalek::Signer as _;
use ml_dsa::{B32, KeyExport as _, Keypair as _, MlDsa65};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use qpq_proto::ids::{DeviceId, IdentityId};
use qpq_proto::keys::{DeviceRecord, ManifestBody, SignedManifest};
use qpq_proto::limits;

use crate::error::TrustError;
use crate::manifest::Manifest;

/// The public half: what an [`IdentityId`] is the hash of.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicIdentity {
    pub ed25519: [u8; 32],
    pub ml_dsa_65: Vec<u8>,
}

impl PublicIdentity {
    /// SHA-256 over a domain string and both public keys.
    pub fn id(&self) -> IdentityId {
        let mut hash = Sha256::new();
        hash.update(b"quicproquo identity 1\0");
        hash.update(self.ed25519);
        hash.update(&self.ml_dsa_65);
        IdentityId(hash.finalize().into())
    }

    /// Checks both signatures over the end of a transcript's chain.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_transcript(&self, chain: &[u8; 32], ed25519: &[u8; 64], ml_dsa_65: &[u8]) -> Result<(), TrustError> {
        self.verify(&transcript_message(chain), ed25519, ml_dsa_65)
    }

    /// Checks both signatures over `message`.
    ///
    /// # Errors
    /// [`TrustError::NotAuthentic`] when a key is no key or either signature does not verify.
    pub fn verify(&self, message: &[u8], ed25519: &[u8; 64], ml_dsa_65: &[u8]) -> Result<(), TrustError> {
        verify_ed25519(&self.ed25519, message, ed25519)?;
        let key = ml_dsa::EncodedVerifyingKey::<MlDsa65>::try_from(&self.ml_dsa_65[..])
            .map_err(|_| TrustError::NotAuthentic("no ML-DSA-65 key"))?;
        let signature = ml_dsa::Signature::<MlDsa65>::try_from(ml_dsa_65)
            .map_err(|_| TrustError::NotAuthentic("no ML-DSA-65 signature"))?;
        if ml_dsa::VerifyingKey::<MlDsa65>::decode(&key).verify_with_context(message, CONTEXT, &signature) {
            Ok(())
        } else {
            Err(TrustError::NotAuthentic("ML-DSA-65 signature"))
        }
    }
}

/// The secret half. Two 32-byte seeds, zeroized on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct IdentityKeys {
    ed25519: [u8; 32],
    ml_dsa_65: [u8; 32],
}

impl IdentityKeys {
    /// Fresh keys from the operating system's random numbers.
    ///
    /// # Errors
    /// When the operating system has none.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut keys = Self { ed25519: [0; 32], ml_dsa_65: [0; 32] };
        getrandom::fill(&mut keys.ed25519)?;
        getrandom::fill(&mut keys.ml_dsa_65)?;
        Ok(keys)
    }

    /// The keys that [`Self::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut keys = Self { ed25519: [0; 32], ml_dsa_65: [0; 32] };
        keys.ed25519.copy_from_slice(&bytes[..32]);
        keys.ml_dsa_65.copy_from_slice(&bytes[32..]);
        keys
    }

    /// Both seeds. Whoever has them is this identity.
    pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; 64]> {
        let mut bytes = zeroize::Zeroizing::new([0; 64]);
        bytes[..32].copy_from_slice(&self.ed25519);
        bytes[32..].copy_from_slice(&self.ml_dsa_65);
        bytes
    }

    /// The public half.
    pub fn public(&self) -> PublicIdentity {
        PublicIdentity {
            ed25519: ed25519_dalek::SigningKey::from_bytes(&self.ed25519).verifying_key().to_bytes(),
            ml_dsa_65: self.ml_dsa().verifying_key().to_bytes().to_vec(),
        }
    }

    /// Signs a manifest of `devices` with both keys.
    pub fn sign_manifest(
        &self,
        version: u64,
        previous: Option<[u8; 32]>,
        devices: Vec<DeviceRecord>,
    ) -> SignedManifest {
        self.sign_body(version, previous, devices, vec![])
    }

    /// Signs the manifest that follows `known`. It remembers the devices that it drops as former ones.
    pub fn sign_successor(&self, known: &Manifest, devices: Vec<DeviceRecord>) -> SignedManifest {
        let is_kept = |id: &DeviceId| devices.iter().any(|record| device_id(&record.signature_key) == *id);
        let dropped = known.devices().iter().map(|record| device_id(&record.signature_key)).filter(|id| !is_kept(id));
        let mut former: Vec<_> = known.former().iter().copied().chain(dropped).collect();
        former.drain(..former.len().saturating_sub(limits::FORMER_DEVICES));
        self.sign_body(known.version().saturating_add(1), Some(known.hash()), devices, former)
    }

    fn sign_body(
        &self,
        version: u64,
        previous: Option<[u8; 32]>,
        devices: Vec<DeviceRecord>,
        former: Vec<DeviceId>,
    ) -> SignedManifest {
        let PublicIdentity { ed25519, ml_dsa_65 } = self.public();
        let body = ManifestBody { version, previous, ed25519, ml_dsa_65, devices, former }.encode();
        let (ed25519, ml_dsa_65) = self.sign(&manifest_message(&body));
        SignedManifest { body, ed25519, ml_dsa_65 }
    }

    /// Signs the end of a transcript's chain with both keys: Ed25519 and ML-DSA-65.
    pub fn sign_transcript(&self, chain: &[u8; 32]) -> ([u8; 64], Vec<u8>) {
        self.sign(&transcript_message(chain))
    }

    /// `message` begins with a domain string of its own.
    fn sign(&self, message: &[u8]) -> ([u8; 64], Vec<u8>) {
        let ml_dsa_65 = self
            .ml_dsa()
            .expanded_key()
            .sign_deterministic(message, CONTEXT)
            .expect("the context is shorter than 256 bytes")
            .encode()
            .to_vec();
        (ed25519_dalek::SigningKey::from_bytes(&self.ed25519).sign(message).to_bytes(), ml_dsa_65)
    }

    fn ml_dsa(&self) -> ml_dsa::SigningKey<MlDsa65> {
        ml_dsa::SigningKey::from_seed(&B32::from(self.ml_dsa_65))
    }
}

/// The first 16 bytes of the SHA-256 of a device's signature key.
pub fn device_id(signature_key: &[u8; 32]) -> DeviceId {
    let hash: [u8; 32] = Sha256::digest(signature_key).into();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    DeviceId(id)
}

/// Checks an Ed25519 signature strictly (no small-order keys, no malleability).
///
/// # Errors
/// [`TrustError::NotAuthentic`].
pub fn verify_ed25519(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), TrustError> {
    ed25519_dalek::VerifyingKey::from_bytes(key)
        .and_then(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)))
        .map_err(|_| TrustError::NotAuthentic("Ed25519 signature"))
}

/// What both identity keys sign at the end of a transcript.
fn transcript_message(chain: &[u8; 32]) -> Vec<u8> {
    [b"quicproquo transcript 1\0".as_slice(), chain].concat()
}

/// What both identity keys sign for a manifest body.
pub(crate) fn manifest_message(body: &[u8]) -> Vec<u8> {
    [b"quicproquo manifest 1\0".as_slice(), body].concat()
}

/// The ML-DSA context string (FIPS 204, section 5.2).
const CONTEXT: &[u8] = b"quicproquo";
