//! Coming back with nothing but the recovery phrase: a new device in the place of all old ones, and a new password.

use std::net::IpAddr;

use qpq_io::rpc::endpoint::network;
use qpq_proto::account::UserName;
use qpq_proto::code::{Code, Refusal};
use qpq_trust::manifest::Manifest;
use qpq_trust::recovery;

use crate::store::account::AccountKey;

use super::auth::{DeviceProof, check_proof};
use super::devices::Updated;
use super::manifests::manifest_of;
use super::opaque::OpaqueServer;
use super::{Caller, Service};

/// A recovery between its two calls: the phrase was proved.
pub struct RecoveryInProgress {
    name: UserName,
    known: Manifest,
}

/// What the owner of the phrase gets.
pub struct RecoveryStarted {
    pub opaque: Vec<u8>,
    pub record: Vec<u8>,
    pub manifest: Vec<u8>,
    pub next: RecoveryInProgress,
}

impl Service {
    /// The first half: `proof` is a signature of the recovery key over this connection's exporter. Whether the name exists
    /// or has a recovery does not show.
    pub async fn recover(
        &self,
        from: IpAddr,
        name: UserName,
        exporter: &[u8; 32],
        proof: &[u8],
        opaque: &[u8],
    ) -> Result<RecoveryStarted, Refusal> {
        self.limits.logins_from.check(&network(from), &self.metrics)?;
        self.limits.logins_of.check(&name, &self.metrics)?;
        let wrong = || Refusal::new(Code::WrongCredentials, "wrong name or recovery phrase");
        let kept = self.store.recovery(name.clone()).await?.ok_or_else(wrong)?;
        recovery::verify(&kept.key, exporter, proof).map_err(|_| wrong())?;
        let account = self.store.account(AccountKey::Name(name.clone())).await?.ok_or_else(wrong)?;
        let known = manifest_of(&account)?;
        let opaque = self.opaque.register(&name, opaque)?;
        let manifest = account.manifest.clone();
        Ok(RecoveryStarted { opaque, record: kept.record, manifest, next: RecoveryInProgress { name, known } })
    }

    /// The second half: the identity's keys sign the next manifest, its device proves itself on this connection, and the
    /// new password takes the place of the old one.
    pub async fn finish_recovery(
        &self,
        started: RecoveryInProgress,
        upload: &[u8],
        manifest: Vec<u8>,
        proof: DeviceProof<'_>,
    ) -> Result<Caller, Refusal> {
        let opaque_record = OpaqueServer::record(upload)?;
        let next = self.verified(manifest).await?;
        check_proof(&next, &proof)?;
        let caller = Caller { identity: next.identity(), device: proof.device, name: started.name };
        match self.replace_manifest(&started.known, &next, Some(opaque_record)).await? {
            Updated::Accepted => {
                tracing::info!(identity = %caller.identity.short(), "account recovered");
                Ok(caller)
            }
            Updated::Superseded => {
                Err(Refusal::new(Code::Invalid, "the account's devices changed at the same time: begin again"))
            }
        }
    }
}
