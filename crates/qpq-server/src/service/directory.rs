//! Names to accounts, and identities to their newest manifests.

use qpq_proto::account::{self, UserName};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::ids::IdentityId;

use crate::store::account::AccountKey;

use super::{Caller, Service};

impl Service {
    /// The account of a name.
    pub async fn by_name(&self, caller: &Caller, name: UserName) -> Result<account::Account, Refusal> {
        self.look_up(caller, AccountKey::Name(name)).await
    }

    /// The account of an identity.
    pub async fn by_identity(&self, caller: &Caller, identity: IdentityId) -> Result<account::Account, Refusal> {
        self.look_up(caller, AccountKey::Identity(identity)).await
    }

    async fn look_up(&self, caller: &Caller, key: AccountKey) -> Result<account::Account, Refusal> {
        self.limits.claims.check(&caller.identity, &self.metrics)?;
        match self.store.account(key).await? {
            Some(found) => Ok(account::Account { name: found.name, manifest: found.manifest }),
            None => Err(Refusal::new(Code::NotFound, "there is no such account")),
        }
    }
}
