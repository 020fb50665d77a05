//! A profile's directory: the key file, the encrypted database, and which server it belongs to.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use qpq_core::crypto::key_file::{self, KeyFileError};
use qpq_io::db::DbKey;
use qpq_io::files::{FileLock, lock_exclusive_within, write_atomically};
use qpq_io::rpc::connect::ServerAddress;
use qpq_io::rpc::pin::{ServerTrust, Verified};
use qpq_io::rpc::tls::Fingerprint;
use qpq_io::secret::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::options::Options;
use crate::store::Database;

/// An opened directory. Nobody else opens it while this lives.
pub struct Profile {
    pub home: PathBuf,
    pub server: ServerAddress,
    /// It is not the one that was remembered.
    pub has_moved: bool,
    ca_cert: Option<PathBuf>,
    known: Mutex<Known>,
    _lock: FileLock,
}

/// What `profile.toml` holds: nothing secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    format: u32,
    server: Option<String>,
    /// The pinned certificate.
    fingerprint: Option<String>,
    /// The certificate was valid under public roots: from then on it has to be.
    #[serde(default)]
    public_roots: bool,
}

impl Profile {
    /// Whether there is one whose registration is through.
    pub fn exists(home: &Path) -> bool {
        Self::is_begun(home) && !home.join(UNFINISHED).exists()
    }

    /// Whether there are keys, of an account that may not be registered yet.
    pub fn is_begun(home: &Path) -> bool {
        home.join(KEY_FILE).exists()
    }

    /// Locks the directory (which is made if it is not there) and reads what is known of the server.
    pub fn open(options: &Options) -> Result<Self, Error> {
        let home = options.home.clone();
        make_private_directory(&home)?;
        let lock = lock_exclusive_within(&home.join(LOCK_FILE), LOCK_PATIENCE)?;
        let mut known = read_known(&home)?;
        let remembered = known.server.as_deref().and_then(|server| server.parse().ok());
        let mut has_moved = false;
        let server = match (&options.server, remembered) {
            (Some(server), remembered) => {
                has_moved = remembered.is_some_and(|remembered: ServerAddress| remembered != *server);
                if has_moved {
                    // Another server has another certificate.
                    (known.fingerprint, known.public_roots) = (None, false);
                }
                server.clone()
            }
            (None, Some(remembered)) => remembered,
            (None, None) => default_server(),
        };
        if let Some(fingerprint) = options.fingerprint {
            known.fingerprint = Some(fingerprint.to_string());
        }
        let ca_cert = options.ca_cert.clone();
        Ok(Self { home, server, has_moved, ca_cert, known: Mutex::new(known), _lock: lock })
    }

    /// How the server's certificate is to be checked.
    pub fn trust(&self) -> Result<ServerTrust, Error> {
        if let Some(ca_cert) = &self.ca_cert {
            return Ok(ServerTrust::CaFile(ca_cert.clone()));
        }
        match self.known().fingerprint {
            Some(text) => {
                let fingerprint = text.parse().map_err(|_| Error::Corrupt("profile.toml: fingerprint".into()))?;
                Ok(ServerTrust::Pinned(fingerprint))
            }
            None => Ok(ServerTrust::SystemRootsOrFirstUse),
        }
    }

    /// Remembers the server and how its certificate was accepted; refuses a self-made certificate where a public one
    /// was seen before.
    pub fn remember(&self, verified: Verified) -> Result<(), Error> {
        let mut known = self.known();
        match verified {
            Verified::FirstUse(_) if known.public_roots => {
                return Err(Error::Certificate(
                    "this server had a certificate of a public authority before and now has one of its own; if its \
                     operator confirms that, give its fingerprint with --fingerprint"
                        .into(),
                ));
            }
            Verified::FirstUse(fingerprint) => known.fingerprint = Some(fingerprint.to_string()),
            Verified::Roots => known.public_roots = self.ca_cert.is_none(),
            Verified::Pinned => {}
        }
        known.format = 1;
        known.server = Some(format!("{}:{}", bracketed(&self.server.host), self.server.port));
        let text = toml::to_string(&known).map_err(|error| Error::Internal(error.to_string()))?;
        write_atomically(&self.home.join(PROFILE_FILE), text.as_bytes(), 0o600)?;
        *self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = known;
        Ok(())
    }

    /// The pinned certificate.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.known().fingerprint?.parse().ok()
    }

    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Makes key file and database, marked as unfinished. The key file comes last: without it nothing here can be read.
    pub fn create(&self, password: &SecretString) -> Result<Database, Error> {
        let key = DbKey::generate();
        let file = key_file::wrap(password.expose().as_bytes(), key.expose())
            .map_err(|error| Error::Internal(error.to_string()))?;
        self.remove_database()?;
        write_atomically(&self.home.join(UNFINISHED), b"", 0o600)?;
        let database = Database::open(&self.home.join(DATABASE), &key)?;
        write_atomically(&self.home.join(KEY_FILE), &file, 0o600)?;
        Ok(database)
    }

    /// Makes key file and database with something in it. There is no profile before there is a whole one.
    pub fn create_filled(
        &self,
        password: &SecretString,
        fill: impl FnOnce(&mut Database) -> Result<(), Error>,
    ) -> Result<Database, Error> {
        let key = DbKey::generate();
        let file = key_file::wrap(password.expose().as_bytes(), key.expose())
            .map_err(|error| Error::Internal(error.to_string()))?;
        self.remove_database()?;
        let mut database = Database::open(&self.home.join(DATABASE), &key)?;
        fill(&mut database)?;
        write_atomically(&self.home.join(KEY_FILE), &file, 0o600)?;
        Ok(database)
    }

    /// Left over from an attempt that was interrupted before its key file was written: nobody has the key of it.
    fn remove_database(&self) -> Result<(), Error> {
        DATABASE_FILES.into_iter().chain([UNFINISHED]).try_for_each(|name| {
            let path = self.home.join(name);
            remove(&path).map_err(|error| Error::Store(format!("cannot remove {}: {error}", path.display())))
        })
    }

    /// The registration is through.
    pub fn finish(&self) -> Result<(), Error> {
        let path = self.home.join(UNFINISHED);
        // Synced, because after a power cut the mark would hide a profile that is in use.
        let removed = remove(&path).and_then(|()| fs::File::open(&self.home)?.sync_all());
        removed.map_err(|error| Error::Store(format!("cannot remove {}: {error}", path.display())))
    }

    /// Opens the database with the password.
    pub fn unlock(&self, password: &SecretString) -> Result<Database, Error> {
        Ok(Database::open(&self.home.join(DATABASE), &DbKey::from_bytes(*self.database_key(password)?))?)
    }

    /// Whether [`Self::unlock`] would take it.
    pub fn check_password(&self, password: &SecretString) -> Result<(), Error> {
        self.database_key(password).map(drop)
    }

    /// While a change of the password has not come to its end, both passwords are good.
    fn database_key(&self, password: &SecretString) -> Result<Zeroizing<[u8; 32]>, Error> {
        match unwrap_file(&self.home.join(KEY_FILE), password) {
            Err(Error::WrongPassword) if self.home.join(NEW_KEY_FILE).exists() => {
                unwrap_file(&self.home.join(NEW_KEY_FILE), password)
            }
            outcome => outcome,
        }
    }

    /// Puts a key file for the new password beside the present one. Whether one for this password was there before: then an
    /// earlier change has not come to its end.
    pub fn prepare_password(&self, present: &SecretString, new: &SecretString) -> Result<bool, Error> {
        let key = self.database_key(present)?;
        let path = self.home.join(NEW_KEY_FILE);
        if path.exists() && unwrap_file(&path, new).is_ok() {
            return Ok(true);
        }
        let file = key_file::wrap(new.expose().as_bytes(), &key).map_err(|error| Error::Internal(error.to_string()))?;
        write_atomically(&path, &file, 0o600)?;
        Ok(false)
    }

    /// The account has the new password: so has the profile.
    pub fn adopt_password(&self) -> Result<(), Error> {
        let (from, to) = (self.home.join(NEW_KEY_FILE), self.home.join(KEY_FILE));
        let moved = fs::rename(&from, &to).and_then(|()| fs::File::open(&self.home)?.sync_all());
        moved.map_err(|error| Error::Store(format!("cannot replace {}: {error}", to.display())))
    }

    /// The account keeps the old password.
    pub fn discard_password(&self) {
        let _ = fs::remove_file(self.home.join(NEW_KEY_FILE));
    }

    /// An earlier change has not come to its end, and this is the password that the server takes.
    pub fn settle_password(&self, password: &SecretString) -> Result<(), Error> {
        let path = self.home.join(NEW_KEY_FILE);
        if !path.exists() {
            return Ok(());
        }
        if unwrap_file(&path, password).is_ok() {
            return self.adopt_password();
        }
        self.discard_password();
        Ok(())
    }

    /// Removes the profile for good. The key file goes first: what is left without it can be read by nobody.
    pub fn remove(&self) -> Result<(), Error> {
        let names =
            [KEY_FILE, NEW_KEY_FILE].into_iter().chain(DATABASE_FILES).chain([UNFINISHED, PROFILE_FILE, LOCK_FILE]);
        for name in names {
            let path = self.home.join(name);
            remove(&path).map_err(|error| Error::Store(format!("cannot remove {}: {error}", path.display())))?;
        }
        // Something of the user's may be in it.
        let _ = fs::remove_dir(&self.home);
        Ok(())
    }

    /// Takes back [`Self::create`] when nothing came of it, so that another name can be tried. The key file goes first:
    /// what is left of an interruption is then what [`Self::create`] removes.
    pub fn discard(&self) {
        for file in [KEY_FILE, NEW_KEY_FILE].into_iter().chain(DATABASE_FILES).chain([UNFINISHED]) {
            let _ = fs::remove_file(self.home.join(file));
        }
    }
}

fn unwrap_file(path: &Path, password: &SecretString) -> Result<Zeroizing<[u8; 32]>, Error> {
    let file = fs::read(path).map_err(|error| Error::Store(format!("{}: {error}", path.display())))?;
    key_file::unwrap(password.expose().as_bytes(), &file).map_err(|error| match error {
        KeyFileError::WrongPassword => Error::WrongPassword,
        KeyFileError::Damaged => Error::Corrupt("the key file is damaged".into()),
    })
}

/// Removes a file that need not be there.
fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read_known(home: &Path) -> Result<Known, Error> {
    let path = home.join(PROFILE_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|error| Error::Corrupt(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Known::default()),
        Err(error) => Err(Error::Store(format!("{}: {error}", path.display()))),
    }
}

fn make_private_directory(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::Store(format!("cannot make {}: {error}", path.display())))
}

pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn default_server() -> ServerAddress {
    ServerAddress { host: "127.0.0.1".into(), port: 7000 }
}

const KEY_FILE: &str = "profile.key";
/// For the new password, while it is being changed.
const NEW_KEY_FILE: &str = "profile.key.new";
const LOCK_FILE: &str = "lock";
/// Lies beside the key file until the server is known to have the account: the database that knows is encrypted.
const UNFINISHED: &str = "unfinished";
const DATABASE: &str = "qpq.db";
const DATABASE_FILES: [&str; 3] = [DATABASE, "qpq.db-wal", "qpq.db-shm"];
const PROFILE_FILE: &str = "profile.toml";
/// Two one-shot commands in a row must not trip over each other.
const LOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn open(text: &str) -> Result<Profile, Error> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(PROFILE_FILE), text).unwrap();
        let home = folder.path().to_owned();
        Profile::open(&Options { home, server: None, ca_cert: None, fingerprint: None })
    }

    /// The file as the first version wrote it.
    #[test]
    fn what_is_known_of_the_server_stays_readable() {
        let text =
            format!("format = 1\nserver = \"[::1]:7001\"\nfingerprint = \"{FINGERPRINT}\"\npublic_roots = true\n");
        let profile = open(&text).unwrap();
        assert_eq!((&profile.server.host[..], profile.server.port), ("::1", 7001));
        assert_eq!(profile.fingerprint(), FINGERPRINT.parse().ok());
        assert!(matches!(profile.trust(), Ok(ServerTrust::Pinned(_))) && profile.known().public_roots);
        assert_eq!(toml::to_string(&profile.known()).unwrap(), text);
        // Fields that came later may be missing, and those of a later version there.
        assert!(open("format = 1\n").is_ok());
        assert!(open("format = 2\nlater = \"more\"\n").is_ok());
    }

    #[test]
    fn while_a_password_changes_both_are_good_and_afterwards_one() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_owned();
        let profile = Profile::open(&Options { home, server: None, ca_cert: None, fingerprint: None }).unwrap();
        let password = |text: &str| SecretString::from(text.to_owned());
        let (old, new, other) = (password("old horse"), password("new horse"), password("other horse"));
        drop(profile.create(&old).unwrap());
        let opens = |password: &SecretString| profile.unlock(password).is_ok();
        assert!(matches!(profile.prepare_password(&other, &new), Err(Error::WrongPassword)));
        assert!(!profile.prepare_password(&old, &new).unwrap());
        assert!(opens(&old) && opens(&new) && !opens(&other));
        assert!(profile.prepare_password(&new, &new).unwrap(), "it goes on where it was");
        assert!(!profile.prepare_password(&old, &other).unwrap(), "another one takes its place");
        assert!(opens(&old) && !opens(&new) && opens(&other));
        profile.discard_password();
        assert!(opens(&old) && !opens(&other));

        profile.prepare_password(&old, &new).unwrap();
        profile.adopt_password().unwrap();
        assert!(!opens(&old) && opens(&new));
        // The server says which one it is.
        profile.prepare_password(&new, &other).unwrap();
        profile.settle_password(&new).unwrap();
        assert!(opens(&new) && !opens(&other));
        profile.prepare_password(&new, &other).unwrap();
        profile.settle_password(&other).unwrap();
        assert!(!opens(&new) && opens(&other));
    }

    #[test]
    fn nothing_is_left_of_a_removed_profile() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("profile");
        let options = Options { home: home.clone(), server: None, ca_cert: None, fingerprint: None };
        let profile = Profile::open(&options).unwrap();
        drop(profile.create(&SecretString::from("a horse".to_owned())).unwrap());
        profile.remove().unwrap();
        assert!(!home.exists());
        profile.remove().unwrap();
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_trust() {
        for text in ["format = \"one\"", "format = 1\nserver = 7", "\0\0\0\0", "fingerprint"] {
            assert!(matches!(open(text), Err(Error::Corrupt(_))), "{text:?}");
        }
        let profile = open("format = 1\nfingerprint = \"no hexadecimal\"\n").unwrap();
        assert!(matches!(profile.trust(), Err(Error::Corrupt(_))), "never first use");
    }
}
