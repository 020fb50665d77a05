//! What the server counts, in the Prometheus text format. Labels are closed sets: never a name, an address or an id.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// All counters of one server.
pub struct Metrics {
    registry: Registry,
    pub rpc_calls: IntCounterVec,
    pub rpc_seconds: HistogramVec,
    pub connections: IntGauge,
    pub connections_total: IntCounter,
    pub connections_refused: IntCounter,
    pub sessions: IntGauge,
    pub streams: IntGauge,
    pub posts: IntCounterVec,
    pub commits: IntCounterVec,
    pub deliveries: IntCounter,
    pub delivered_bytes: IntCounter,
    pub claims: IntCounterVec,
    pub logins: IntCounterVec,
    pub registrations: IntCounter,
    pub rate_limited: IntCounterVec,
    pub swept: IntCounter,
    pub swept_parts: IntCounter,
    pub transaction_jobs: Histogram,
    pub transaction_seconds: Histogram,
    pub ready: IntGauge,
}

impl Metrics {
    /// A fresh set, all at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let build_info = counters(&registry, "qpq_build_info", "Always 1; the version that runs.", &["version"]);
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).inc();
        Self {
            rpc_calls: counters(&registry, "qpq_rpc_calls_total", "RPC calls answered.", &["method", "outcome"]),
            rpc_seconds: register(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new("qpq_rpc_duration_seconds", "Time from call to answer.")
                        .buckets(SECONDS.to_vec()),
                    &["method"],
                ),
            ),
            connections: gauge(&registry, "qpq_connections", "Connections that are being served."),
            connections_total: counter(&registry, "qpq_connections_total", "Connections served since the start."),
            connections_refused: counter(
                &registry,
                "qpq_connections_refused_total",
                "Connections closed because their address has too many, or because they did not authenticate in time.",
            ),
            sessions: gauge(&registry, "qpq_sessions", "Connections that have authenticated."),
            streams: gauge(&registry, "qpq_streams", "Open delivery streams."),
            posts: counters(&registry, "qpq_posts_total", "Messages posted.", &["outcome"]),
            commits: counters(&registry, "qpq_commits_total", "Commits submitted.", &["outcome"]),
            deliveries: counter(&registry, "qpq_deliveries_total", "Entries pushed to devices."),
            delivered_bytes: counter(&registry, "qpq_delivered_bytes_total", "Payload bytes pushed to devices."),
            claims: counters(&registry, "qpq_key_package_claims_total", "Key packages handed out.", &["kind"]),
            logins: counters(&registry, "qpq_logins_total", "Logins and resumptions.", &["kind", "outcome"]),
            registrations: counter(&registry, "qpq_registrations_total", "Accounts created."),
            rate_limited: counters(&registry, "qpq_rate_limited_total", "Refusals by a rate limit.", &["limit"]),
            swept: counter(&registry, "qpq_swept_entries_total", "Log entries whose payload was erased."),
            swept_parts: counter(&registry, "qpq_swept_file_parts_total", "Parts of files that were erased."),
            transaction_jobs: histogram(
                &registry,
                "qpq_store_transaction_jobs",
                "Operations that shared one transaction.",
                &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
            ),
            transaction_seconds: histogram(
                &registry,
                "qpq_store_transaction_seconds",
                "Duration of a write transaction, flush included.",
                SECONDS,
            ),
            ready: gauge(&registry, "qpq_ready", "1 while the server accepts work."),
            registry,
        }
    }

    /// What `/metrics` answers.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // It fails only when a metric was declared wrongly, which `new` would have shown.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }

    /// Counts one write transaction.
    pub fn transaction(&self, jobs: usize, duration: Duration) {
        self.transaction_jobs.observe(jobs as f64);
        self.transaction_seconds.observe(duration.as_secs_f64());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// From a cached read to a disk in trouble.
const SECONDS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    register(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("names and labels are constants, and valid");
    registry.register(Box::new(metric.clone())).expect("every name is registered once");
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_what_was_counted() {
        let metrics = Metrics::new();
        metrics.posts.with_label_values(&["accepted"]).inc();
        metrics.transaction(3, Duration::from_millis(2));
        let text = String::from_utf8_lossy(&metrics.text()).into_owned();
        for line in
            ["qpq_posts_total{outcome=\"accepted\"} 1", "qpq_store_transaction_jobs_sum 3", "qpq_build_info{version="]
        {
            assert!(text.contains(line), "{line} is missing");
        }
    }
}
