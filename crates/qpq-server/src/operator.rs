//! What an operator does beside the running server: invites, accounts, a look at its health. Works on the database
//! itself; a running server notices within a second.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use qpq_proto::account::UserName;

use crate::config::Config;
use crate::error::Error;
use crate::rewrite;
use crate::server::addresses_file;
use crate::service::{Clock, invites};
use crate::setup;
use crate::store::account::AccountSummary;
use crate::store::sqlcipher::{SqlCipherStore, audit};
use crate::store::{Reply, Store as _};

pub use crate::store::sqlcipher::audit::Subject;

/// The database, opened beside the server.
pub struct Operator {
    store: SqlCipherStore,
    runtime: tokio::runtime::Runtime,
}

impl Operator {
    /// Opens the database of the configuration, and creates it if there is none yet.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(config: &Config) -> Result<Self, Error> {
        setup::data_dir(config)?;
        rewrite::settle_beside(config)?;
        let store = setup::store(config, Arc::new(|_| {}), Arc::new(|_, _| {}))?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().map_err(Error::system("cannot start a runtime"))?;
        Ok(Self { store, runtime })
    }

    /// Makes one-time registration codes. They are shown here and never again.
    ///
    /// # Errors
    /// When they cannot be stored.
    pub fn invite(&self, count: usize, lifetime: Duration) -> Result<Vec<String>, Error> {
        let (codes, hashes) = (0..count).map(|_| invites::generate()).unzip();
        self.wait(self.store.add_invites(hashes, Clock::system().now().after(lifetime)))?;
        Ok(codes)
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn users(&self) -> Result<Vec<AccountSummary>, Error> {
        self.wait(self.store.accounts())
    }

    /// Locks an account out. Its sessions end, its groups and messages stay. False: no such account.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn disable(&self, name: UserName) -> Result<bool, Error> {
        self.wait(self.store.set_disabled(name, true))
    }

    /// Lets a disabled account in again. False: no such account.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn enable(&self, name: UserName) -> Result<bool, Error> {
        self.wait(self.store.set_disabled(name, false))
    }

    /// Forgets an account for good. False: no such account.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn delete(&self, name: UserName) -> Result<bool, Error> {
        self.wait(self.store.delete_account(name))
    }

    fn wait<T>(&self, reply: Reply<T>) -> Result<T, Error> {
        Ok(self.runtime.block_on(reply)?)
    }
}

/// Everything that is stored about `subject`, as lines of text. None: there is no such user or group.
///
/// # Errors
/// When the database cannot be opened or read.
pub fn audit(config: &Config, subject: &Subject) -> Result<Option<String>, Error> {
    let path = config.path(&config.store.path);
    rewrite::settle_beside(config)?;
    let key = setup::existing_key(config)?;
    audit::audit(&path, &key, subject).map_err(|reason| Error::Database { path, reason })
}

/// Asks the running server whether it is ready.
///
/// # Errors
/// [`Error::NotReady`] with the reason.
pub fn healthcheck(config: &Config) -> Result<(), Error> {
    let address = metrics_address(config)?;
    let failed = |error: std::io::Error| Error::NotReady(format!("{address}: {error}"));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").map_err(failed)?;
    let mut response = String::new();
    stream.take(MOST_BYTES).read_to_string(&mut response).map_err(failed)?;
    if response.starts_with("HTTP/1.1 200") {
        return Ok(());
    }
    let reason = response.lines().last().filter(|line| !line.is_empty()).unwrap_or("no answer");
    Err(Error::NotReady(reason.to_owned()))
}

/// Where the running server says that it is. Where the configuration has it there may be somebody else.
fn metrics_address(config: &Config) -> Result<SocketAddr, Error> {
    let written = std::fs::read_to_string(addresses_file(config)).unwrap_or_default();
    let found = written.lines().find_map(|line| line.strip_prefix("metrics on ")?.parse().ok());
    let mut address: SocketAddr = found.ok_or_else(|| {
        Error::NotReady(format!("no server runs with the data directory {}", config.data_dir.display()))
    })?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address)
}

const PATIENCE: Duration = Duration::from_secs(5);

/// More than any answer to that question has.
const MOST_BYTES: u64 = 16 * 1024;
