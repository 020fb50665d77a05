//! The server's machine: the service and its store over one file, started and killed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result};
use qpq_io::db::{self, DbKey, OpenOptions};
use qpq_server::Config;
use qpq_server::config::Policy;
use qpq_server::metrics::Metrics;
use qpq_server::service::{Clock, Listeners, Options, Service};
use qpq_server::store::change::Change;
use qpq_server::store::sqlcipher::{self, Quotas, SqlCipherStore, snapshot};
use tempfile::TempDir;

use super::agenda::Agenda;
use super::store::{Pace, SlowStore};
use super::tasks::at_once;

/// The machine. What is in `running` is lost when it is killed; the file stays.
pub struct Server {
    folder: TempDir,
    agenda: Agenda,
    pub running: Option<Running>,
    changes: Arc<Mutex<Vec<Change>>>,
}

/// The process.
pub struct Running {
    pub service: Arc<Service>,
    /// Without the delays: for looking at what is on disk.
    pub store: Arc<SqlCipherStore>,
}

impl Server {
    /// A machine with this database, switched off.
    pub fn new(agenda: Agenda, database: &[u8]) -> Result<Self> {
        let folder = folder()?;
        std::fs::write(database_in(&folder), database)?;
        Ok(Self { folder, agenda, running: None, changes: Arc::default() })
    }

    /// Starts the process. With a `pace` its store takes its time once it runs.
    pub fn start(&mut self, pace: Option<Pace>) -> Result<()> {
        let listeners = Listeners::default();
        let store = Arc::new(self.open(&listeners)?);
        let slow = Arc::new(SlowStore { inner: store.clone(), pace: OnceLock::new() });
        let clock = self.agenda.clone();
        let clock = Clock::new(move || clock.now());
        let service = Service::start(slow.clone(), listeners, options(), Arc::new(Metrics::new()), clock);
        let service = at_once(service).context("the service waits for something at its start")??;
        if let Some(pace) = pace {
            let _ = slow.pace.set(pace);
        }
        self.running = Some(Running { service, store });
        Ok(())
    }

    fn open(&self, listeners: &Listeners) -> Result<SqlCipherStore> {
        let (on_commit, changes) = (listeners.hook(), self.changes.clone());
        let options = sqlcipher::Options {
            quotas: Quotas {
                log_entries_per_group: 100_000,
                inbox_entries_per_device: 1000,
                key_packages_per_device: 500,
                file_bytes_per_account: 100_000_000,
            },
            on_commit: Arc::new(move |more| {
                changes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(more);
                on_commit(more);
            }),
            observer: Arc::new(|_, _| {}),
        };
        Ok(SqlCipherStore::open_inline(&database_in(&self.folder), &key(), options)?)
    }

    /// What has changed since the last time.
    pub fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A copy of the files of a running server, between two transactions.
    pub fn copy(&self) -> Result<Files> {
        let names = FILES.iter().filter(|name| self.folder.path().join(name).exists());
        names.map(|name| Ok((*name, std::fs::read(self.folder.path().join(name))?))).collect()
    }

    /// Puts a copy in the place of what a server that is switched off has.
    pub fn put_back(&self, files: &Files) -> Result<()> {
        for name in FILES.iter().chain(&[SHARED_MEMORY]) {
            let _ = std::fs::remove_file(self.folder.path().join(name));
        }
        for (name, bytes) in files {
            std::fs::write(self.folder.path().join(name), bytes)?;
        }
        let connection = db::open(&database_in(&self.folder), &key(), &OpenOptions::default())?;
        Ok(snapshot::set_apart(&connection)?)
    }

    /// The database of a server that is switched off.
    pub fn database(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(database_in(&self.folder))?)
    }
}

/// Files by name.
pub type Files = Vec<(&'static str, Vec<u8>)>;

const FILES: [&str; 2] = ["qpq.db", "qpq.db-wal"];
const SHARED_MEMORY: &str = "qpq.db-shm";

fn database_in(folder: &TempDir) -> PathBuf {
    folder.path().join(FILES[0])
}

fn key() -> DbKey {
    DbKey::from_bytes([7; 32])
}

/// In memory where there is such a place: what a power cut does to a disk is not what is simulated here.
fn folder() -> Result<TempDir> {
    let prefix = "qpq-sim";
    let folder = tempfile::Builder::new().prefix(prefix).tempdir_in("/dev/shm");
    Ok(folder.or_else(|_| tempfile::Builder::new().prefix(prefix).tempdir())?)
}

/// Rates are counted by the machine's real clock, which hardly moves during a run: they must never be reached.
fn options() -> Options {
    let mut options = Options::from(&Config::default());
    options.policy = Policy::Open;
    options.threads = 0;
    let limits = &mut options.limits;
    for rate in [
        &mut limits.posts_per_minute,
        &mut limits.claims_per_minute,
        &mut limits.claims_per_minute_per_target,
        &mut limits.logins_per_minute_per_account,
        &mut limits.logins_per_minute_per_address,
    ] {
        *rate = RATE;
    }
    options.registrations_per_hour = RATE;
    options
}

const RATE: u32 = 1_000_000_000;
