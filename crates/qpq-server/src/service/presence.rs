//! Who is connected, so that a disabled or deleted account is shown the door.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qpq_io::shutdown::{Shutdown, ShutdownSignal};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::ids::{DeviceId, IdentityId};

use crate::metrics::Metrics;
use crate::store::account::AccountKey;
use crate::store::change::Change;

use super::{Caller, Service};

/// The sessions of all accounts, and how far the store's list of changes has been read.
#[derive(Default)]
pub struct Presence {
    sessions: Mutex<Sessions>,
    /// How often sessions of an account were ended. Grows before they are.
    ends: AtomicU64,
    next: AtomicU64,
    changes_seen: AtomicU64,
    /// Accounts that are gone, and whether they were so at the last look. Their owners' answer may still be on its way.
    purged: Mutex<Vec<(IdentityId, bool)>>,
}

/// By identity and number: of which device, and how to end it.
type Sessions = HashMap<IdentityId, HashMap<u64, (DeviceId, Shutdown)>>;

impl Presence {
    /// What the store's list of changes said until now is not news.
    pub fn start_at(&self, changes_seen: u64) {
        self.changes_seen.store(changes_seen, Ordering::Relaxed);
    }

    /// Shows the door to devices that are unlinked, and a moment later to those whose account is gone.
    pub fn follow(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Devices { identity, devices } => self.end(*identity, |device| !devices.contains(&device)),
                Change::Purged { identity } => self.purged().push((*identity, false)),
                Change::Group { .. } | Change::Inbox { .. } => {}
            }
        }
    }

    /// Ends the sessions of accounts that were gone the last time already.
    fn end_purged(&self) {
        let due: Vec<_> = self.purged().extract_if(.., |(_, seen)| std::mem::replace(seen, true)).collect();
        for (identity, _) in due {
            self.end(identity, |_| true);
        }
    }

    fn purged(&self) -> MutexGuard<'_, Vec<(IdentityId, bool)>> {
        self.purged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.presence.end_purged();
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
