//! The sections of the file.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use qpq_proto::limits;
use serde::{Deserialize, Serialize};

use super::units::{ByteSize, Lifetime};

/// How careful the server is with itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Development,
    /// Refuses self-made certificates, open file modes and missing keys.
    Production,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Default for Tls {
    fn default() -> Self {
        Self { cert: "cert.pem".into(), key: "key.pem".into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    SqlCipher,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    pub backend: Backend,
    pub path: PathBuf,
    pub key_file: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Self { backend: Backend::SqlCipher, path: "qpq.db".into(), key_file: "db.key".into() }
    }
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    Open,
    /// Whoever has a one-time code.
    Invite,
    Closed,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registration {
    /// Unset: open in development, by invitation in production.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    pub listen: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)) }
    }
}

/// What one client, account or group may use. Enforced before work is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub max_connections: usize,
    pub connections_per_address: usize,
    pub calls_in_flight: usize,
    pub max_message: ByteSize,
    pub max_commit: ByteSize,
    pub devices_per_account: usize,
    pub key_packages_per_device: u64,
    pub log_entries_per_group: u64,
    pub inbox_entries_per_device: u64,
    pub max_file: ByteSize,
    pub file_bytes_per_account: ByteSize,
    pub file_parts_per_minute: u32,
    pub posts_per_minute: u32,
    pub claims_per_minute: u32,
    pub claims_per_minute_per_target: u32,
    pub logins_per_minute_per_account: u32,
    pub logins_per_minute_per_address: u32,
    /// Unset: 1000 in development, 60 in production.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registrations_per_hour_per_address: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            connections_per_address: 4096,
            calls_in_flight: 256,
            max_message: ByteSize(limits::POST),
            max_commit: ByteSize(limits::HANDSHAKE),
            devices_per_account: limits::DEVICES,
            key_packages_per_device: 200,
            log_entries_per_group: 100_000,
            inbox_entries_per_device: 10_000,
            max_file: ByteSize(50 * 1024 * 1024),
            file_bytes_per_account: ByteSize(1024 * 1024 * 1024),
            file_parts_per_minute: 12_000,
            posts_per_minute: 6000,
            claims_per_minute: 1200,
            claims_per_minute_per_target: 600,
            logins_per_minute_per_account: 10,
            logins_per_minute_per_address: 600,
            registrations_per_hour_per_address: None,
        }
    }
}

impl Limits {
    /// Registrations from one address in an hour.
    pub fn registrations_per_hour(&self, mode: Mode) -> u32 {
        self.registrations_per_hour_per_address.unwrap_or(match mode {
            Mode::Development => 1000,
            Mode::Production => 60,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    pub entries: Lifetime,
    pub blobs: Lifetime,
    pub unreferenced_blobs: Lifetime,
}

impl Default for Retention {
    fn default() -> Self {
        let month = Lifetime(Duration::from_secs(30 * 24 * 3600));
        let day = Lifetime(Duration::from_secs(24 * 3600));
        Self { entries: month, blobs: month, unreferenced_blobs: day }
    }
}

/// Where spans of requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Traces {
    /// Empty: nowhere.
    pub collector: String,
    pub one_in: u32,
}

impl Default for Traces {
    fn default() -> Self {
        Self { collector: String::new(), one_in: 1 }
    }
}

impl Traces {
    /// Host and port of the collector, if there is one.
    ///
    /// # Errors
    /// What its address should be.
    pub fn authority(&self) -> Result<Option<String>, String> {
        if self.collector.is_empty() {
            return Ok(None);
        }
        let rest = self.collector.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let is_good = |authority: &&str| {
            let (host, port) = authority.rsplit_once(':').unwrap_or_default();
            let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
            !host.is_empty() && host.chars().all(is_host) && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        let wrong = || "should be an address such as \"http://127.0.0.1:4318\", without a path".to_owned();
        rest.filter(is_good).map(|authority| Some(authority.to_owned())).ok_or_else(wrong)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// As the logging library spells it. Below `info` that is for our own code; the network libraries stay at `info`.
    pub fn directives(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "info,qpq_server=debug,qpq_io=debug",
            Self::Trace => "info,qpq_server=trace,qpq_io=trace",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}
