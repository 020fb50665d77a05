//! Device manifests that were verified: which devices an identity has.

use sha2::{Digest as _, Sha256};

use qpq_proto::ids::{DeviceId, IdentityId};
use qpq_proto::keys::{DeviceRecord, ManifestBody, SignedManifest};

use crate::error::TrustError;
use crate::identity::{PublicIdentity, device_id, manifest_message};

/// A manifest whose signatures hold, or held when it was stored: there is no other way to get one than [`Manifest::verify`] and,
/// for what one has verified before, [`Manifest::restore`].
#[derive(Clone, PartialEq, Eq)]
pub struct Manifest {
    identity: IdentityId,
    body: ManifestBody,
    encoded: Vec<u8>,
}

impl Manifest {
    /// Decodes and checks an encoded [`SignedManifest`]: both signatures, at least one device, no device twice.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] or [`TrustError::NotAuthentic`].
    pub fn verify(encoded: &[u8]) -> Result<Self, TrustError> {
        let (manifest, signed, public) = Self::read(encoded)?;
        public.verify(&manifest_message(&signed.body), &signed.ed25519, &signed.ml_dsa_65)?;
        Ok(manifest)
    }

    /// Reads back what [`encoded`](Self::encoded) gave, from a store that nobody else writes and that is authenticated. The
    /// signatures are not checked again, which takes most of [`verify`](Self::verify)'s 0.2 ms.
    ///
    /// # Errors
    /// [`TrustError::Malformed`] or [`TrustError::NotAuthentic`]: it was never a manifest.
    pub fn restore(encoded: &[u8]) -> Result<Self, TrustError> {
        Ok(Self::read(encoded)?.0)
    }

    fn read(encoded: &[u8]) -> Result<(Self, SignedManifest, PublicIdentity), TrustError> {
        let signed = SignedManifest::decode(encoded)?;
        let body = ManifestBody::decode(&signed.body)?;
        let public = PublicIdentity { ed25519: body.ed25519, ml_dsa_65: body.ml_dsa_65.clone() };
        if body.version == 0 || (body.version == 1) != body.previous.is_none() {
            return Err(TrustError::NotAuthentic("manifest version and predecessor do not fit"));
        }
        let mut ids: Vec<_> = body.devices.iter().map(|device| device_id(&device.signature_key)).collect();
        ids.sort_unstable();
        if ids.is_empty() || !ids.is_sorted_by(|a, b| a < b) {
            return Err(TrustError::NotAuthentic("a manifest lists each device once, and at least one"));
        }
        Ok((Self { identity: public.id(), body, encoded: encoded.to_vec() }, signed, public))
    }

    /// Whose devices these are.
    pub fn identity(&self) -> IdentityId {
        self.identity
    }

    /// Grows by one with every manifest of the identity.
    pub fn version(&self) -> u64 {
        self.body.version
    }

    /// All devices.
    pub fn devices(&self) -> &[DeviceRecord] {
        &self.body.devices
    }

    /// Devices that earlier manifests listed, the newest last.
    pub fn former(&self) -> &[DeviceId] {
        &self.body.former
    }

    /// The record of one device.
    pub fn device(&self, id: DeviceId) -> Option<&DeviceRecord> {
        self.body.devices.iter().find(|record| device_id(&record.signature_key) == id)
    }

    /// The bytes that were verified.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// SHA-256 of the encoded manifest: what the next one names as its predecessor.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.encoded).into()
    }

    /// Checks that this manifest may take the place of `known`: the same identity, and either the very same manifest
    /// or a newer one. The direct successor must name `known` as its predecessor.
    ///
    /// # Errors
    /// [`TrustError::Rollback`] for an older version, [`TrustError::NotAuthentic`] for another identity or a fork.
    pub fn check_succeeds(&self, known: &Self) -> Result<(), TrustError> {
        if self.identity != known.identity {
            return Err(TrustError::NotAuthentic("another identity"));
        }
        if self.version() < known.version() {
            return Err(TrustError::Rollback { known: known.version(), offered: self.version() });
        }
        let forked = self.version() == known.version() && self.encoded != known.encoded
            || Some(self.version()) == known.version().checked_add(1) && self.body.previous != Some(known.hash());
        if forked { Err(TrustError::NotAuthentic("two manifests of one version")) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manifest").field("identity", &self.identity).field("version", &self.version()).finish()
    }
}

#[cfg(test)]
mod tests {
    use qpq_proto::keys::X_WING_PUBLIC;

    use super::*;
    use crate::identity::IdentityKeys;

    fn device(number: u8) -> DeviceRecord {
        DeviceRecord { signature_key: [number; 32], envelope_key: vec![number; X_WING_PUBLIC], name: "d".into() }
    }

    fn verify(signed: &SignedManifest) -> Result<Manifest, TrustError> {
        Manifest::verify(&signed.encode())
    }

    #[test]
    fn both_signatures_must_hold() {
        let keys = IdentityKeys::generate().expect("random numbers");
        let signed = keys.sign_manifest(1, None, vec![device(1)]);
        let manifest = verify(&signed).expect("own manifest");
        assert_eq!(manifest.identity(), keys.public().id());
        assert!(manifest.device(device_id(&[1; 32])).is_some());
        assert!(manifest.device(device_id(&[2; 32])).is_none());

        let mut forged = signed.clone();
        forged.ed25519[0] ^= 1;
        assert!(verify(&forged).is_err());
        let mut forged = signed.clone();
        forged.ml_dsa_65[9] ^= 1;
        assert!(verify(&forged).is_err());
        let mut forged = signed;
        let last = forged.body.len() - 9;
        forged.body[last] ^= 1;
        assert!(verify(&forged).is_err());
    }

    #[test]
    fn what_was_verified_is_read_back() {
        let keys = IdentityKeys::generate().expect("random numbers");
        let manifest = verify(&keys.sign_manifest(1, None, vec![device(1)])).expect("own manifest");
        let restored = Manifest::restore(manifest.encoded()).expect("the same");
        assert_eq!((restored.identity(), restored.hash()), (manifest.identity(), manifest.hash()));
        assert!(Manifest::restore(b"something else").is_err());
    }

    #[test]
    fn rollbacks_forks_and_strangers_are_refused() {
        let keys = IdentityKeys::generate().expect("random numbers");
        let first = verify(&keys.sign_manifest(1, None, vec![device(1)])).expect("first");
        let second = verify(&keys.sign_manifest(2, Some(first.hash()), vec![device(1), device(2)])).expect("second");
        let fork = verify(&keys.sign_manifest(2, Some([0; 32]), vec![device(3)])).expect("fork");
        assert_eq!(second.check_succeeds(&first), Ok(()));
        assert_eq!(first.check_succeeds(&first), Ok(()));
        assert_eq!(first.check_succeeds(&second), Err(TrustError::Rollback { known: 2, offered: 1 }));
        assert!(fork.check_succeeds(&first).is_err());
        assert!(fork.check_succeeds(&second).is_err());
        let other = IdentityKeys::generate().expect("random numbers");
        let stranger = verify(&other.sign_manifest(1, None, vec![device(1)])).expect("stranger");
        assert!(stranger.check_succeeds(&first).is_err());
    }

    #[test]
    fn a_successor_follows_and_remembers() {
        let keys = IdentityKeys::generate().expect("random numbers");
        let first = verify(&keys.sign_manifest(1, None, vec![device(1), device(2)])).expect("first");
        let second = verify(&keys.sign_successor(&first, vec![device(2), device(3)])).expect("second");
        assert_eq!((second.version(), second.check_succeeds(&first)), (2, Ok(())));
        assert_eq!(second.former(), [device_id(&[1; 32])]);
        let third = verify(&keys.sign_successor(&second, vec![device(3)])).expect("third");
        assert_eq!(third.former(), [device_id(&[1; 32]), device_id(&[2; 32])]);
    }

    #[test]
    fn a_device_is_listed_once() {
        let keys = IdentityKeys::generate().expect("random numbers");
        assert!(verify(&keys.sign_manifest(1, None, vec![device(1), device(1)])).is_err());
        assert!(verify(&keys.sign_manifest(1, None, vec![])).is_err());
        assert!(verify(&keys.sign_manifest(2, None, vec![device(1)])).is_err());
    }
}
