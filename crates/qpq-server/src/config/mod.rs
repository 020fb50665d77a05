//! What an operator can set: one TOML file, environment variables over it, and defaults for everything.

mod check;
mod example;
mod load;
mod sections;
mod units;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use example::example;
pub use load::ConfigError;
pub use sections::{
    Backend, Limits, Log, LogFormat, LogLevel, Metrics, Mode, Policy, Registration, Retention, Store, Tls, Traces,
};
pub use units::{ByteSize, Lifetime};

/// All settings. Every field is public: any combination is checked when the server starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub listen: SocketAddr,
    pub domain: String,
    pub data_dir: PathBuf,
    pub mode: Mode,
    pub workers: usize,
    pub tls: Tls,
    pub store: Store,
    pub registration: Registration,
    pub metrics: Metrics,
    pub limits: Limits,
    pub retention: Retention,
    pub log: Log,
    pub traces: Traces,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7000)),
            domain: "localhost".into(),
            data_dir: default_data_dir(),
            mode: Mode::Development,
            workers: 0,
            tls: Tls::default(),
            store: Store::default(),
            registration: Registration::default(),
            metrics: Metrics::default(),
            limits: Limits::default(),
            retention: Retention::default(),
            log: Log::default(),
            traces: Traces::default(),
        }
    }
}

impl Config {
    /// A server for trying out and for tests: everything under `data_dir`, free ports on this machine alone, a certificate
    /// of its own, open registration.
    pub fn development(data_dir: PathBuf) -> Self {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { listen: anywhere, data_dir, metrics: Metrics { listen: anywhere }, ..Self::default() }
    }

    /// A path of the configuration; relative ones are inside of the data directory.
    pub fn path(&self, path: &std::path::Path) -> PathBuf {
        self.data_dir.join(path)
    }

    /// Threads that serve connections.
    pub fn worker_threads(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            workers => workers,
        }
    }

    /// Who may register.
    pub fn policy(&self) -> Policy {
        self.registration.policy.unwrap_or(match self.mode {
            Mode::Development => Policy::Open,
            Mode::Production => Policy::Invite,
        })
    }
}

fn default_data_dir() -> PathBuf {
    use etcetera::BaseStrategy as _;
    match etcetera::base_strategy::Xdg::new() {
        Ok(xdg) => xdg.data_dir().join("qpq-server"),
        Err(_) => PathBuf::from("qpq-server-data"),
    }
}
