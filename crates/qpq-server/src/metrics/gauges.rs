//! What is not counted as it happens but looked up when `/metrics` is asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qpq_io::rpc::endpoint::ServerStats;
use qpq_io::rpc::tls::ReloadableCertificate;
use tokio::sync::Mutex;

use super::number;
use crate::config::Config;
use crate::service::Service;
use crate::store::sqlcipher::SqlCipherStore;

/// Everything that is looked at, together.
pub struct Gauges {
    pub service: Arc<Service>,
    pub store: Arc<SqlCipherStore>,
    pub endpoint: ServerStats,
    pub certificate: ReloadableCertificate,
    database: PathBuf,
    /// Counting all there is takes a while on a large server, so it is not done for every scrape.
    counted: Mutex<Option<Instant>>,
}

impl Gauges {
    pub fn new(
        config: &Config,
        service: Arc<Service>,
        store: Arc<SqlCipherStore>,
        endpoint: ServerStats,
        certificate: ReloadableCertificate,
    ) -> Self {
        let limit = |name, value| service.metrics().limits.with_label_values(&[name]).set(value);
        limit("max_connections", number(config.limits.max_connections));
        limit("log_entries_per_group", number(config.limits.log_entries_per_group));
        let database = config.path(&config.store.path);
        Self { service, store, endpoint, certificate, database, counted: Mutex::default() }
    }

    /// Brings all of them up to date. What cannot be read keeps its last value.
    pub async fn refresh(&self) {
        self.look();
        let mut counted = self.counted.lock().await;
        if counted.is_none_or(|at| at.elapsed() >= FRESH) && self.count().await {
            *counted = Some(Instant::now());
        }
    }

    fn look(&self) {
        let metrics = self.service.metrics();
        metrics.waiting_jobs.set(number(self.store.waiting_jobs()));
        metrics.waiting_validations.set(number(self.service.waiting_validations()));
        metrics.handshakes_open.set(number(self.endpoint.handshakes_open()));
        let raise = |counters: &prometheus::IntCounterVec, label, total: u64| {
            let counter = counters.with_label_values(&[label]);
            counter.inc_by(total.saturating_sub(counter.get()));
        };
        raise(&metrics.handshakes, "completed", self.endpoint.accepted_total());
        raise(&metrics.handshakes, "failed", self.endpoint.handshakes_failed_total());
        raise(&metrics.handshakes, "retried", self.endpoint.retried_total());
        raise(&metrics.connections_refused, "server_limit", self.endpoint.refused_total());
        raise(&metrics.connections_refused, "handshake_limit", self.endpoint.ignored_total());
        if let Some(expiry) = self.certificate.expiry() {
            metrics.certificate_expiry.set(expiry);
        }

        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |metadata| number(metadata.len()));
        metrics.database_bytes.set(size(&self.database));
        let mut wal = self.database.clone().into_os_string();
        wal.push("-wal");
        metrics.wal_bytes.set(size(&wal.into()));
        #[cfg(unix)]
        if let Some(folder) = self.database.parent()
            && let Ok(disk) = rustix::fs::statvfs(folder)
        {
            metrics.disk_free_bytes.set(number(disk.f_bavail.saturating_mul(disk.f_frsize)));
            metrics.disk_bytes.set(number(disk.f_blocks.saturating_mul(disk.f_frsize)));
        }
    }

    async fn count(&self) -> bool {
        let metrics = self.service.metrics();
        let found = match self.store.inventory(self.service.now()).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "what is stored cannot be counted for the metrics");
                return false;
            }
        };
        metrics.accounts.set(number(found.accounts));
        metrics.devices.set(number(found.devices));
        metrics.groups.set(number(found.groups));
        metrics.log_entries.set(number(found.log_entries));
        metrics.longest_log.set(number(found.longest_log));
        metrics.inbox_entries.set(number(found.inbox_entries));
        metrics.files.set(number(found.files));
        metrics.file_bytes.set(number(found.file_bytes));
        metrics.key_packages.set(number(found.key_packages));
        metrics
            .devices_short_of_key_packages
            .set(number(found.devices.saturating_sub(found.devices_with_key_packages)));
        metrics.database_free_bytes.set(number(found.free_bytes));
        true
    }
}

/// Half of what collectors usually wait between two scrapes.
const FRESH: Duration = Duration::from_secs(15);
