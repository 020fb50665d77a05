//! What a user does with the account: devices, password, recovery, the end.

use std::cell::Cell;
use std::time::Duration;

use qpq_core::account;
use qpq_core::crypto::recovery::RecoverySecret;
use qpq_core::store::rows::{AccountRow, DeviceChange};
use qpq_core::view::{ConversationId, ConversationState, OwnDevice};
use qpq_io::rpc::connect::ClientConnection;
use qpq_io::secret::SecretString;
use qpq_proto::account::UserName;
use qpq_proto::ids::DeviceId;
use qpq_proto::limits;
use qpq_trust::recovery;
use zeroize::Zeroizing;

use crate::client::{Client, WishId};
use crate::error::Error;
use crate::options::Options;
use crate::patience::Patience;
use crate::profile::Profile;
use crate::signup::{self, once_unless};
use crate::wire::{self, DeviceKey, Greeted, resume};

impl Client {
    /// The devices of this account. Asks the server first; when it cannot be reached, as they were known last.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn devices(&self, timeout: Duration) -> Result<Vec<OwnDevice>, Error> {
        let looked = self.device_change(DeviceChange::Look)?;
        match self.wait(looked, timeout) {
            Ok(()) | Err(Error::Offline(_) | Error::TimedOut(_)) => self.look(|query| query.devices()),
            Err(error) => Err(error),
        }
    }

    /// Gives one of the own devices another name.
    ///
    /// # Errors
    /// [`Error::BadInput`] at once; what the server refuses comes from [`Self::wait`].
    pub fn rename_device(&self, device: DeviceId, name: &str) -> Result<WishId, Error> {
        let name = name.trim();
        if name.is_empty() || name.len() > limits::DEVICE_NAME || name.chars().any(char::is_control) {
            let limit = limits::DEVICE_NAME;
            return Err(Error::BadInput(format!("a device's name has 1 to {limit} bytes and no control characters")));
        }
        self.device_change(DeviceChange::Rename(device, name.to_owned()))
    }

    /// Locks one of the own devices out, and takes it out of all groups. What it has stored stays there.
    ///
    /// # Errors
    /// [`Error::BadInput`] for this very device.
    pub fn unlink(&self, device: DeviceId) -> Result<WishId, Error> {
        if self.whoami()?.device == device {
            return Err(Error::BadInput(
                "this is the device you are using; unlink it from another one (or end the account: delete-account)"
                    .into(),
            ));
        }
        self.device_change(DeviceChange::Remove(device))
    }

    /// How many conversations work here, and how many do not yet.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn groups_joined(&self) -> Result<(usize, usize), Error> {
        self.look(|query| query.groups_joined())
    }

    /// Whether this opens the profile.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], or the key file cannot be read.
    pub fn check_password(&self, password: &SecretString) -> Result<(), Error> {
        self.profile().check_password(password)
    }

    /// Changes the password of the account and of this profile. `local` opens the profile, `account` is the account's, which
    /// differs when it was changed on another device.
    ///
    /// # Errors
    /// Wrong password, or offline. Once the server may have taken it, both passwords open the profile until the same call
    /// again finds out.
    pub fn change_password(
        &self,
        local: &SecretString,
        account: &SecretString,
        new: &SecretString,
    ) -> Result<(), Error> {
        let is_repeated = self.profile().prepare_password(local, new)?;
        let row = self.row()?;
        let unanswered = Cell::new(false);
        let change = |old: &SecretString| {
            let (old, new) = (old.expose().as_bytes(), new.expose().as_bytes());
            self.alone(async |connection, greeted| {
                let session = resume(&connection, &greeted, &DeviceKey::of(&row)).await?;
                wire::change_password(&session, &row.name, old, new, &unanswered).await
            })
        };
        let outcome = match change(account) {
            // The attempt before may have come through, and its answer got lost.
            Err(Error::WrongCredentials) if is_repeated => change(new),
            outcome => outcome,
        };
        match outcome {
            Ok(()) => self.profile().adopt_password(),
            Err(error) if unanswered.get() => Err(Error::Offline(format!(
                "the answer got lost ({error}); until the same command again has found out, both passwords open this profile"
            ))),
            Err(error) => {
                if !is_repeated {
                    self.profile().discard_password();
                }
                Err(error)
            }
        }
    }

    /// The 24 words that bring the account back when all devices are lost. The server has what they open when this returns.
    ///
    /// # Errors
    /// Offline, or refused.
    pub fn recovery_phrase(&self) -> Result<Zeroizing<String>, Error> {
        let row = self.row()?;
        let keys = qpq_core::engine::identity_keys(&row)?.to_bytes();
        let secret = RecoverySecret::of_identity(&keys);
        let record = secret.seal(&keys).map_err(|error| Error::Internal(error.to_string()))?;
        let key = recovery::public_key(&secret.proof_seed());
        self.with_session(&row, async |session| wire::set_recovery(session, Some((&key, &record))).await)?;
        Ok(secret.words())
    }

    /// The words are good for nothing any more, until they are asked for again.
    ///
    /// # Errors
    /// Offline, or refused.
    pub fn forget_recovery(&self) -> Result<(), Error> {
        let row = self.row()?;
        self.with_session(&row, async |session| wire::set_recovery(session, None).await)
    }

    /// Leaves all groups, so that everybody sees it, and then has the server forget the account. Nothing is left of the
    /// profile; the client is closed.
    ///
    /// # Errors
    /// Offline: nothing is deleted then, but some groups may have been left.
    pub fn delete_account(&self, timeout: Duration) -> Result<(), Error> {
        let row = self.row()?;
        let conversations = self.conversations()?.into_iter();
        let groups = conversations
            .filter(|one| matches!(one.id, ConversationId::Group(_)) && one.state == ConversationState::Active);
        let wishes = groups.map(|group| self.leave(group.id)).collect::<Result<Vec<_>, _>>()?;
        for wish in wishes {
            match self.wait(wish, timeout) {
                // Somebody has just removed them: as good as left.
                Ok(()) | Err(Error::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.with_session(&row, async |session| wire::delete(session).await)?;
        self.clone().close();
        self.profile().remove()
    }

    /// Comes back with nothing but the words: a new device in the place of all others, with a new password.
    ///
    /// # Errors
    /// Wrong words or name, offline, or there is a profile already. After losing the connection half-way the same call again
    /// finishes it.
    pub fn recover(options: &Options, name: &UserName, words: &str, password: &SecretString) -> Result<Self, Error> {
        if Profile::exists(&options.home) {
            return Err(Error::ProfileExists(options.home.display().to_string()));
        }
        let secret = RecoverySecret::of_words(words).map_err(|error| Error::BadInput(error.to_string()))?;
        let profile = Profile::open(options)?;
        let database = signup::recover(&profile, name, password, &secret).map_err(|error| match error {
            Error::WrongCredentials => Error::WrongWords,
            other => other,
        })?;
        let client = Self::start(profile, database)?;
        client.connect();
        Ok(client)
    }

    fn row(&self) -> Result<AccountRow, Error> {
        self.look(|query| Ok(query.account()?.cloned()))?.ok_or(Error::Closed)
    }

    /// A connection of its own for one thing.
    fn with_session<T>(
        &self,
        row: &AccountRow,
        talk: impl AsyncFnOnce(&wire::Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let device = DeviceKey::of(row);
        self.alone(async |connection, greeted| {
            let session = resume(&connection, &greeted, &device).await?;
            talk(&session).await
        })
    }

    /// A connection of its own, until [`Self::interrupt`].
    fn alone<T>(&self, talk: impl AsyncFnOnce(ClientConnection, Greeted) -> Result<T, Error>) -> Result<T, Error> {
        let interrupts = self.interrupts();
        let is_interrupted = || self.interrupts() != interrupts;
        let patience = Patience::new(CONVERSATION, &is_interrupted);
        once_unless(self.profile(), patience.over(), talk)
    }
}

/// The account that the words bring back, with this device in the place of all others.
pub(crate) fn recovered(
    secret: &RecoverySecret,
    name: &UserName,
    kept: &wire::Kept,
    device_name: &str,
) -> Result<AccountRow, Error> {
    let keys = secret.open(&kept.record).map_err(|_| {
        Error::Refused("what the server keeps does not open with these words; it is not what was left there".into())
    })?;
    let account = account::recover(name, &keys, &kept.manifest, device_name)?;
    Ok(AccountRow { registered: false, ..account })
}

/// Ends by itself before, when the server does not answer.
const CONVERSATION: Duration = Duration::from_secs(120);
