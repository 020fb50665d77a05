//! What the server counts, in the Prometheus text format. Labels are closed sets: never a name, an address or an id.
//! Counting is an addition to an atomic number; what has to be looked up is looked up when somebody asks ([`gauges`]).

pub(crate) mod gauges;

mod declare;
mod labels;
mod process;

use prometheus::{
    Encoder as _, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

use crate::store::sqlcipher::{BatchSize, BatchTiming};

use declare::{COUNTS, Declaration, SECONDS};
use process::Process;

pub use labels::{code, outcome};

/// All counters of one server.
pub struct Metrics {
    registry: Registry,
    declarations: Vec<Declaration>,
    process: Process,
    pub ready: IntGauge,

    pub rpc_calls: IntCounterVec,
    pub rpc_seconds: HistogramVec,
    pub panics: IntCounter,

    pub connections: IntGauge,
    pub connections_total: IntCounter,
    pub connections_refused: IntCounterVec,
    pub handshakes: IntCounterVec,
    pub handshakes_open: IntGauge,
    pub sessions: IntGauge,
    pub streams: IntGauge,
    pub certificate_expiry: IntGauge,

    pub logins: IntCounterVec,
    pub registrations: IntCounter,
    pub rate_limited: IntCounterVec,

    pub posts: IntCounterVec,
    pub posted_bytes: IntCounter,
    pub commits: IntCounterVec,
    pub fanout: Histogram,
    pub deliveries: IntCounter,
    pub delivered_bytes: IntCounter,
    pub delivery_lag: Histogram,
    pub whispers: IntCounter,
    pub file_bytes_received: IntCounter,
    pub file_bytes_sent: IntCounter,
    pub files: IntGauge,
    pub file_bytes: IntGauge,
    pub claims: IntCounterVec,
    pub key_packages: IntGauge,
    pub devices_short_of_key_packages: IntGauge,

    pub accounts: IntGauge,
    pub devices: IntGauge,
    pub groups: IntGauge,
    pub log_entries: IntGauge,
    pub longest_log: IntGauge,
    pub inbox_entries: IntGauge,
    pub limits: IntGaugeVec,

    pub transaction_jobs: Histogram,
    pub transaction_seconds: Histogram,
    pub flush_seconds: Histogram,
    pub transactions_failed: IntCounter,
    pub waiting_jobs: IntGauge,
    pub waiting_validations: IntGauge,
    pub database_bytes: IntGauge,
    pub database_free_bytes: IntGauge,
    pub wal_bytes: IntGauge,
    pub disk_free_bytes: IntGauge,
    pub disk_bytes: IntGauge,

    pub swept: IntCounter,
    pub swept_parts: IntCounter,
    pub sweep_seconds: Histogram,
    pub last_sweep: IntGauge,
    pub upkeep_failures: IntCounterVec,
}

impl Metrics {
    /// A fresh set, all at zero.
    pub fn new() -> Self {
        let mut new = declare::Declare::default();
        let build_info = new.gauges("qpq_build_info", "Always 1; the version that runs.", &["version"]);
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            ready: new.gauge("qpq_ready", "1 while the server accepts work."),

            rpc_calls: new.counters("qpq_rpc_calls_total", "RPC calls answered.", &["method", "outcome"]),
            rpc_seconds: new.histograms("qpq_rpc_duration_seconds", "Time from call to answer.", &["method"], SECONDS),
            panics: new.counter("qpq_panics_total", "Calls that ended in a panic: each is a bug."),

            connections: new.gauge("qpq_connections", "Connections that are being served."),
            connections_total: new.counter("qpq_connections_total", "Connections served since the start."),
            connections_refused: new.counters_with(
                "qpq_connections_refused_total",
                "Connections that were closed or not accepted, by reason.",
                "reason",
                labels::REFUSALS,
            ),
            handshakes: new.counters_with(
                "qpq_handshakes_total",
                "QUIC handshakes; `retried` ones had to show first that their address is theirs.",
                "outcome",
                labels::HANDSHAKES,
            ),
            handshakes_open: new.gauge("qpq_handshakes_open", "Handshakes under way."),
            sessions: new.gauge("qpq_sessions", "Connections that have authenticated."),
            streams: new.gauge("qpq_streams", "Open delivery streams: devices that are online."),
            certificate_expiry: new.gauge(
                "qpq_certificate_expiry_timestamp_seconds",
                "When the TLS certificate in use expires, as Unix time.",
            ),

            logins: new.counters("qpq_logins_total", "Logins with a password and resumptions.", &["kind", "outcome"]),
            registrations: new.counter("qpq_registrations_total", "Accounts created."),
            rate_limited: new.counters_with(
                "qpq_rate_limited_total",
                "Refusals by a rate limit, by its name in the configuration.",
                "limit",
                labels::RATE_LIMITS,
            ),

            posts: new.counters_with("qpq_posts_total", "Messages posted.", "outcome", labels::POSTS),
            posted_bytes: new.counter("qpq_posted_bytes_total", "Payload bytes of accepted messages."),
            commits: new.counters_with("qpq_commits_total", "Commits submitted.", "outcome", labels::COMMITS),
            fanout: new.histogram("qpq_fanout_devices", "Online devices that one new entry was for.", COUNTS),
            deliveries: new.counter("qpq_deliveries_total", "Entries pushed to devices."),
            delivered_bytes: new.counter("qpq_delivered_bytes_total", "Payload bytes of the entries pushed to devices, echoes included."),
            delivery_lag: new.histogram(
                "qpq_delivery_lag_seconds",
                "Time from accepting an entry to pushing it to a device that was online by then; of each push the oldest entry.",
                SECONDS,
            ),
            whispers: new.counter("qpq_whispers_total", "Whispers (typing and the like) handed to devices that are online."),
            file_bytes_received: new.counter("qpq_file_bytes_received_total", "Bytes of files that were uploaded."),
            file_bytes_sent: new.counter("qpq_file_bytes_sent_total", "Bytes of files that were downloaded."),
            files: new.gauge("qpq_files", "Files kept, unfinished uploads included."),
            file_bytes: new.gauge("qpq_file_bytes", "Bytes of files kept."),
            claims: new.counters_with(
                "qpq_key_package_claims_total",
                "Key packages handed out; `last_resort`: the device had no other left.",
                "kind",
                &["one_time", "last_resort"],
            ),
            key_packages: new.gauge("qpq_key_packages", "One-time key packages in stock, of all devices."),
            devices_short_of_key_packages: new.gauge(
                "qpq_devices_without_key_packages",
                "Devices that have no one-time key package left.",
            ),

            accounts: new.gauge("qpq_accounts", "Accounts."),
            devices: new.gauge("qpq_devices", "Devices of all accounts."),
            groups: new.gauge("qpq_groups", "Groups, conversations of two included."),
            log_entries: new.gauge("qpq_log_entries", "Entries kept in the logs of all groups."),
            longest_log: new.gauge("qpq_log_entries_most", "Entries kept in the longest log."),
            inbox_entries: new.gauge("qpq_inbox_entries", "Entries kept in the inboxes of all devices."),
            limits: new.gauges(
                "qpq_limit",
                "Limits of the configuration that other metrics come up against.",
                &["limit"],
            ),

            transaction_jobs: new.histogram(
                "qpq_store_transaction_jobs",
                "Operations that shared one transaction (group commit).",
                COUNTS,
            ),
            transaction_seconds: new.histogram(
                "qpq_store_transaction_seconds",
                "Duration of a write transaction, flush included.",
                SECONDS,
            ),
            flush_seconds: new.histogram(
                "qpq_store_flush_seconds",
                "Duration of a COMMIT: the write to the log and its fsync.",
                SECONDS,
            ),
            transactions_failed: new.counter("qpq_store_transactions_failed_total", "Transactions rolled back."),
            waiting_jobs: new.gauge("qpq_store_waiting_jobs", "Writes that wait for the next transaction."),
            waiting_validations: new.gauge("qpq_waiting_validations", "Commits and the like that wait for a thread."),
            database_bytes: new.gauge("qpq_store_database_bytes", "Size of the database file."),
            database_free_bytes: new.gauge(
                "qpq_store_database_free_bytes",
                "Part of the database file that is free for reuse; `qpq-server vacuum` gives it back.",
            ),
            wal_bytes: new.gauge("qpq_store_wal_bytes", "Size of the database's write-ahead log."),
            disk_free_bytes: new.gauge("qpq_disk_free_bytes", "Free space on the file system of the data directory."),
            disk_bytes: new.gauge("qpq_disk_bytes", "Size of the file system of the data directory."),

            swept: new.counter("qpq_swept_entries_total", "Log entries whose payload was erased."),
            swept_parts: new.counter("qpq_swept_file_parts_total", "Parts of files that were erased."),
            sweep_seconds: new.histogram("qpq_sweep_duration_seconds", "Duration of one round of sweeping.", SECONDS),
            last_sweep: new.gauge(
                "qpq_last_sweep_timestamp_seconds",
                "When a round of sweeping last succeeded, as Unix time; at first when the server started.",
            ),
            upkeep_failures: new.counters_with(
                "qpq_upkeep_failures_total",
                "Regular tasks that failed; they are tried again.",
                "task",
                labels::TASKS,
            ),

            process: Process::declare(&mut new),
            registry: new.registry,
            declarations: new.declarations,
        }
    }

    /// What `/metrics` answers.
    pub fn text(&self) -> Vec<u8> {
        self.process.refresh();
        let mut text = Vec::new();
        // It fails only when a metric was declared wrongly, which `new` would have shown.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }

    /// The table of the documentation: a row for each metric.
    pub fn table(&self) -> String {
        self.declarations.iter().map(Declaration::row).collect()
    }

    /// Counts one write transaction.
    pub fn transaction(&self, jobs: BatchSize, timing: &BatchTiming) {
        self.transaction_jobs.observe(jobs as f64);
        self.transaction_seconds.observe(timing.whole.as_secs_f64());
        match timing.flush {
            Some(flush) => self.flush_seconds.observe(flush.as_secs_f64()),
            None => self.transactions_failed.inc(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Sizes are small integers of the platform; what does not fit is more than any alert asks about.
fn number(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_text_has_what_was_counted() {
        let metrics = Metrics::new();
        metrics.posts.with_label_values(&["accepted"]).inc();
        let (whole, flush) = (Duration::from_millis(2), Duration::from_millis(1));
        metrics.transaction(3, &BatchTiming { whole, flush: Some(flush) });
        metrics.transaction(4, &BatchTiming { whole, flush: None });
        let text = String::from_utf8_lossy(&metrics.text()).into_owned();
        for line in [
            "qpq_posts_total{outcome=\"accepted\"} 1",
            "qpq_posts_total{outcome=\"stale_epoch\"} 0",
            "qpq_store_transaction_jobs_sum 7",
            "qpq_store_flush_seconds_count 1",
            "qpq_store_transactions_failed_total 1",
            "qpq_build_info{version=",
        ] {
            assert!(text.contains(line), "{line} is missing");
        }
    }

    #[test]
    fn the_documentation_lists_every_metric_as_it_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/metrics.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        let table: String =
            page.lines().filter(|line| line.starts_with("| `")).map(|line| format!("{line}\n")).collect();
        let current = Metrics::new().table();
        assert!(table == current, "the rows in docs/src/metrics.md are the output of `qpq-server metrics-table`");
    }

    #[test]
    fn names_follow_the_conventions() {
        for Declaration { name, kind, help, .. } in Metrics::new().declarations {
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            assert!(help.ends_with('.') && !help.contains('|'), "{name}: {help}");
            let is_ours = name.starts_with("qpq_") || name.starts_with("process_");
            assert!(is_ours && !name.contains("millis") && !name.ends_with("_count"), "{name}");
        }
    }

    #[test]
    fn buckets_grow() {
        for buckets in [SECONDS, COUNTS] {
            assert!(buckets.is_sorted_by(|a, b| a < b));
        }
    }
}
