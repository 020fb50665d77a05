//! The devices of an account: the next manifest, and what follows from it.

use qpq_proto::code::{Code, Refusal};
use qpq_trust::identity::device_id;
use qpq_trust::manifest::Manifest;

use crate::store::account::{NewManifest, Replaced};

use super::{Caller, Service, refuse};

/// What came of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    Accepted,
    /// Another device was faster.
    Superseded,
}

impl Service {
    /// Takes the next manifest of the caller's identity. Repeating it gives the same answer.
    pub async fn update_manifest(&self, caller: &Caller, manifest: Vec<u8>) -> Result<Updated, Refusal> {
        self.limits.posts.check(&caller.identity, &self.metrics)?;
        let next = self.verified(manifest).await?;
        if next.identity() != caller.identity {
            return Err(Refusal::new(Code::Forbidden, "an account changes its own manifest only"));
        }
        let known = self.newest_manifest(caller.identity).await?.ok_or_else(device_unknown)?;
        if known.device(caller.device).is_none() {
            return Err(device_unknown());
        }
        if known.encoded() == next.encoded() {
            return Ok(Updated::Accepted);
        }
        if next.version() <= known.version() {
            return Ok(Updated::Superseded);
        }
        self.replace_manifest(&known, &next, None).await
    }

    /// Stores the manifest after `known`, with whose commit the sessions of the devices end that it does not list any more.
    pub(super) async fn replace_manifest(
        &self,
        known: &Manifest,
        next: &Manifest,
        opaque_record: Option<Vec<u8>>,
    ) -> Result<Updated, Refusal> {
        next.check_succeeds(known).map_err(refuse::untrusted)?;
        if Some(next.version()) != known.version().checked_add(1) {
            return Err(Refusal::new(Code::Invalid, "a manifest has the version after that of the one before it"));
        }
        if next.devices().len() > self.options.limits.devices_per_account {
            return Err(refuse::quota("devices_per_account"));
        }
        let new = NewManifest {
            identity: next.identity(),
            version: next.version(),
            manifest: next.encoded().to_vec(),
            devices: next.devices().iter().map(|record| device_id(&record.signature_key)).collect(),
            opaque_record,
        };
        match self.store.replace_manifest(new).await? {
            Replaced::Done => {
                tracing::info!(identity = %next.identity().short(), version = next.version(), "devices changed");
                Ok(Updated::Accepted)
            }
            Replaced::Superseded => Ok(Updated::Superseded),
            Replaced::DeviceTaken => Err(Refusal::new(Code::Invalid, "one of these devices has another account")),
        }
    }

    /// Checks signatures on a thread that nobody waits for.
    pub(super) async fn verified(&self, manifest: Vec<u8>) -> Result<Manifest, Refusal> {
        self.pool.run(move || Manifest::verify(&manifest)).await?.map_err(refuse::untrusted)
    }
}

fn device_unknown() -> Refusal {
    Refusal::new(Code::DeviceUnknown, "no account here lists this device")
}
