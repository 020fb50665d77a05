//! Declaring metrics: each is registered once, and remembered for the table of the documentation.

use prometheus::core::Collector;
use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// What a metric is, for people.
pub struct Declaration {
    pub name: &'static str,
    pub kind: &'static str,
    pub labels: Vec<String>,
    pub help: &'static str,
}

impl Declaration {
    /// A row of a Markdown table.
    pub fn row(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |\n", self.name, self.kind, labels.join(", "), self.help)
    }
}

/// A registry that is being filled.
#[derive(Default)]
pub struct Declare {
    pub registry: Registry,
    pub declarations: Vec<Declaration>,
}

impl Declare {
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> IntCounter {
        self.register("counter", name, help, IntCounter::new(name, help))
    }

    pub fn float_counter(&mut self, name: &'static str, help: &'static str) -> Counter {
        self.register("counter", name, help, Counter::new(name, help))
    }

    pub fn counters(&mut self, name: &'static str, help: &'static str, labels: &[&str]) -> IntCounterVec {
        self.register("counter", name, help, IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// With one label, whose values are known: all of them are there from the start, so that a first time is a rise.
    pub fn counters_with(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &str,
        values: &[&str],
    ) -> IntCounterVec {
        let counters = self.counters(name, help, &[label]);
        for value in values {
            counters.with_label_values(&[*value]);
        }
        counters
    }

    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> IntGauge {
        self.register("gauge", name, help, IntGauge::new(name, help))
    }

    pub fn float_gauge(&mut self, name: &'static str, help: &'static str) -> Gauge {
        self.register("gauge", name, help, Gauge::new(name, help))
    }

    pub fn gauges(&mut self, name: &'static str, help: &'static str, labels: &[&str]) -> IntGaugeVec {
        self.register("gauge", name, help, IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub fn histogram(&mut self, name: &'static str, help: &'static str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register("histogram", name, help, Histogram::with_opts(options))
    }

    pub fn histograms(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register("histogram", name, help, HistogramVec::new(options, labels))
    }

    fn register<C: Collector + Clone + 'static>(
        &mut self,
        kind: &'static str,
        name: &'static str,
        help: &'static str,
        metric: prometheus::Result<C>,
    ) -> C {
        let metric = metric.expect("names and labels are constants, and valid");
        self.registry.register(Box::new(metric.clone())).expect("every name is registered once");
        let labels = metric.desc().iter().flat_map(|desc| desc.variable_labels.clone()).collect();
        self.declarations.push(Declaration { name, kind, labels, help });
        metric
    }
}

/// From a cached read to a disk in trouble.
pub const SECONDS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// From nothing to the largest group.
pub const COUNTS: &[f64] = &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
