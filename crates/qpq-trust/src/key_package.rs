//! Key packages: whose they are, how long they live, what they can do.

use openmls::prelude::{KeyPackage, KeyPackageIn, Lifetime, OpenMlsCrypto, ProtocolVersion};
use tls_codec::DeserializeBytes as _;

use qpq_proto::ids::{DeviceId, IdentityId};
use qpq_proto::keys::DeviceRecord;
use qpq_proto::time::Timestamp;

use crate::credential::Leaf;
use crate::error::TrustError;
use crate::identity::device_id;
use crate::suite::{Suite, required_capabilities};

/// Longest lifetime of a key package, in seconds: 30 days.
pub const MAX_LIFETIME: u64 = 30 * 24 * 3600;
/// How far the clocks of two devices may be from the server's, in seconds: a week. OpenMLS compares with the clock of the
/// machine that it runs on, and refuses whatever is not valid yet or any more.
pub const CLOCK_SKEW: u64 = 7 * 24 * 3600;
/// By how much OpenMLS lets a lifetime begin early, in seconds.
const MARGIN: u64 = 3600;

/// Of so many seconds in all, a week of which is over already, for those whose clocks are behind.
pub fn lifetime(seconds: u64) -> Lifetime {
    let from_now_on = Lifetime::new(seconds.saturating_sub(CLOCK_SKEW));
    let not_before = (from_now_on.not_before() + MARGIN).saturating_sub(CLOCK_SKEW);
    Lifetime::init(not_before, from_now_on.not_after())
}

/// A key package that passed every check.
pub struct ValidKeyPackage {
    pub package: KeyPackage,
    pub device: DeviceId,
    pub suite: Suite,
    pub last_resort: bool,
    pub expires: Timestamp,
    /// The hash reference (RFC 9420, section 5.2).
    pub reference: Vec<u8>,
}

/// Checks an encoded key package of the device that `record` describes.
///
/// # Errors
/// Whatever is wrong with it: signature, suite, credential, key, capabilities or lifetime.
pub fn validate(
    crypto: &impl OpenMlsCrypto,
    bytes: &[u8],
    identity: IdentityId,
    record: &DeviceRecord,
    now: Timestamp,
) -> Result<ValidKeyPackage, TrustError> {
    let package = KeyPackageIn::tls_deserialize_exact_bytes(bytes)
        .map_err(TrustError::mls)?
        .validate(crypto, ProtocolVersion::Mls10)
        .map_err(TrustError::mls)?;
    let suite = Suite::try_from(package.ciphersuite())?;
    let leaf = Leaf::of_node(package.leaf_node())?;
    if leaf.id.identity != identity || leaf.signature_key != record.signature_key {
        return Err(TrustError::UnlistedDevice);
    }
    let capabilities = package.leaf_node().capabilities();
    let required = required_capabilities();
    let capable = required.extension_types().iter().all(|kind| capabilities.extensions().contains(kind))
        && required.proposal_types().iter().all(|kind| capabilities.proposals().contains(kind));
    if !capable {
        return Err(TrustError::Forbidden("a key package lacks a required capability"));
    }
    let (from, until) = (package.life_time().not_before(), package.life_time().not_after());
    let seconds = now.as_seconds();
    if until <= seconds || from > seconds + CLOCK_SKEW || until.saturating_sub(from) > MAX_LIFETIME + MARGIN {
        return Err(TrustError::Lifetime);
    }
    Ok(ValidKeyPackage {
        device: device_id(&record.signature_key),
        suite,
        last_resort: package.last_resort(),
        expires: Timestamp(until.saturating_mul(1000)),
        reference: package.hash_ref(crypto).map_err(TrustError::mls)?.as_slice().to_vec(),
        package,
    })
}
