//! Registration and login: a connection of their own, before the profile goes on-line by itself.

use qpq_core::account::generate;
use qpq_core::store::rows::{AccountRow, Row as _};
use qpq_io::rpc::connect::{ClientConnection, Connector};
use qpq_io::secret::SecretString;
use qpq_proto::account::UserName;

use crate::error::Error;
use crate::profile::Profile;
use crate::store::Database;
use crate::wire::{Authentication, Greeted, authenticate, greet, login, not_linked};

/// Makes identity and device, and registers them.
pub fn register(
    profile: &Profile,
    name: &UserName,
    password: &SecretString,
    invite: Option<&str>,
) -> Result<Database, Error> {
    let begun_before = Profile::exists(&profile.home);
    let (mut database, account) = if begun_before {
        let mut database = profile.unlock(password)?;
        let account = load(&mut database)?.filter(|account| !account.registered && account.name == *name);
        let exists = || Error::ProfileExists(profile.home.display().to_string());
        (database, account.ok_or_else(exists)?)
    } else {
        // The keys are on disk before the server hears of them: an answer that gets lost loses no account.
        let account = generate(name, &device_name())?;
        let mut database = profile.create(password)?;
        save(&mut database, &account)?;
        (database, account)
    };
    let how = Authentication::Register { password: password.expose().as_bytes(), invite: invite.unwrap_or_default() };
    let outcome = once(profile, |connection, greeted| async move {
        match authenticate(&connection, &greeted, &account, how).await {
            // An earlier attempt may have been accepted, and its answer lost.
            Err(Error::NameTaken) if begun_before => {
                let resumed = authenticate(&connection, &greeted, &account, Authentication::Resume).await;
                resumed.map(|_| account).map_err(|_| Error::NameTaken)
            }
            Ok(_) => Ok(account),
            Err(error) => Err(error),
        }
    });
    match outcome {
        Ok(account) => {
            save(&mut database, &AccountRow { registered: true, ..account })?;
            Ok(database)
        }
        Err(error @ (Error::Offline(_) | Error::TimedOut(_))) if begun_before => Err(error),
        Err(error) => {
            drop(database);
            profile.discard();
            Err(error)
        }
    }
}

/// Proves the password to the server and opens the local profile.
pub fn login_here(profile: &Profile, name: &UserName, password: &SecretString) -> Result<Database, Error> {
    let mut database = profile.unlock(password)?;
    let account = load(&mut database)?.ok_or_else(|| Error::NoProfile(profile.home.display().to_string()))?;
    if account.name != *name {
        let (home, owner) = (profile.home.display(), &account.name);
        return Err(Error::BadInput(format!("the profile in {home} belongs to @{owner}; choose another with --home")));
    }
    let how = Authentication::Login { password: password.expose().as_bytes() };
    let account = once(profile, |connection, greeted| async move {
        authenticate(&connection, &greeted, &account, how).await.map(|_| account)
    })?;
    save(&mut database, &AccountRow { registered: true, ..account })?;
    Ok(database)
}

/// Without a local profile all that can be found out is whether the password is right.
pub fn login_elsewhere(profile: &Profile, name: &UserName, password: &SecretString) -> Error {
    let checked = once(profile, |_connection, greeted| async move {
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
fn once<T, F>(profile: &Profile, talk: impl FnOnce(ClientConnection, Greeted) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Internal(error.to_string()))?;
    let connector = Connector::new(profile.trust()?)?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let connection = connector.connect(&profile.server).await?;
        profile.remember(connection.verified())?;
        let talked = async {
            let greeted = greet(&connection).await?;
            talk(connection, greeted).await
        };
        tokio::time::timeout(PATIENCE, talked).await.unwrap_or(Err(Error::TimedOut(PATIENCE)))
    })
}

fn device_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(32).collect();
    if name.is_empty() { "device".to_owned() } else { name }
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
