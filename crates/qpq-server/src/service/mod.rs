//! What the server does, without network and wire format: every call is a method that takes and gives plain types, so
//! that a simulation can drive it in one process. It knows the store only through its trait.

mod clock;
mod pool;
mod refuse;

mod limits;
mod manifests;
mod opaque;

pub mod auth;
mod blobs;
pub mod devices;
mod directory;
mod groups;
pub mod invites;
mod keys;
pub mod links;
pub mod own_account;
pub mod recovery;

mod acknowledgements;
mod fanout;
mod presence;
pub mod stream;

mod upkeep;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use qpq_proto::account::{ServerHello, UserName};
use qpq_proto::ids::{DeviceId, IdentityId};
use qpq_proto::time::Timestamp;

use crate::config::{Config, Limits, Policy};
use crate::metrics::Metrics;
use crate::store::change::OnCommit;
use crate::store::{Store, StoreError};

pub use blobs::BlobLife;
pub use clock::Clock;
pub use presence::{AsOf, SessionEnd};
pub use stream::DeviceStream;

use acknowledgements::Acknowledgements;
use fanout::Hub;
use groups::Groups;
use limits::RateLimits;
use links::Links;
use opaque::OpaqueServer;
#[cfg(test)]
pub(crate) use opaque::SystemRandom;
use pool::Pool;
use presence::Presence;

/// Who is calling: the device behind a session. There is no way to get one but through [`auth`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub identity: IdentityId,
    pub device: DeviceId,
    pub name: UserName,
}

/// What the service needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    pub domain: String,
    pub policy: Policy,
    pub limits: Limits,
    pub registrations_per_hour: u32,
    pub retention: Duration,
    pub blobs: BlobLife,
    /// Threads that validate commits and the like. 0: whoever asks for it does it, which suits nobody but simulations.
    pub threads: usize,
}

impl From<&Config> for Options {
    fn from(config: &Config) -> Self {
        Self {
            domain: config.domain.clone(),
            policy: config.policy(),
            limits: config.limits.clone(),
            registrations_per_hour: config.limits.registrations_per_hour(config.mode),
            retention: config.retention.entries.0,
            blobs: BlobLife { referred: config.retention.blobs.0, unreferred: config.retention.unreferenced_blobs.0 },
            threads: config.worker_threads(),
        }
    }
}

/// Who is connected, and has to hear of what is committed: made before the store and the service on top of it.
#[derive(Clone, Default)]
pub struct Listeners {
    hub: Arc<Hub>,
    presence: Arc<Presence>,
}

impl Listeners {
    /// What the store is opened with.
    pub fn hook(&self) -> OnCommit {
        let Self { hub, presence } = self.clone();
        Arc::new(move |changes| {
            hub.wake(changes);
            presence.follow(changes);
        })
    }
}

/// Everything the server can do. Shared by all connections.
pub struct Service {
    store: Arc<dyn Store>,
    options: Options,
    clock: Clock,
    metrics: Arc<Metrics>,
    hub: Arc<Hub>,
    presence: Arc<Presence>,
    links: Links,
    limits: RateLimits,
    incarnation: u64,
    opaque: OpaqueServer,
    groups: Groups,
    pool: Pool,
    acknowledgements: Acknowledgements,
}

impl Service {
    /// Starts on a store that was opened with the hook of `listeners`.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn start(
        store: Arc<dyn Store>,
        listeners: Listeners,
        options: Options,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<Arc<Self>, StoreError> {
        listeners.hub.count_fanout(metrics.fanout.clone());
        metrics.last_sweep.set(i64::try_from(clock.now().as_seconds()).unwrap_or(i64::MAX));
        let opaque = OpaqueServer::load(&*store).await?;
        let incarnation = incarnation(&*store).await?;
        let Listeners { hub, presence } = listeners;
        presence.start_at(store.account_changes(0).await?.0);
        Ok(Arc::new(Self {
            limits: RateLimits::new(&options),
            pool: Pool::start(options.threads),
            hub,
            presence,
            links: Links::default(),
            groups: Groups::new(),
            acknowledgements: Acknowledgements::default(),
            store,
            options,
            clock,
            metrics,
            incarnation,
            opaque,
        }))
    }

    /// How the server introduces itself.
    pub fn hello(&self) -> ServerHello {
        ServerHello {
            protocol: qpq_proto::PROTOCOL,
            domain: self.options.domain.clone(),
            software: concat!("qpq-server ", env!("CARGO_PKG_VERSION")).into(),
            incarnation: self.incarnation,
            now: self.clock.now(),
        }
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Validations that wait for a thread.
    pub fn waiting_validations(&self) -> usize {
        self.pool.waiting()
    }

    /// What its clock says.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What it was started with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether the disk takes what has to be kept.
    pub fn is_writable(&self) -> bool {
        self.store.is_writable()
    }
}

/// The number of this life of the database, which a restored one has no more (see `store::sqlcipher::snapshot::set_apart`).
async fn incarnation(store: &dyn Store) -> Result<u64, StoreError> {
    let mut fresh = [0; 8];
    getrandom::fill(&mut fresh).map_err(|error| StoreError::Internal(error.to_string()))?;
    let stored = store.setting_or_insert("incarnation", fresh.to_vec()).await?;
    let bytes = stored.try_into().map_err(|_| StoreError::Internal("the stored incarnation is damaged".into()))?;
    // 0 stands for a server that does not say.
    Ok(u64::from_be_bytes(bytes).max(1))
}
