//! Making key packages.

use openmls::prelude::{KeyPackage, Lifetime};
use qpq_trust::key_package::MAX_LIFETIME;
use qpq_trust::suite::{Suite, capabilities};
use tls_codec::Serialize as _;

use super::{Myself, Provider};
use crate::error::Error;

/// One key package, its private keys stored; 30 days of lifetime.
pub fn generate(provider: &Provider<'_>, myself: &Myself, suite: Suite, last_resort: bool) -> Result<Vec<u8>, Error> {
    let mut builder =
        KeyPackage::builder().leaf_node_capabilities(capabilities()).key_package_lifetime(Lifetime::new(MAX_LIFETIME));
    if last_resort {
        builder = builder.mark_as_last_resort();
    }
    let bundle = builder.build(suite.ciphersuite(), provider, myself, myself.credential()).map_err(Error::mls)?;
    bundle.key_package().tls_serialize_detached().map_err(Error::mls)
}
