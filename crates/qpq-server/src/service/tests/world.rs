//! A service with a clock that only moves when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qpq_io::db::DbKey;
use qpq_proto::time::Timestamp;

use super::device::Device;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::service::{Clock, Listeners, Options, Service};
use crate::store::sqlcipher::{self, Quotas, SqlCipherStore};

pub struct World {
    pub service: Arc<Service>,
    now: Arc<AtomicU64>,
    options: Options,
    dir: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::from(&Config::default());
        options.threads = 2;
        options.limits.log_entries_per_group = 1000;
        options.limits.inbox_entries_per_device = 100;
        options.limits.key_packages_per_device = 100;
        change(&mut options);
        let now = Arc::new(AtomicU64::new(Clock::system().now().0));
        let service = start(&dir, &options, &now).await;
        Self { service, now, options, dir }
    }

    /// A new process on the same files.
    pub async fn restart(self) -> Self {
        let Self { service, now, options, dir } = self;
        drop(service);
        let service = start(&dir, &options, &now).await;
        Self { service, now, options, dir }
    }

    pub fn pass(&self, time: Duration) {
        self.now.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// Registered, with key packages published.
    pub async fn device(&self, name: &str) -> Device {
        let device = Device::new(name);
        device.register(&self.service).await.unwrap();
        device.publish(&self.service, 3).await;
        device
    }
}

async fn start(dir: &tempfile::TempDir, options: &Options, now: &Arc<AtomicU64>) -> Arc<Service> {
    let listeners = Listeners::default();
    let quotas = Quotas::from(&options.limits);
    let store_options = sqlcipher::Options { quotas, on_commit: listeners.hook(), observer: Arc::new(|_, _| {}) };
    let path = dir.path().join("qpq.db");
    let store = SqlCipherStore::open(&path, &DbKey::from_bytes([7; 32]), store_options).unwrap();
    let clock = {
        let now = now.clone();
        Clock::new(move || Timestamp(now.load(Ordering::Relaxed)))
    };
    Service::start(Arc::new(store), listeners, options.clone(), Arc::new(Metrics::new()), clock).await.unwrap()
}
