//! Making key packages.

use openmls::prelude::KeyPackage;
use qpq_trust::key_package::{MAX_LIFETIME, lifetime};
use qpq_trust::suite::{Suite, capabilities};
use tls_codec::Serialize as _;

use super::{Myself, Provider};
use crate::error::Error;

/// One key package, its private keys stored.
pub fn generate(provider: &Provider<'_>, myself: &Myself, suite: Suite, last_resort: bool) -> Result<Vec<u8>, Error> {
    let mut builder =
        KeyPackage::builder().leaf_node_capabilities(capabilities()).key_package_lifetime(lifetime(MAX_LIFETIME));
    if last_resort {
        builder = builder.mark_as_last_resort();
    }
    let bundle = builder.build(suite.ciphersuite(), provider, myself, myself.credential()).map_err(Error::mls)?;
    bundle.key_package().tls_serialize_detached().map_err(Error::mls)
}

#[cfg(test)]
mod tests {
    use openmls_rust_crypto::RustCrypto;
    use qpq_proto::time::Timestamp;
    use qpq_trust::key_package::validate;
    use qpq_trust::manifest::Manifest;

    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn what_is_generated_is_valid() {
        let account = crate::account::generate(&"alice".parse().expect("a name"), "device").expect("random numbers");
        let manifest = Manifest::verify(&account.manifest).expect("own manifest");
        let myself = Myself::new(&account);
        let (crypto, mut store) = (RustCrypto::default(), MemoryStore::default());
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
        let now = Timestamp(since_epoch.expect("a clock after 1970").as_millis() as u64);
        for suite in Suite::ALL {
            for last_resort in [false, true] {
                let bytes = generate(&Provider::new(&crypto, &mut store), &myself, suite, last_resort).expect("new");
                let valid = validate(&crypto, &bytes, account.identity, &manifest.devices()[0], now);
                let valid = valid.unwrap_or_else(|error| panic!("{suite:?}, last resort {last_resort}: {error}"));
                assert_eq!((valid.suite, valid.last_resort), (suite, last_resort));
            }
        }
    }
}
