//! Becoming somebody: register, log in, resume. Each ends with a [`Caller`].

use std::net::IpAddr;

use qpq_io::rpc::endpoint::network;
use qpq_proto::account::UserName;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::ids::DeviceId;
use qpq_proto::keys::DeviceRecord;
use qpq_trust::identity::device_id;
use qpq_trust::manifest::Manifest;
use qpq_trust::proof;

use crate::config::Policy;
use crate::metrics;
use crate::store::account::{Account, AccountKey, InviteHash, NewAccount, Registered};

use super::manifests::manifest_of;
use super::opaque::{OpaqueServer, PendingLogin};
use super::{AsOf, Caller, Service, invites, refuse};

/// A registration whose name was free, between its two calls.
pub struct RegistrationInProgress {
    name: UserName,
    invite: Option<InviteHash>,
}

/// A login between its two calls.
pub struct LoginInProgress {
    name: UserName,
    account: Option<Account>,
    as_of: AsOf,
    state: PendingLogin,
}

impl LoginInProgress {
    /// Before the account was looked at.
    pub fn as_of(&self) -> AsOf {
        self.as_of
    }
}

/// What a device shows for itself: a signature over this connection's exporter value.
pub struct DeviceProof<'a> {
    pub device: DeviceId,
    pub exporter: &'a [u8; 32],
    pub proof: &'a [u8],
}

impl Service {
    /// The first half of a registration: may this be, and is the name free?
    pub async fn register(
        &self,
        from: IpAddr,
        name: UserName,
        invite: &str,
        request: &[u8],
    ) -> Result<(Vec<u8>, RegistrationInProgress), Refusal> {
        self.limits.registrations_from.check(&network(from), &self.metrics)?;
        let invite = match self.options.policy {
            Policy::Closed => {
                return Err(Refusal::new(Code::RegistrationClosed, "this server takes no registrations"));
            }
            Policy::Open => None,
            Policy::Invite => {
                let code = invites::hash(invite);
                if !self.store.is_invite_good(code, self.clock.now()).await? {
                    return Err(invite_invalid());
                }
                Some(code)
            }
        };
        if self.store.account(AccountKey::Name(name.clone())).await?.is_some() {
            return Err(name_taken());
        }
        let response = self.opaque.register(&name, request)?;
        Ok((response, RegistrationInProgress { name, invite }))
    }

    /// The second half: creates the account with its first manifest.
    pub async fn finish_registration(
        &self,
        started: RegistrationInProgress,
        upload: &[u8],
        manifest: Vec<u8>,
        proof: DeviceProof<'_>,
    ) -> Result<Caller, Refusal> {
        let opaque_record = OpaqueServer::record(upload)?;
        let manifest = self.pool.run(move || Manifest::verify(&manifest)).await?.map_err(refuse::untrusted)?;
        if manifest.version() != 1 {
            return Err(Refusal::new(Code::Invalid, "an account begins with the first manifest of its identity"));
        }
        if manifest.devices().len() > self.options.limits.devices_per_account {
            return Err(refuse::quota("devices_per_account"));
        }
        check_proof(&manifest, &proof)?;
        let caller = Caller { identity: manifest.identity(), device: proof.device, name: started.name.clone() };
        let account = NewAccount {
            name: started.name,
            identity: manifest.identity(),
            opaque_record,
            manifest: manifest.encoded().to_vec(),
            manifest_version: manifest.version(),
            devices: manifest.devices().iter().map(|device| device_id(&device.signature_key)).collect(),
            invite: started.invite,
        };
        match self.store.register(account, self.clock.now()).await? {
            Registered::Done => {
                self.metrics.registrations.inc();
                tracing::info!(identity = %caller.identity.short(), "account created");
                Ok(caller)
            }
            Registered::NameTaken => Err(name_taken()),
            Registered::IdentityTaken => Err(Refusal::new(Code::Invalid, "this identity or device has an account")),
            Registered::InviteInvalid => Err(invite_invalid()),
        }
    }

    /// The first half of a login. Whether the name exists shows neither here nor later.
    pub async fn login(
        &self,
        from: IpAddr,
        name: UserName,
        request: &[u8],
    ) -> Result<(Vec<u8>, LoginInProgress), Refusal> {
        self.limits.logins_from.check(&network(from), &self.metrics)?;
        self.limits.logins_of.check(&name, &self.metrics)?;
        let as_of = self.as_of();
        let account = self.store.account(AccountKey::Name(name.clone())).await?;
        let record = account.as_ref().map(|account| &account.opaque_record[..]);
        let (response, state) = self.opaque.login(&name, record, request)?;
        Ok((response, LoginInProgress { name, account, as_of, state }))
    }

    /// The second half: the password, and a device that the account lists.
    pub async fn finish_login(
        &self,
        started: LoginInProgress,
        finalization: &[u8],
        proof: DeviceProof<'_>,
    ) -> Result<Caller, Refusal> {
        let outcome = self.check_login(started, finalization, &proof);
        self.count_login("password", &outcome);
        outcome
    }

    /// Back again, without a password: the device proves itself on this connection.
    pub async fn resume(&self, proof: DeviceProof<'_>) -> Result<Caller, Refusal> {
        let outcome = match self.store.account(AccountKey::Device(proof.device)).await? {
            Some(account) => self.admit(&account, &proof),
            None => Err(device_unknown()),
        };
        self.count_login("resume", &outcome);
        outcome
    }

    fn check_login(
        &self,
        started: LoginInProgress,
        finalization: &[u8],
        proof: &DeviceProof<'_>,
    ) -> Result<Caller, Refusal> {
        started.state.finish(&started.name, finalization)?;
        match started.account {
            Some(account) => self.admit(&account, proof),
            // Nobody can finish a login on a fake record.
            None => Err(refuse::internal("a login without an account was completed")),
        }
    }

    fn admit(&self, account: &Account, proof: &DeviceProof<'_>) -> Result<Caller, Refusal> {
        let manifest = manifest_of(account)?;
        check_proof(&manifest, proof)?;
        if account.disabled {
            return Err(Refusal::new(Code::AccountDisabled, "the operator has disabled this account"));
        }
        Ok(Caller { identity: account.identity, device: proof.device, name: account.name.clone() })
    }

    fn count_login(&self, kind: &str, outcome: &Result<Caller, Refusal>) {
        self.metrics.logins.with_label_values(&[kind, metrics::outcome(outcome)]).inc();
    }
}

pub(super) fn check_proof<'m>(manifest: &'m Manifest, proof: &DeviceProof<'_>) -> Result<&'m DeviceRecord, Refusal> {
    let record = manifest.device(proof.device).ok_or_else(device_unknown)?;
    proof::verify(record, proof.exporter, proof.proof).map_err(refuse::untrusted)?;
    Ok(record)
}

fn device_unknown() -> Refusal {
    Refusal::new(Code::DeviceUnknown, "no account here lists this device")
}

fn name_taken() -> Refusal {
    Refusal::new(Code::NameTaken, "this name is taken")
}

fn invite_invalid() -> Refusal {
    Refusal::new(Code::InviteInvalid, "the invite code is unknown, used or expired")
}
