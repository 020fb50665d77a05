//! What an authenticated device may do with its own account: another password, recovery, the end.

use qpq_proto::account::UserName;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::limits;

use crate::store::account::{AccountKey, Recovery};

use super::opaque::{OpaqueServer, PendingLogin};
use super::{Caller, Service, refuse};

/// A change of the password between its two calls.
pub struct PasswordChangeInProgress {
    name: UserName,
    state: PendingLogin,
}

/// What the server says to the first call: to the login, and to the registration.
pub struct PasswordChangeStarted {
    pub login: Vec<u8>,
    pub registration: Vec<u8>,
    pub next: PasswordChangeInProgress,
}

impl Service {
    /// The first half of a change: a login with the old password begins, and a registration of the new one.
    pub async fn change_password(
        &self,
        caller: &Caller,
        login: &[u8],
        registration: &[u8],
    ) -> Result<PasswordChangeStarted, Refusal> {
        self.limits.logins_of.check(&caller.name, &self.metrics)?;
        let account = self.store.account(AccountKey::Device(caller.device)).await?;
        let account = account.ok_or_else(|| Refusal::new(Code::DeviceUnknown, "no account here lists this device"))?;
        let (login, state) = self.opaque.login(&account.name, Some(&account.opaque_record), login)?;
        let registration = self.opaque.register(&account.name, registration)?;
        Ok(PasswordChangeStarted { login, registration, next: PasswordChangeInProgress { name: account.name, state } })
    }

    /// The second half: the old password was right, and the new one takes its place.
    pub async fn finish_password_change(
        &self,
        caller: &Caller,
        started: PasswordChangeInProgress,
        login: &[u8],
        registration: &[u8],
    ) -> Result<(), Refusal> {
        started.state.finish(&started.name, login)?;
        let record = OpaqueServer::record(registration)?;
        self.store.set_password(caller.identity, record).await?;
        tracing::info!(identity = %caller.identity.short(), "password changed");
        Ok(())
    }

    /// Keeps what it takes to recover the account; with an empty key it forgets that.
    pub async fn set_recovery(&self, caller: &Caller, key: Option<[u8; 32]>, record: Vec<u8>) -> Result<(), Refusal> {
        self.limits.posts.check(&caller.identity, &self.metrics)?;
        if record.len() > limits::RECOVERY_RECORD {
            return Err(refuse::too_large("a recovery record", limits::RECOVERY_RECORD));
        }
        let recovery = key.map(|key| Recovery { key, record });
        Ok(self.store.set_recovery(caller.identity, recovery).await?)
    }

    /// Forgets the caller's account. Its sessions end a moment after that was committed, so that there is time for the answer.
    pub async fn delete_own_account(&self, caller: &Caller) -> Result<(), Refusal> {
        self.store.purge_account(caller.identity).await?;
        self.acknowledgements.forget(caller.device);
        tracing::info!(identity = %caller.identity.short(), "account deleted by its owner");
        Ok(())
    }
}
