//! The manifests of stored accounts, which were verified before they were stored.

use qpq_proto::code::Refusal;
use qpq_proto::ids::IdentityId;
use qpq_trust::manifest::Manifest;

use crate::store::account::{Account, AccountKey};

use super::{Service, refuse};

impl Service {
    /// The newest manifest of an identity; none if it has no account here.
    pub(super) async fn newest_manifest(&self, identity: IdentityId) -> Result<Option<Manifest>, Refusal> {
        match self.store.account(AccountKey::Identity(identity)).await? {
            Some(account) => manifest_of(&account).map(Some),
            None => Ok(None),
        }
    }
}

/// The manifest of a stored account.
pub fn manifest_of(account: &Account) -> Result<Manifest, Refusal> {
    Manifest::restore(&account.manifest).map_err(|_| refuse::internal("a stored manifest cannot be read"))
}
