//! Taking in a new device, on both sides.

use std::time::Duration;

use qpq_core::engine::{Command, take_over};
use qpq_core::link::{Compared, Heard, Host, LinkCode, Newcomer};
use qpq_core::store::archive::{HistoryRow, HistoryStep};
use qpq_core::store::rows::DeviceChange;
use qpq_io::secret::SecretString;
use qpq_proto::account::UserName;
use qpq_proto::link::{LinkStep, LinkedHistory};

use crate::client::Client;
use crate::error::Error;
use crate::options::Options;
use crate::patience::Patience;
use crate::profile::Profile;
use crate::signup::{self, once, once_unless};
use crate::wire::{DeviceKey, link_put, link_take, resume};

/// A new device that shows its code.
pub struct Linking {
    profile: Profile,
    newcomer: Newcomer,
    mailbox: [u8; 16],
}

impl Linking {
    /// Makes keys, opens a mailbox at the server, and has a code to show. The directory must be without a profile.
    ///
    /// # Errors
    /// Offline, refused, or there is a profile already.
    pub fn begin(options: &Options, device_name: Option<&str>) -> Result<Self, Error> {
        if Profile::exists(&options.home) {
            return Err(Error::ProfileExists(options.home.display().to_string()));
        }
        let profile = Profile::open(options)?;
        signup::forget_unfinished(&profile)?;
        let newcomer = Newcomer::new(device_name.unwrap_or(&signup::device_name()))?;
        let (mailbox, offer) = (newcomer.code().mailbox(), newcomer.offer()?);
        once(&profile, async |_connection, greeted| link_put(&greeted, &mailbox, LinkStep::Offer, &offer).await)?;
        Ok(Self { profile, newcomer, mailbox })
    }

    /// What the other device needs; for people to copy.
    pub fn code(&self) -> String {
        self.newcomer.code().to_string()
    }

    /// The code and where to find it, for a QR code.
    pub fn link(&self) -> String {
        format!("{PREFIX}server={}&code={}", address(&self.profile), self.newcomer.code())
    }

    /// Waits until another device answers to the code; may be called again after [`Error::TimedOut`].
    ///
    /// # Errors
    /// The ten minutes are over, or [`Error::Interrupted`] as soon as `is_interrupted` says so.
    pub fn wait(&self, timeout: Duration, is_interrupted: &dyn Fn() -> bool) -> Result<Hello, Error> {
        let patience = Patience::new(timeout, is_interrupted);
        take(&self.profile, &self.mailbox, LinkStep::Hello, &patience).map(Hello)
    }

    /// Learns who the other device is, and makes it able to show the number.
    ///
    /// # Errors
    /// Offline, or it is not a device that has the code.
    pub fn introduce(self, hello: &Hello) -> Result<Introduced, Error> {
        let heard = self.newcomer.hear(&hello.0)?;
        let (mailbox, reveal) = (self.mailbox, heard.reveal()?);
        once(&self.profile, async |_connection, greeted| {
            link_put(&greeted, &mailbox, LinkStep::Reveal, &reveal).await
        })?;
        Ok(Introduced { profile: self.profile, heard, mailbox })
    }
}

/// What the device that has the code says first.
pub struct Hello(Vec<u8>);

/// A new device that knows who takes it in. Nothing of that is to be trusted before the numbers were compared.
pub struct Introduced {
    profile: Profile,
    heard: Heard,
    mailbox: [u8; 16],
}

impl Introduced {
    /// Whose device this is to become.
    pub fn name(&self) -> &UserName {
        self.heard.name()
    }

    /// The number that the other device must show, too.
    pub fn comparison(&self) -> String {
        self.heard.comparison().to_string()
    }

    /// Waits until the other device approves; may be called again after [`Error::TimedOut`].
    ///
    /// # Errors
    /// As [`Linking::wait`].
    pub fn wait(&self, timeout: Duration, is_interrupted: &dyn Fn() -> bool) -> Result<Approval, Error> {
        let patience = Patience::new(timeout, is_interrupted);
        take(&self.profile, &self.mailbox, LinkStep::Bundle, &patience).map(Approval)
    }

    /// Makes the profile, and connects. The conversations come in by themselves.
    ///
    /// # Errors
    /// What came is not what was agreed, or the profile cannot be written.
    pub fn accept(self, approval: &Approval, password: &SecretString) -> Result<Client, Error> {
        let (account, bundle) = self.heard.accept(&approval.0)?;
        let database = self.profile.create_filled(password, |database| {
            let mut tx = database.begin()?;
            take_over(&mut tx, &account, &bundle)?;
            Ok(tx.commit()?)
        })?;
        let client = Client::start(self.profile, database)?;
        client.connect();
        Ok(client)
    }
}

/// All that the new device needs, sealed to it.
pub struct Approval(Vec<u8>);

/// A device that wants to be taken in, as the one sees it that is to do it.
pub struct PendingLink {
    compared: Compared,
    mailbox: [u8; 16],
}

impl PendingLink {
    /// What the new device calls itself. Comes from there: sanitize before showing.
    pub fn device_name(&self) -> &str {
        &self.compared.device().name
    }

    /// The number that the new device must show, too.
    pub fn comparison(&self) -> String {
        self.compared.comparison().to_string()
    }
}

impl Client {
    /// Finds the new device that shows this code (or the link with it), and makes both able to show the number.
    ///
    /// # Errors
    /// No code, unknown, used or expired; the server passed on something else than what the code is for; the new device does
    /// not answer in time, or [`Self::interrupt`].
    pub fn link_offered(&self, code: &str, timeout: Duration) -> Result<PendingLink, Error> {
        let code = self.code_of(code.trim())?;
        let mailbox = code.mailbox();
        let account = self.look(|query| Ok(query.account()?.cloned()))?.ok_or(Error::Closed)?;
        let (profile, interrupts) = (self.profile(), self.interrupts());
        let is_interrupted = || self.interrupts() != interrupts;
        let patience = Patience::new(timeout, &is_interrupted);
        let offer = once_unless(profile, patience.over(), async |_connection, greeted| {
            link_take(&greeted, &mailbox, LinkStep::Offer).await
        })?;
        let offer =
            offer.ok_or_else(|| Error::Refused("the new device has not made its offer yet; try again".into()))?;
        let host = Host::new(code, &offer, &account)?;
        let hello = host.hello()?;
        once_unless(profile, patience.over(), async |_connection, greeted| {
            link_put(&greeted, &mailbox, LinkStep::Hello, &hello).await
        })?;
        let reveal = take(profile, &mailbox, LinkStep::Reveal, &patience)?;
        Ok(PendingLink { compared: host.compare(&reveal)?, mailbox })
    }

    /// The user has compared: lists the new device in the manifest, and gives it all that it needs. `with_history`: writes the
    /// archive of earlier messages, too, and tells the new device where it will be; [`Self::carry_histories`] brings it there.
    ///
    /// # Errors
    /// Offline, or refused: too many devices, for instance.
    pub fn link_approve(&self, pending: &PendingLink, with_history: bool, timeout: Duration) -> Result<(), Error> {
        let change = DeviceChange::Add(pending.compared.device().clone());
        let wish = self.device_change(change)?;
        self.wait(wish, timeout)?;
        let history = if with_history { Some(self.write_history()?) } else { None };
        // After the archive: numbers up to what the bundle says are set aside for what is in it.
        let (account, mut bundle) = self.look(|query| query.bundle())?;
        bundle.history = history.as_ref().map(linked);
        let sealed = pending.compared.seal(&account, bundle)?;
        let (mailbox, device) = (pending.mailbox, DeviceKey::of(&account));
        let given = once(self.profile(), async |connection, greeted| {
            // Only an authenticated connection may carry that much.
            resume(&connection, &greeted, &device).await?;
            link_put(&greeted, &mailbox, LinkStep::Bundle, &sealed).await
        });
        // Whether it has arrived is not known when the answer was lost.
        if let (Err(Error::Refused(_)), Some(history)) = (&given, history) {
            self.history_step(HistoryStep::Forget(history.blob))?;
        }
        given
    }

    pub(crate) fn device_change(&self, change: DeviceChange) -> Result<crate::WishId, Error> {
        match self.command(Command::Devices(change))? {
            qpq_core::engine::Answer::Wish(wish) => Ok(crate::WishId(wish)),
            other => Err(Error::Internal(format!("an answer of another kind: {other:?}"))),
        }
    }

    fn code_of(&self, text: &str) -> Result<LinkCode, Error> {
        let Some(fields) = text.strip_prefix(PREFIX) else { return Ok(text.parse()?) };
        let field = |name: &str| fields.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        let (server, own) = (field("server").unwrap_or_default(), address(self.profile()));
        if server != own {
            return Err(Error::BadInput(format!(
                "the new device uses the server {server}, and this profile {own}; begin there again with --server {own}"
            )));
        }
        Ok(field("code").unwrap_or_default().parse()?)
    }
}

/// Waits for a step; a connection that breaks is replaced.
fn take(profile: &Profile, mailbox: &[u8; 16], step: LinkStep, patience: &Patience<'_>) -> Result<Vec<u8>, Error> {
    loop {
        let taken = once_unless(profile, patience.over(), async |_connection, greeted| {
            link_take(&greeted, mailbox, step).await
        });
        match taken {
            Ok(Some(data)) => return Ok(data),
            Ok(None) => {}
            Err(Error::Offline(_)) if patience.left() > PAUSE => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
}

fn linked(row: &HistoryRow) -> LinkedHistory {
    LinkedHistory { blob: row.blob, key: row.key, sha256: row.sha256, size: row.size }
}

fn address(profile: &Profile) -> String {
    format!("{}:{}", crate::profile::bracketed(&profile.server.host), profile.server.port)
}

const PREFIX: &str = "qpq:link?";
/// How long to wait in all for another device. A little longer than a code is good for: the server says so itself.
pub const LINK_PATIENCE: Duration = Duration::from_secs(660);
const PAUSE: Duration = Duration::from_secs(1);
