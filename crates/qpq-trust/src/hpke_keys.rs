//! The HPKE keys that a commit puts into the tree. Everybody encrypts to them later: a single one that cannot be encrypted to
//! would keep all others from ever committing again, so it is refused at the door.

use openmls::group::StagedCommit;
use openmls::prelude::{Ciphersuite, LeafNode, OpenMlsCrypto};
use openmls_traits::types::HpkeKemType;
use tls_codec::{DeserializeBytes, Serialize as _, VLBytes};
use x_wing::TryKeyInit as _;

use crate::error::TrustError;

/// Checks every key of the update path and of the key packages that are added.
///
/// # Errors
/// [`TrustError::NotAuthentic`] when one of them is no key.
pub fn check(
    crypto: &impl OpenMlsCrypto,
    suite: Ciphersuite,
    commit: &[u8],
    staged: &StagedCommit,
) -> Result<(), TrustError> {
    for key in path_keys(commit).ok_or_else(|| TrustError::Mls("an update path that cannot be read".into()))? {
        check_key(crypto, suite, key.as_slice())?;
    }
    for add in staged.add_proposals() {
        let package = add.add_proposal().key_package();
        check_key(crypto, suite, package.hpke_init_key().as_slice())?;
        check_leaf_key(crypto, suite, package.leaf_node())?;
    }
    Ok(())
}

/// Whether something can be encrypted to a leaf.
///
/// # Errors
/// [`TrustError::NotAuthentic`].
pub fn check_leaf_key(crypto: &impl OpenMlsCrypto, suite: Ciphersuite, leaf: &LeafNode) -> Result<(), TrustError> {
    let encoded = leaf.encryption_key().tls_serialize_detached().map_err(TrustError::mls)?;
    let key = VLBytes::tls_deserialize_exact_bytes(&encoded).map_err(TrustError::mls)?;
    check_key(crypto, suite, key.as_slice())
}

/// Whether something can be encrypted to a key.
///
/// # Errors
/// [`TrustError::NotAuthentic`].
pub fn check_key(crypto: &impl OpenMlsCrypto, suite: Ciphersuite, key: &[u8]) -> Result<(), TrustError> {
    let is_good = match suite.hpke_kem_algorithm() {
        // Encapsulating cannot fail when the key can be read (FIPS 203, section 7.2), and takes several times as long.
        HpkeKemType::XWingKemDraft6 => x_wing::EncapsulationKey::new_from_slice(key).is_ok(),
        _ => crypto.hpke_seal(suite.hpke_config(), key, &[], &[], &[]).is_ok(),
    };
    is_good.then_some(()).ok_or(TrustError::NotAuthentic("an encryption key that is none"))
}

/// The public keys of a commit's update path, the leaf's first; none when it has no path. OpenMLS has read the message
/// before, but does not show these. MLSMessage, FramedContent, Commit, UpdatePath: RFC 9420, sections 6, 12.4 and 7.6.
fn path_keys(message: &[u8]) -> Option<Vec<VLBytes>> {
    let mut rest = until_sender(message)?;
    match rest.byte()? {
        MEMBER => rest.skip(4)?,
        NEW_MEMBER_COMMIT => {}
        _ => return None,
    }
    rest.opaque()?; // authenticated data
    rest.skip(1)?; // content type
    rest.opaque()?; // proposals
    if rest.byte()? == 0 {
        return Some(Vec::new());
    }
    let mut keys = vec![rest.opaque()?];
    rest.opaque()?; // signature key
    rest.skip(2)?; // credential type
    for _ in 0..6 {
        rest.opaque()?; // identity; capabilities: versions, suites, extensions, proposals, credentials
    }
    (rest.byte()? == FROM_COMMIT).then_some(())?;
    for _ in 0..3 {
        rest.opaque()?; // parent hash, extensions, signature
    }
    let nodes = rest.opaque()?;
    let mut nodes = Rest(nodes.as_slice());
    while !nodes.0.is_empty() {
        keys.push(nodes.opaque()?);
        nodes.opaque()?; // encrypted path secrets
    }
    Some(keys)
}

/// The sender type of an MLSMessage(PublicMessage), if it is long enough to have one.
pub fn sender_type(message: &[u8]) -> Option<u8> {
    until_sender(message)?.byte()
}

fn until_sender(message: &[u8]) -> Option<Rest<'_>> {
    let mut rest = Rest(message);
    rest.skip(4)?; // version, wire format
    rest.opaque()?; // group id
    rest.skip(8)?; // epoch
    Some(rest)
}

/// Bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.0.first()?;
        self.skip(1)?;
        Some(byte)
    }

    fn opaque(&mut self) -> Option<VLBytes> {
        let (value, rest) = VLBytes::tls_deserialize_bytes(self.0).ok()?;
        self.0 = rest;
        Some(value)
    }
}

/// SenderType (RFC 9420, section 6).
const MEMBER: u8 = 1;
pub const NEW_MEMBER_COMMIT: u8 = 4;
/// LeafNodeSource (RFC 9420, section 7.2).
const FROM_COMMIT: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Suite;
    use openmls_rust_crypto::RustCrypto;

    #[test]
    fn a_key_that_is_none_is_refused() {
        let crypto = RustCrypto::default();
        for suite in Suite::ALL.map(Suite::ciphersuite) {
            let good = crypto.derive_hpke_keypair(suite.hpke_config(), &[7; 64]).expect("a key pair").public;
            assert_eq!(check_key(&crypto, suite, &good), Ok(()));
            let zeros = vec![0; good.len()];
            for key in [vec![], vec![0], good[1..].to_vec(), [&good[..], &[0]].concat(), vec![0xff; 5000], zeros] {
                let can_seal = crypto.hpke_seal(suite.hpke_config(), &key, &[], &[], &[]).is_ok();
                let checked = check_key(&crypto, suite, &key);
                assert_eq!(checked.is_ok(), can_seal, "{suite:?} with {} bytes", key.len());
                assert!(checked.is_err() || key.len() == good.len());
            }
        }
        // An ML-KEM key whose coefficients are not below the modulus (FIPS 203, section 7.2).
        let hybrid = Suite::Hybrid.ciphersuite();
        let good = crypto.derive_hpke_keypair(hybrid.hpke_config(), &[7; 64]).expect("a key pair").public;
        let above = [&[0xff; 3][..], &good[3..]].concat();
        for bad in [vec![0xff; good.len()], above] {
            assert!(check_key(&crypto, hybrid, &bad).is_err());
            assert!(crypto.hpke_seal(hybrid.hpke_config(), &bad, &[], &[], &[]).is_err());
        }
    }
}
