//! Key packages: checked when they come, given out once.

use openmls_rust_crypto::RustCrypto;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::ids::IdentityId;
use qpq_trust::TrustError;
use qpq_trust::key_package;
use qpq_trust::suite::Suite;

use crate::store::key_package::{LOW_STOCK, Published, StoredKeyPackage};

use super::{Caller, Service, refuse};

impl Service {
    /// Adds to the stock of the caller's device; answers what it is then, in the default suite.
    pub async fn publish(
        &self,
        caller: &Caller,
        one_time: Vec<Vec<u8>>,
        last_resort: Vec<Vec<u8>>,
    ) -> Result<u32, Refusal> {
        self.limits.posts.check(&caller.identity, &self.metrics)?;
        // They do not count as stock, and each leaves a trace until it expires.
        if last_resort.len() > Suite::ALL.len() {
            return Err(refuse::quota("last-resort key packages in one call, one for each suite"));
        }
        let manifest = self.newest_manifest(caller.identity).await?.ok_or_else(device_unknown)?;
        let record = manifest.device(caller.device).cloned().ok_or_else(device_unknown)?;
        let (identity, now) = (caller.identity, self.clock.now());
        let packages = self
            .pool
            .run(move || {
                let crypto = RustCrypto::default();
                let one_time = one_time.into_iter().map(|package| (package, false));
                let all = one_time.chain(last_resort.into_iter().map(|package| (package, true)));
                all.map(|(package, last_resort)| {
                    let valid = key_package::validate(&crypto, &package, identity, &record, now)?;
                    if valid.last_resort != last_resort {
                        return Err(TrustError::Forbidden("a key package is not of the kind that it is offered as"));
                    }
                    Ok(StoredKeyPackage {
                        reference: valid.reference,
                        package,
                        suite: valid.suite.number(),
                        last_resort,
                        expires: valid.expires,
                    })
                })
                .collect::<Result<Vec<_>, TrustError>>()
            })
            .await?
            .map_err(refuse::untrusted)?;
        match self.store.publish(caller.device, packages, now).await? {
            Published::Done => Ok(self.store.stock(caller.device, Suite::Hybrid.number(), now).await?),
            Published::QuotaExceeded => Err(refuse::quota("key_packages_per_device")),
        }
    }

    /// One key package of a suite for each device of an identity, to add all of them to a group.
    pub async fn claim(&self, caller: &Caller, identity: IdentityId, suite: u16) -> Result<Vec<Vec<u8>>, Refusal> {
        self.limits.claims.check(&caller.identity, &self.metrics)?;
        self.limits.claims_of.check(&identity, &self.metrics)?;
        let claimed = self.store.claim(identity, suite, self.clock.now()).await?;
        if claimed.is_empty() {
            return Err(Refusal::new(
                Code::NotFound,
                "there is no such account, or none of its devices can be added now",
            ));
        }
        for taken in &claimed {
            let kind = if taken.last_resort { "last_resort" } else { "one_time" };
            self.metrics.claims.with_label_values(&[kind]).inc();
            // The other suites are seldom asked for, and have their last resort.
            if suite == Suite::Hybrid.number() && taken.left < LOW_STOCK {
                self.hub.stock_is_low(taken.device, taken.left);
            }
        }
        Ok(claimed.into_iter().map(|taken| taken.package).collect())
    }
}

fn device_unknown() -> Refusal {
    Refusal::new(Code::DeviceUnknown, "the account does not list this device any more")
}
