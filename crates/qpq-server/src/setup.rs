//! What has to be there before a server can run: directory, lock, certificate, key, database.

use std::fs;
use std::path::Path;

use qpq_io::db::DbKey;
use qpq_io::files::{self, FileLock};
use qpq_io::rpc::tls::ServerCertificate;

use crate::config::{Config, Mode};
use crate::error::Error;
use crate::store::change::OnCommit;
use crate::store::sqlcipher::{BatchObserver, Options, Quotas, SqlCipherStore};

/// Makes the data directory, readable for nobody else.
pub fn data_dir(config: &Config) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(&config.data_dir)
        .map_err(Error::system(format!("cannot create the data directory {}", config.data_dir.display())))
}

/// Keeps a second server away from the data directory for as long as the lock lives.
pub fn lock(config: &Config) -> Result<FileLock, Error> {
    match files::lock_exclusive(&config.data_dir.join("lock")) {
        Ok(lock) => Ok(lock),
        Err(qpq_io::Error::InUse { .. }) => Err(Error::AlreadyRunning(config.data_dir.clone())),
        Err(other) => Err(other.into()),
    }
}

/// The certificate of the configuration. In development mode it is made if it is missing.
pub fn certificate(config: &Config) -> Result<ServerCertificate, Error> {
    let (cert, key) = (config.path(&config.tls.cert), config.path(&config.tls.key));
    match config.mode {
        Mode::Production => {
            demand(&cert, "tls.cert")?;
            demand_private(&key, "tls.key")?;
            Ok(ServerCertificate::from_pem_files(&cert, &key)?)
        }
        Mode::Development => {
            let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
            if !names.contains(&config.domain) {
                names.push(config.domain.clone());
            }
            Ok(ServerCertificate::self_signed(&cert, &key, &names)?)
        }
    }
}

/// Opens the database. In development mode its key is made if it is missing.
pub fn store(config: &Config, on_commit: OnCommit, observer: BatchObserver) -> Result<SqlCipherStore, Error> {
    let (path, key_file) = (config.path(&config.store.path), config.path(&config.store.key_file));
    let is_strict = is_strict(config);
    if is_strict {
        demand_private(&key_file, "store.key_file")?;
    } else if path.exists() && !key_file.exists() {
        return Err(qpq_io::Error::Config(format!(
            "{} is there but its key {} is not: restore the key",
            path.display(),
            key_file.display()
        ))
        .into());
    }
    let key = DbKey::load_or_create(&key_file, is_strict)?;
    let quotas = Quotas::from(&config.limits);
    SqlCipherStore::open(&path, &key, Options { quotas, on_commit, observer })
        .map_err(|reason| Error::Database { path, reason })
}

/// The database key, which is not made when it is missing.
pub fn existing_key(config: &Config) -> Result<DbKey, Error> {
    let path = config.path(&config.store.key_file);
    if !path.exists() {
        return Err(Error::Backup(format!(
            "the database key {} (store.key_file) is not there: put the copy that you keep apart from the backups in \
             its place",
            path.display()
        )));
    }
    if is_strict(config) {
        demand_private(&path, "store.key_file")?;
    }
    Ok(DbKey::load_or_create(&path, is_strict(config))?)
}

fn is_strict(config: &Config) -> bool {
    match config.mode {
        Mode::Production => true,
        Mode::Development => false,
    }
}

/// What production mode asks of the files, for `check-config`.
pub fn check_files(config: &Config) -> Result<(), Error> {
    match config.mode {
        Mode::Production => {
            demand_private(&config.path(&config.store.key_file), "store.key_file")?;
            certificate(config).map(|_| ())
        }
        Mode::Development => Ok(()),
    }
}

fn demand(path: &Path, key: &str) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    Err(Error::NotForProduction(format!("{} is missing; {key} should name an existing file", path.display())))
}

fn demand_private(path: &Path, key: &str) -> Result<(), Error> {
    demand(path, key)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = fs::metadata(path).map_err(Error::system(format!("cannot inspect {}", path.display())))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::NotForProduction(format!(
                "{} ({key}) can be read by others (mode {mode:o}): chmod 600 it",
                path.display()
            )));
        }
    }
    Ok(())
}
