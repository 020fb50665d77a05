//! Registration and login: a connection of their own, before the profile goes on-line by itself.

use std::cell::Cell;

use qpq_core::account::generate;
use qpq_core::crypto::recovery::RecoverySecret;
use qpq_core::store::rows::{AccountRow, Row as _};
use qpq_io::rpc::connect::{ClientConnection, Connector};
use qpq_io::secret::SecretString;
use qpq_proto::account::UserName;

use crate::error::Error;
use crate::own_account::recovered;
use crate::profile::Profile;
use crate::store::Database;
use crate::wire::{self, Authentication, DeviceKey, Greeted, authenticate, greet, login, not_linked, resume};

/// Makes identity and device, and registers them, or finishes an attempt that was interrupted. An account that the server
/// may have accepted is never given up.
pub fn register(
    profile: &Profile,
    name: &UserName,
    password: &SecretString,
    invite: Option<&str>,
) -> Result<Database, Error> {
    let mut database =
        if Profile::is_begun(&profile.home) { profile.unlock(password)? } else { profile.create(password)? };
    let earlier = load(&mut database)?;
    if earlier.as_ref().is_some_and(|account| account.registered) {
        let unfinished = !Profile::exists(&profile.home);
        profile.finish()?;
        return match earlier {
            Some(account) if unfinished && account.name == *name => Ok(database),
            _ => Err(Error::ProfileExists(profile.home.display().to_string())),
        };
    }
    let begun_before = earlier.is_some();
    if begun_before && profile.has_moved {
        // What this server does not know another one may.
        return Err(Error::BadInput(
            "this registration was begun at another server; finish it there, or choose another directory with --home"
                .into(),
        ));
    }
    // The keys are on disk before the server hears of them: an answer that gets lost loses no account.
    let mut account = match earlier {
        Some(account) => account,
        None => begin(&mut database, name)?,
    };
    let unanswered = Cell::new(false);
    let outcome = once(profile, async |connection, greeted| {
        if begun_before {
            // The earlier attempt may have been accepted, and its answer lost.
            match resume(&connection, &greeted, &DeviceKey::of(&account)).await {
                Ok(_) => return Ok(()),
                Err(Error::DeviceUnknown) if account.name != *name => account = begin(&mut database, name)?,
                Err(Error::DeviceUnknown) => {}
                Err(error) => return Err(error),
            }
        }
        let how = Authentication::Register {
            password: password.expose().as_bytes(),
            invite: invite.unwrap_or_default(),
            unanswered: &unanswered,
        };
        match authenticate(&connection, &greeted, &account, how).await {
            // By the earlier attempt, which took its time?
            Err(Error::NameTaken) if begun_before => {
                match resume(&connection, &greeted, &DeviceKey::of(&account)).await {
                    Err(Error::DeviceUnknown) => Err(Error::NameTaken),
                    resumed => resumed.map(|_| ()),
                }
            }
            outcome => outcome.map(|_| ()),
        }
    });
    match after(outcome, begun_before, unanswered.get()) {
        After::Registered => {
            let owner = account.name.clone();
            registered(profile, &mut database, account)?;
            if owner == *name { Ok(database) } else { Err(belongs_to(profile, &owner)) }
        }
        After::Keep(error) => Err(error),
        After::Discard(error) => {
            drop(database);
            profile.discard();
            Err(error)
        }
    }
}

/// What becomes of the keys after an attempt to register them.
enum After {
    Registered,
    Keep(Error),
    Discard(Error),
}

/// Keys are discarded only when the server cannot have an account with them: nothing was sent before, and now either
/// nothing was sent or the answer was no.
fn after(outcome: Result<(), Error>, begun_before: bool, unanswered: bool) -> After {
    match outcome {
        Ok(()) => After::Registered,
        Err(error) if unanswered => {
            let reason = match error {
                Error::Offline(reason) => reason,
                other => other.to_string(),
            };
            After::Keep(Error::Offline(format!(
                "the answer to the registration got lost ({reason}); the same command again finishes it"
            )))
        }
        Err(error) if begun_before => After::Keep(error),
        Err(error) => After::Discard(error),
    }
}

/// Makes an account, on disk.
fn begin(database: &mut Database, name: &UserName) -> Result<AccountRow, Error> {
    let account = generate(name, &device_name())?;
    save(database, &account)?;
    Ok(account)
}

/// The server has the account.
fn registered(profile: &Profile, database: &mut Database, mut account: AccountRow) -> Result<(), Error> {
    account.registered = true;
    save(database, &account)?;
    profile.finish()
}

fn belongs_to(profile: &Profile, owner: &UserName) -> Error {
    let home = profile.home.display();
    Error::BadInput(format!("the profile in {home} belongs to @{owner}; choose another with --home"))
}

/// Proves the password to the server and opens the local profile.
pub fn login_here(profile: &Profile, name: &UserName, password: &SecretString) -> Result<Database, Error> {
    let mut database = profile.unlock(password)?;
    let account = load(&mut database)?.ok_or_else(|| Error::NoProfile(profile.home.display().to_string()))?;
    if account.name != *name {
        return Err(belongs_to(profile, &account.name));
    }
    let how = Authentication::Login { password: password.expose().as_bytes() };
    once(profile, async |connection, greeted| authenticate(&connection, &greeted, &account, how).await.map(|_| ()))?;
    registered(profile, &mut database, account)?;
    profile.settle_password(password)?;
    Ok(database)
}

/// Comes back with the recovery phrase, or finishes an attempt that was interrupted. The new device's keys are on disk before
/// the server hears of them.
pub fn recover(
    profile: &Profile,
    name: &UserName,
    password: &SecretString,
    secret: &RecoverySecret,
) -> Result<Database, Error> {
    if Profile::is_begun(&profile.home) {
        let mut database = profile.unlock(password)?;
        if let Some(account) = load(&mut database)?.filter(|account| account.name == *name) {
            let key = DeviceKey::of(&account);
            match once(profile, async |connection, greeted| resume(&connection, &greeted, &key).await.map(|_| ())) {
                Ok(()) => {
                    registered(profile, &mut database, account)?;
                    return Ok(database);
                }
                Err(Error::DeviceUnknown) => {}
                Err(error) => return Err(error),
            }
        }
        drop(database);
        profile.discard();
    }
    let mut made = None;
    let bytes = password.expose().as_bytes();
    let outcome = once(profile, async |connection, greeted| {
        let kept = wire::recover(&connection, &greeted, name, &secret.proof_seed(), bytes).await?;
        let account = recovered(secret, name, &kept, &device_name())?;
        let mut database = profile.create(password)?;
        save(&mut database, &account)?;
        made = Some((database, account.clone()));
        wire::finish_recovery(&connection, kept, &account, bytes).await.map(|_| ())
    });
    match (outcome, made) {
        (Ok(()), Some((mut database, account))) => {
            registered(profile, &mut database, account)?;
            Ok(database)
        }
        (Ok(()), None) => Err(Error::Internal("a recovery without an account".into())),
        (Err(Error::Offline(reason)), Some(_)) => Err(Error::Offline(format!(
            "the answer to the recovery got lost ({reason}); the same command again finishes it"
        ))),
        (Err(error), made) => {
            drop(made);
            profile.discard();
            Err(error)
        }
    }
}

/// A directory in which something was begun and nothing came of it, for another beginning.
pub fn forget_unfinished(profile: &Profile) -> Result<(), Error> {
    if Profile::is_begun(&profile.home) {
        return Err(Error::BadInput(format!(
            "in {} something was begun and not finished; finish it with the same command as then, or choose another \
             directory with --home",
            profile.home.display()
        )));
    }
    Ok(())
}

/// Without a local profile all that can be found out is whether the password is right.
pub fn login_elsewhere(profile: &Profile, name: &UserName, password: &SecretString) -> Error {
    let checked = once(profile, async |_connection, greeted| {
        login(&greeted, name, password.expose().as_bytes(), None).await.map(|_| ())
    });
    checked.err().unwrap_or_else(|| not_linked(name))
}

/// The account of a profile.
pub fn load(database: &mut Database) -> Result<Option<AccountRow>, Error> {
    Ok(AccountRow::load(&database.begin()?, &())?)
}

fn save(database: &mut Database, account: &AccountRow) -> Result<(), Error> {
    let mut tx = database.begin()?;
    account.save(&mut tx)?;
    Ok(tx.commit()?)
}

/// One connection for one conversation with the gateway.
pub fn once<T>(
    profile: &Profile,
    talk: impl AsyncFnOnce(ClientConnection, Greeted) -> Result<T, Error>,
) -> Result<T, Error> {
    once_unless(profile, std::future::pending(), talk)
}

/// As [`once`], given up as soon as `over` says why.
pub fn once_unless<T>(
    profile: &Profile,
    over: impl Future<Output = Error>,
    talk: impl AsyncFnOnce(ClientConnection, Greeted) -> Result<T, Error>,
) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Internal(error.to_string()))?;
    let connector = Connector::new(profile.trust()?)?;
    let local = tokio::task::LocalSet::new();
    let conversation = async {
        let connection = connector.connect(&profile.server).await?;
        profile.remember(connection.verified())?;
        let talked = async {
            let greeted = greet(&connection).await?;
            talk(connection, greeted).await
        };
        let late = |_| Err(Error::Offline("the server does not answer".into()));
        tokio::time::timeout(PATIENCE, talked).await.unwrap_or_else(late)
    };
    local.block_on(&runtime, async {
        tokio::select! {
            outcome = conversation => outcome,
            error = over => Err(error),
        }
    })
}

/// What this device is called unless the user says otherwise.
pub fn device_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(32).collect();
    if name.is_empty() { "device".to_owned() } else { name }
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn open(home: &std::path::Path) -> Profile {
        // Nothing can be sent to port 0.
        let server = Some(qpq_io::rpc::connect::ServerAddress { host: "127.0.0.1".into(), port: 0 });
        let options = Options { home: home.to_owned(), server, ca_cert: None, fingerprint: None };
        Profile::open(&options).expect("a profile directory")
    }

    #[test]
    fn keys_are_discarded_only_when_the_server_cannot_have_them() {
        let lost = || Err(Error::Offline("gone".into()));
        assert!(matches!(after(Ok(()), true, false), After::Registered));
        assert!(matches!(after(lost(), false, false), After::Discard(Error::Offline(_))));
        assert!(matches!(after(Err(Error::NameTaken), false, false), After::Discard(Error::NameTaken)));
        assert!(matches!(after(Err(Error::NameTaken), true, false), After::Keep(Error::NameTaken)));
        assert!(matches!(after(Err(Error::DeviceUnknown), true, false), After::Keep(_)));
        let After::Keep(Error::Offline(text)) = after(lost(), false, true) else { panic!("it may be registered") };
        assert!(text.contains("same command"), "{text}");
    }

    #[test]
    fn an_interruption_leaves_a_directory_that_can_be_registered() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (home, name) = (folder.path(), "alice".parse().expect("a name"));
        let password = SecretString::from("correct horse".to_owned());
        let profile = open(home);
        // Before the key file was written: a database that nobody has the key of.
        drop(profile.create(&password).expect("a database"));
        std::fs::remove_file(home.join("profile.key")).expect("no key file");
        assert!(!Profile::is_begun(home));
        // Before the account was stored: keys, and nobody they belong to.
        let mut database = profile.create(&password).expect("a new database");
        assert!(load(&mut database).expect("readable").is_none());
        drop(database);
        assert!(Profile::is_begun(home) && !Profile::exists(home));
        assert!(matches!(login_here(&profile, &name, &password), Err(Error::NoProfile(_))));
        // Before the mark was removed.
        let mut database = profile.unlock(&password).expect("the database");
        let mut account = begin(&mut database, &name).expect("an account");
        account.registered = true;
        save(&mut database, &account).expect("saved");
        drop(database);
        assert!(register(&profile, &name, &password, None).is_ok());
        assert!(Profile::exists(home));
        assert!(matches!(register(&profile, &name, &password, None), Err(Error::ProfileExists(_))));
    }

    #[test]
    fn what_was_begun_survives_being_offline() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (home, name) = (folder.path(), "alice".parse().expect("a name"));
        let password = SecretString::from("correct horse".to_owned());
        let profile = open(home);
        let begun = begin(&mut profile.create(&password).expect("a database"), &name).expect("an account");
        for tried in ["alice", "bob"] {
            let tried = tried.parse().expect("a name");
            assert!(matches!(register(&profile, &tried, &password, None), Err(Error::Offline(_))));
        }
        let kept = load(&mut profile.unlock(&password).expect("the database")).expect("readable").expect("an account");
        assert!(kept.identity == begun.identity && kept.name == name && !kept.registered);
    }

    #[test]
    fn a_first_attempt_without_a_server_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let profile = open(folder.path());
        let password = SecretString::from("correct horse".to_owned());
        let outcome = register(&profile, &"alice".parse().expect("a name"), &password, None);
        assert!(matches!(outcome, Err(Error::Offline(_))));
        assert!(!Profile::is_begun(folder.path()) && !folder.path().join("qpq.db").exists());
    }
}
