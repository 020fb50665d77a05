//! Who is connected, so that a disabled or deleted account is shown the door.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qpq_io::shutdown::{Shutdown, ShutdownSignal};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::ids::{DeviceId, IdentityId};
use qpq_proto::time::Timestamp;

use crate::metrics::Metrics;
use crate::store::account::AccountKey;

use super::{Caller, Service};

/// The sessions of all accounts, and how far the store's list of changes has been read.
pub struct Presence {
    sessions: Mutex<Sessions>,
    /// How often sessions of an account were ended. Grows before they are.
    ends: AtomicU64,
    next: AtomicU64,
    changes_seen: AtomicU64,
    /// Accounts that their owners have deleted: the answer to that is still on its way.
    deleted: Mutex<Vec<(IdentityId, Timestamp)>>,
}

/// By identity and number: of which device, and how to end it.
type Sessions = HashMap<IdentityId, HashMap<u64, (DeviceId, Shutdown)>>;

impl Presence {
    pub fn new(changes_seen: u64) -> Self {
        Self {
            sessions: Mutex::default(),
            ends: AtomicU64::new(0),
            next: AtomicU64::new(0),
            changes_seen: AtomicU64::new(changes_seen),
            deleted: Mutex::default(),
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sessions of this identity end a moment from now.
    pub fn end_soon(&self, identity: IdentityId, now: Timestamp) {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).push((identity, now.after(MOMENT)));
    }

    fn end_deleted(&self, now: Timestamp) {
        let mut deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<_> = deleted.extract_if(.., |(_, at)| *at <= now).collect();
        drop(deleted);
        for (identity, _) in due {
            self.end(identity, |_| true);
        }
    }

    /// Ends the sessions of those devices of an identity that are concerned.
    pub fn end(&self, identity: IdentityId, is_concerned: impl Fn(DeviceId) -> bool) {
        let sessions = self.sessions();
        self.ends.fetch_add(1, Ordering::Relaxed);
        for (device, session) in sessions.get(&identity).into_iter().flat_map(HashMap::values) {
            if is_concerned(*device) {
                session.trigger();
            }
        }
    }
}

/// A moment before an account is looked at, told by how often sessions had been ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf(u64);

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
    /// The moment for [`Self::begin_session`].
    pub fn as_of(&self) -> AsOf {
        AsOf(self.presence.ends.load(Ordering::Relaxed))
    }

    /// Begins a session of somebody who has been authenticated by what was stored at that moment or later.
    pub async fn begin_session(self: &Arc<Self>, caller: &Caller, as_of: AsOf) -> Result<SessionEnd, Refusal> {
        let (shutdown, number) = (Shutdown::new(), self.presence.next.fetch_add(1, Ordering::Relaxed));
        let signal = shutdown.signal();
        let has_changed = {
            let mut sessions = self.presence.sessions();
            sessions.entry(caller.identity).or_default().insert(number, (caller.device, shutdown));
            self.as_of() != as_of
        };
        self.metrics.sessions.inc();
        let session = SessionEnd { service: self.clone(), identity: caller.identity, number, signal };
        // Whoever disables an account or unlinks a device ends the sessions that are listed. It may have been this one's,
        // after it was looked at and before it was listed.
        if !has_changed {
            return Ok(session);
        }
        match self.store.account(AccountKey::Device(caller.device)).await? {
            Some(account) if account.disabled => {
                Err(Refusal::new(Code::AccountDisabled, "the operator has disabled this account"))
            }
            Some(_) => Ok(session),
            None => Err(Refusal::new(Code::DeviceUnknown, "no account here lists this device")),
        }
    }

    /// Ends the sessions of accounts that were disabled or deleted since the last time, by whatever process.
    pub(super) async fn end_sessions_of_changed_accounts(&self) -> Result<(), Refusal> {
        self.presence.end_deleted(self.clock.now());
        let seen = self.presence.changes_seen.load(Ordering::Relaxed);
        let (newest, changed) = self.store.account_changes(seen).await?;
        self.presence.changes_seen.store(newest, Ordering::Relaxed);
        for identity in changed {
            tracing::info!(identity = %identity.short(), "account disabled or deleted");
            self.presence.end(identity, |_| true);
        }
        Ok(())
    }

    /// What is counted, for those who count elsewhere.
    pub fn shared_metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }
}

/// What an answer takes to reach a client.
const MOMENT: Duration = Duration::from_secs(1);
