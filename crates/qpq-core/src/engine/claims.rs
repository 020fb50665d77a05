//! Key packages of those who are to be added: claimed for a wish, one identity at a time, checked when all are here.

use openmls::prelude::KeyPackage;
use qpq_proto::ids::IdentityId;
use qpq_trust::key_package;
use qpq_trust::manifest::Manifest;

use super::ctx::Ctx;
use super::drive::Progress;
use super::replies::NO_KEY_PACKAGES;
use crate::crypto::envelope;
use crate::error::Error;
use crate::request::{Purpose, Request};
use crate::store::rows::{ClaimRow, Row as _, WishRef, WishRow, claim_key};
use crate::store::{Table, decode};

/// A device that is to be added, with a key package that passed every check.
pub(super) struct Newcomer {
    pub(super) device: qpq_proto::ids::DeviceId,
    pub(super) envelope_key: Vec<u8>,
    pub(super) reference: Vec<u8>,
    pub(super) package: KeyPackage,
}

/// What the claimed key packages are good for.
pub(super) enum Newcomers {
    All(Vec<Newcomer>),
    Not(Progress),
}

impl Ctx<'_> {
    /// Claims the key packages of those for whom none were claimed yet.
    pub(super) fn claim(&mut self, reference: WishRef, suite: u16, who: &[IdentityId]) -> Result<Vec<u64>, Error> {
        let mut requests = Vec::new();
        for identity in who {
            if ClaimRow::load(self.store, &(reference.id, *identity))?.is_none() {
                let purpose = Purpose::Claim { wish: reference, identity: *identity };
                requests.push(self.request(Request::Claim { identity: *identity, suite }, purpose)?);
            }
        }
        Ok(requests)
    }

    /// What the server gave for one identity.
    pub(super) fn claimed(&mut self, wish: WishRef, identity: IdentityId, packages: Vec<Vec<u8>>) -> Result<(), Error> {
        let Some(row) = WishRow::load(self.store, &wish)? else { return Ok(()) };
        if packages.is_empty() && identity != self.account.identity {
            // An identity without a key package can be added no more than one that does not exist.
            return self.settle(&row, Err(NO_KEY_PACKAGES.to_owned()));
        }
        let packages = packages.into_iter().map(serde_bytes::ByteBuf::from).collect();
        Ok(ClaimRow { wish: wish.id, identity, packages, is_refreshed: false }.save(self.store)?)
    }

    fn claims_for(&self, wish: u64) -> Result<Vec<ClaimRow>, Error> {
        let found = self.store.scan(Table::Claims, &claim_key(wish, None))?;
        Ok(found.iter().map(|(_, bytes)| decode(bytes)).collect::<Result<_, _>>()?)
    }

    /// They are used up, or not needed any more.
    pub(super) fn forget_claims(&mut self, wish: u64) -> Result<(), Error> {
        for (key, _) in self.store.scan(Table::Claims, &claim_key(wish, None))? {
            self.store.remove(Table::Claims, &key)?;
        }
        Ok(())
    }

    /// Checks the claimed key packages of `who` against their manifests.
    pub(super) fn newcomers(
        &mut self,
        wish: &WishRow,
        reference: WishRef,
        who: &[IdentityId],
        suite: u16,
    ) -> Result<Newcomers, Error> {
        let refused = |reason: &str| Ok(Newcomers::Not(Progress::Refused(reason.to_owned())));
        let mut newcomers: Vec<Newcomer> = Vec::new();
        for claimed in self.claims_for(wish.id)?.iter().filter(|claimed| who.contains(&claimed.identity)) {
            let identity = claimed.identity;
            let is_own = identity == self.account.identity;
            let manifest = if is_own { self.account.manifest.clone() } else { self.contact(identity)?.manifest };
            let manifest = Manifest::restore(&manifest)?;
            for bytes in &claimed.packages {
                let valid = manifest.devices().iter().find_map(|record| {
                    let valid = key_package::validate(self.crypto, bytes, identity, record, self.now).ok()?;
                    Some((record, valid))
                });
                let Some((record, valid)) = valid else {
                    // A device of one's own that is not known here comes in by itself.
                    if is_own {
                        continue;
                    }
                    if claimed.is_refreshed && self.connection.is_clock_off {
                        return refused(
                            "the clock of this device, or the server's, is wrong by days; set it right and try again",
                        );
                    }
                    if claimed.is_refreshed {
                        return refused("the server offered a key package that is not this user's; nobody was added");
                    }
                    // They may have a new device.
                    let purpose = Purpose::Refresh { wish: Some(reference), identity };
                    let request = self.request(Request::ByIdentity(identity), purpose)?;
                    return Ok(Newcomers::Not(Progress::InFlight(vec![request])));
                };
                if valid.device == self.account.device {
                    continue;
                }
                let twice = newcomers.iter().any(|newcomer| newcomer.device == valid.device);
                if valid.suite.number() != suite || twice || !envelope::is_key(&record.envelope_key) {
                    return refused("a key package or envelope key of this user cannot be used; nobody was added");
                }
                newcomers.push(Newcomer {
                    device: valid.device,
                    envelope_key: record.envelope_key.clone(),
                    reference: valid.reference,
                    package: valid.package,
                });
            }
        }
        Ok(Newcomers::All(newcomers))
    }
}
