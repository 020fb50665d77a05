//! Manifests that were verified, in memory: checking one costs an ML-DSA verification.

use std::sync::Arc;

use moka::sync::Cache;
use qpq_proto::code::Refusal;
use qpq_proto::ids::IdentityId;
use qpq_trust::manifest::Manifest;

use crate::store::account::{Account, AccountKey};

use super::{Service, refuse};

/// Bounded by the number of identities.
pub struct Manifests {
    verified: Cache<(IdentityId, u64), Arc<Manifest>>,
}

impl Manifests {
    pub fn new() -> Self {
        Self { verified: Cache::new(CAPACITY) }
    }
}

/// A manifest takes 12 to 45 KiB, so that this is a few MiB: verifying one again costs 0.1 ms.
const CAPACITY: u64 = 256;

impl Service {
    /// The manifest of a stored account.
    pub(super) fn manifest_of(&self, account: &Account) -> Result<Arc<Manifest>, Refusal> {
        let key = (account.identity, account.manifest_version);
        // An identity that was deleted may have come back with another first version.
        if let Some(known) = self.manifests.verified.get(&key).filter(|known| known.encoded() == account.manifest) {
            return Ok(known);
        }
        // It was verified before it was stored.
        let manifest = Manifest::verify(&account.manifest)
            .map(Arc::new)
            .map_err(|_| refuse::internal("a stored manifest is not authentic"))?;
        self.manifests.verified.insert(key, manifest.clone());
        Ok(manifest)
    }

    /// The newest manifest of an identity; none if it has no account here.
    pub(super) async fn newest_manifest(&self, identity: IdentityId) -> Result<Option<Arc<Manifest>>, Refusal> {
        match self.store.account(AccountKey::Identity(identity)).await? {
            Some(account) => self.manifest_of(&account).map(Some),
            None => Ok(None),
        }
    }
}
