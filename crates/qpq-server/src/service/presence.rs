//! Who is connected, so that a disabled or deleted account is shown the door.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qpq_io::shutdown::{Shutdown, ShutdownSignal};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::ids::IdentityId;

use crate::metrics::Metrics;
use crate::store::account::AccountKey;

use super::{Caller, Service};

/// The sessions of all accounts, and how far the store's list of changes has been read.
pub struct Presence {
    sessions: Mutex<HashMap<IdentityId, HashMap<u64, Shutdown>>>,
    next: AtomicU64,
    changes_seen: AtomicU64,
}

impl Presence {
    pub fn new(changes_seen: u64) -> Self {
        Self { sessions: Mutex::default(), next: AtomicU64::new(0), changes_seen: AtomicU64::new(changes_seen) }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<IdentityId, HashMap<u64, Shutdown>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, identity: IdentityId) {
        for session in self.sessions().get(&identity).into_iter().flat_map(HashMap::values) {
            session.trigger();
        }
    }
}

/// Held by a connection while it is somebody's session.
pub struct SessionEnd {
    service: Arc<Service>,
    identity: IdentityId,
    number: u64,
    signal: ShutdownSignal,
}

impl SessionEnd {
    /// Returns when the session must end.
    pub async fn wait(&self) {
        self.signal.wait().await;
    }
}

impl Drop for SessionEnd {
    fn drop(&mut self) {
        self.service.metrics.sessions.dec();
        let mut sessions = self.service.presence.sessions();
        if let Some(own) = sessions.get_mut(&self.identity) {
            own.remove(&self.number);
            if own.is_empty() {
                sessions.remove(&self.identity);
            }
        }
    }
}

impl Service {
    /// Begins a session of somebody who has just been authenticated.
    pub async fn begin_session(self: &Arc<Self>, caller: &Caller) -> Result<SessionEnd, Refusal> {
        let (shutdown, number) = (Shutdown::new(), self.presence.next.fetch_add(1, Ordering::Relaxed));
        let signal = shutdown.signal();
        self.presence.sessions().entry(caller.identity).or_default().insert(number, shutdown);
        self.metrics.sessions.inc();
        let session = SessionEnd { service: self.clone(), identity: caller.identity, number, signal };
        // The account may have been disabled after it was looked at and before the session was listed.
        match self.store.account(AccountKey::Identity(caller.identity)).await? {
            Some(account) if !account.disabled => Ok(session),
            Some(_) | None => Err(Refusal::new(Code::AccountDisabled, "the operator has disabled this account")),
        }
    }

    /// Ends the sessions of accounts that were disabled or deleted since the last time, by whatever process.
    pub(super) async fn end_sessions_of_changed_accounts(&self) -> Result<(), Refusal> {
        let seen = self.presence.changes_seen.load(Ordering::Relaxed);
        let (newest, changed) = self.store.account_changes(seen).await?;
        self.presence.changes_seen.store(newest, Ordering::Relaxed);
        for identity in changed {
            tracing::info!(identity = %identity.short(), "account disabled or deleted");
            self.presence.end(identity);
        }
        Ok(())
    }

    /// What is counted, for those who count elsewhere.
    pub fn shared_metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }
}
