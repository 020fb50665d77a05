//! The public handle.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qpq_core::engine::{Answer, Command, Query};
use qpq_core::view::{Conversation, ConversationId, GroupInfo};
use qpq_io::rpc::tls::Fingerprint;
use qpq_io::secret::SecretString;
use qpq_proto::account::UserName;
use qpq_proto::ids::{DeviceId, IdentityId};

use crate::actor::{self, Turn};
use crate::error::Error;
use crate::events::EventStream;
use crate::options::Options;
use crate::profile::Profile;
use crate::shared::Shared;
use crate::signup;
use crate::store::Database;
use crate::waiter::{Awaited, waiter};

/// A wish of the user (add, remove, rename …) that is stored and carried out until it is confirmed or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WishId(pub u64);

/// Who this profile is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whoami {
    pub name: UserName,
    pub identity: IdentityId,
    pub device: DeviceId,
    /// `host:port`.
    pub server: String,
    /// The part after `@`; empty before the first connection.
    pub domain: String,
}

/// How things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub online: bool,
    /// Why not online; or why the server does not do now what waits.
    pub detail: String,
    /// The certificate that is pinned.
    pub fingerprint: Option<Fingerprint>,
    /// Wishes and messages that the server has not confirmed.
    pub waiting: usize,
    /// Entries that could not be processed.
    pub quarantined: usize,
    pub conversations: usize,
    pub unread: u64,
}

/// A cheap handle to one opened profile, for any thread. All methods block; the work happens on the profile's own
/// threads, which end with [`Client::close`] or with the last handle.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    turns: Sender<Turn>,
    shared: Arc<Shared>,
    profile: Arc<Profile>,
    owner: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn stop(&self) {
        let _ = self.turns.send(Turn::Close);
        if let Some(owner) = self.owner.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = owner.join();
        }
    }
}

impl Client {
    /// Whether there is a profile in this directory. One whose registration is not through counts as none:
    /// [`Self::register`] finishes it.
    pub fn exists(home: &Path) -> bool {
        Profile::exists(home)
    }

    /// Makes identity and device, registers the name, opens the new profile, connects, and publishes key packages.
    ///
    /// # Errors
    /// Name taken, registration closed or invite wrong, offline, profile exists. Nothing is left behind then, except
    /// after losing the connection half-way: the same call again finishes it.
    pub fn register(
        options: &Options,
        name: &UserName,
        password: &SecretString,
        invite: Option<&str>,
    ) -> Result<Self, Error> {
        let profile = Profile::open(options)?;
        let database = signup::register(&profile, name, password, invite)?;
        let client = Self::start(profile, database)?;
        client.connect();
        // Nobody can write to an account that has no key packages on the server. If the connection breaks just now they
        // follow with the next one.
        let _ = client.wait_settled(FIRST_CONNECTION);
        Ok(client)
    }

    /// Proves the password to the server (OPAQUE), and opens the profile, connecting.
    ///
    /// # Errors
    /// Wrong password, unknown user, offline, or the keys of this user are on another device.
    pub fn login(options: &Options, name: &UserName, password: &SecretString) -> Result<Self, Error> {
        let there = Profile::is_begun(&options.home);
        let profile = Profile::open(options)?;
        if !there {
            return Err(signup::login_elsewhere(&profile, name, password));
        }
        let database = signup::login_here(&profile, name, password)?;
        let client = Self::start(profile, database)?;
        client.connect();
        Ok(client)
    }

    /// Unlocks the local profile. Works offline; [`Self::connect`] goes online.
    ///
    /// # Errors
    /// No profile, wrong password, in use by another process, damaged.
    pub fn open(options: &Options, password: &SecretString) -> Result<Self, Error> {
        if !Self::exists(&options.home) {
            return Err(Error::NoProfile(options.home.display().to_string()));
        }
        let profile = Profile::open(options)?;
        let database = profile.unlock(password)?;
        Self::start(profile, database)
    }

    pub(crate) fn start(profile: Profile, mut database: Database) -> Result<Self, Error> {
        let account = signup::load(&mut database)?
            .filter(|account| account.registered)
            .ok_or_else(|| Error::NoProfile(profile.home.display().to_string()))?;
        let profile = Arc::new(profile);
        let (turns, shared, owner) = actor::start(profile.clone(), database, &account)?;
        Ok(Self { inner: Arc::new(Inner { turns, shared, profile, owner: Mutex::new(Some(owner)) }) })
    }

    /// Starts to connect, and reconnects by itself from then on. Returns at once.
    pub fn connect(&self) {
        let _ = self.inner.turns.send(Turn::Connect);
    }

    /// Blocks until connected, caught up, and nothing is under way.
    ///
    /// # Errors
    /// [`Error::Offline`] (with the reason) or [`Error::TimedOut`] after `timeout`; at once when the server's
    /// certificate or this device is refused, or after [`Self::interrupt`].
    pub fn wait_settled(&self, timeout: Duration) -> Result<(), Error> {
        let (answer, settled) = waiter();
        self.turn(Turn::AwaitSettled(answer))?;
        self.wait_for(&settled, timeout)
    }

    /// Who this profile is.
    ///
    /// # Errors
    /// The client was closed, or its database cannot be read.
    pub fn whoami(&self) -> Result<Whoami, Error> {
        let account = self.look(|query| Ok(query.account()?.cloned()))?.ok_or(Error::Closed)?;
        Ok(Whoami {
            name: account.name.clone(),
            identity: account.identity,
            device: account.device,
            server: format!("{}:{}", self.inner.profile.server.host, self.inner.profile.server.port),
            domain: account.domain.clone(),
        })
    }

    /// Why there is no connection; none while there is one. Looks at nothing but that.
    pub fn offline(&self) -> Option<String> {
        let connection = self.inner.shared.connection();
        (!connection.online).then(|| connection.trouble.map_or_else(String::new, |trouble| trouble.to_string()))
    }

    /// How things stand.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn status(&self) -> Result<Status, Error> {
        let connection = self.inner.shared.connection();
        let (waiting, quarantined, conversations) =
            self.look(|query| Ok((query.waiting()?, query.quarantined()?, query.conversations()?)))?;
        Ok(Status {
            online: connection.online,
            detail: match (connection.trouble, connection.refusal) {
                (Some(trouble), _) => trouble.to_string(),
                (None, refusal) => refusal.unwrap_or_default(),
            },
            fingerprint: self.inner.profile.fingerprint(),
            waiting,
            quarantined,
            conversations: conversations.len(),
            unread: conversations.iter().map(|conversation| conversation.unread).sum(),
        })
    }

    /// Blocks until the wish is carried out.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason; [`Error::Offline`] or [`Error::TimedOut`] when it goes on without the caller.
    pub fn wait(&self, wish: WishId, timeout: Duration) -> Result<(), Error> {
        let (answer, done) = waiter();
        self.turn(Turn::AwaitWish(wish.0, answer))?;
        self.wait_for(&done, timeout)?.map_err(Error::Refused)
    }

    /// All conversations, the most recently used first.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn conversations(&self) -> Result<Vec<Conversation>, Error> {
        self.look(|query| query.conversations())
    }

    /// One conversation.
    ///
    /// # Errors
    /// [`Error::UnknownConversation`].
    pub fn conversation(&self, id: ConversationId) -> Result<Conversation, Error> {
        self.look(move |query| query.conversation(id))?
            .ok_or_else(|| Error::UnknownConversation("it is not known here".into()))
    }

    /// Members, epoch and suite.
    ///
    /// # Errors
    /// [`Error::UnknownConversation`].
    pub fn group_info(&self, conversation: ConversationId) -> Result<GroupInfo, Error> {
        self.look(move |query| query.group_info(conversation))?
            .ok_or_else(|| Error::UnknownConversation("it is not known here".into()))
    }

    /// A durable event stream: `consumer` names a stored position that survives restarts. A new consumer begins with
    /// the first event of the profile.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn events(&self, consumer: &str) -> Result<EventStream, Error> {
        EventStream::new(self.clone(), consumer)
    }

    /// Events after a position that the caller keeps, of [`crate::Event::position`].
    pub fn events_after(&self, position: u64) -> EventStream {
        EventStream::after(self.clone(), position)
    }

    /// As [`Self::events`], but a new consumer begins with what happens from now on.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn events_from_now(&self, consumer: &str) -> Result<EventStream, Error> {
        EventStream::from_now(self.clone(), consumer)
    }

    /// Grows when there may be new events; for [`Self::wait_for_events`].
    pub fn generation(&self) -> u64 {
        self.inner.shared.generation()
    }

    /// How often there was an interrupt; for [`Self::wait_for_events`].
    pub fn interrupts(&self) -> u64 {
        self.inner.shared.interrupts()
    }

    /// Waits until there may be more events than at `generation`, or until `timeout` is over. For those who wait without
    /// holding an [`EventStream`], which several of them share.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when somebody has interrupted since `interrupts`.
    pub fn wait_for_events(&self, generation: u64, interrupts: u64, timeout: Duration) -> Result<(), Error> {
        self.inner.shared.wait_for_events(generation, interrupts, timeout)
    }

    /// Ends all waiting that goes on at this moment in other threads with [`Error::Interrupted`]. Calls that begin later wait
    /// as usual.
    pub fn interrupt(&self) {
        self.inner.shared.interrupt();
    }

    /// Ends connection and threads, and releases the profile, whatever handles are left: they answer `Closed`.
    pub fn close(self) {
        self.inner.stop();
        self.interrupt();
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.inner.profile
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    pub(crate) fn command(&self, command: Command) -> Result<Answer, Error> {
        let (answer, given) = sync_channel(1);
        self.turn(Turn::Command(command, answer))?;
        given.recv().map_err(|_| Error::Closed)?
    }

    /// Reads something on the owner's thread.
    pub(crate) fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Query<'_>) -> Result<T, qpq_core::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, seen): (SyncSender<Result<T, qpq_core::Error>>, _) = sync_channel(1);
        self.turn(Turn::Look(Box::new(move |query| drop(answer.send(look(query))))))?;
        Ok(seen.recv().map_err(|_| Error::Closed)??)
    }

    /// Whether there is a connection; the error is one that no waiting helps against.
    pub(crate) fn is_online(&self) -> Result<bool, Error> {
        self.fatal_trouble().map_or_else(|| Ok(self.inner.shared.connection().online), Err)
    }

    pub(crate) fn turn(&self, turn: Turn) -> Result<(), Error> {
        self.inner.turns.send(turn).map_err(|_| Error::Closed)
    }

    /// Waits in slices, so that trouble that no waiting helps against is reported at once.
    pub(crate) fn wait_for<T>(&self, answer: &Awaited<T>, timeout: Duration) -> Result<T, Error> {
        let deadline = Instant::now() + timeout;
        let interrupts = self.shared().interrupts();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match answer.recv_timeout(left.min(SLICE)) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Closed),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.shared().check_interrupts(interrupts)?;
            if let Some(trouble) = self.fatal_trouble() {
                return Err(trouble);
            }
            if left.is_zero() {
                return Err(self.trouble(timeout));
            }
        }
    }

    /// Waits whatever the connection is like; none when the time is over or nobody will answer.
    pub(crate) fn await_unless_interrupted<T>(
        &self,
        answer: &Awaited<T>,
        timeout: Duration,
    ) -> Result<Option<T>, Error> {
        let deadline = Instant::now() + timeout;
        let interrupts = self.shared().interrupts();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match answer.recv_timeout(left.min(SLICE)) {
                Ok(answer) => return Ok(Some(answer)),
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => self.shared().check_interrupts(interrupts)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    fn fatal_trouble(&self) -> Option<Error> {
        match self.inner.shared.connection().trouble.as_deref()? {
            Error::CertificateChanged { expected, presented } => {
                Some(Error::CertificateChanged { expected: *expected, presented: *presented })
            }
            Error::Certificate(reason) => Some(Error::Certificate(reason.clone())),
            Error::Refused(reason) => Some(Error::Refused(reason.clone())),
            unknown @ (Error::DeviceUnknown | Error::Unlinked) => Some(Error::Refused(unknown.to_string())),
            _ => None,
        }
    }

    /// Why waiting was in vain.
    pub(crate) fn trouble(&self, waited: Duration) -> Error {
        let connection = self.inner.shared.connection();
        match (connection.online, connection.trouble) {
            (false, Some(trouble)) => match &*trouble {
                Error::Offline(reason) => Error::Offline(reason.clone()),
                other => self.fatal_trouble().unwrap_or_else(|| Error::Offline(other.to_string())),
            },
            (false, None) => Error::Offline("not connected yet".into()),
            (true, _) => Error::TimedOut(waited),
        }
    }
}

pub(crate) fn unexpected(answer: &Answer) -> Error {
    Error::Internal(format!("an answer of another kind: {answer:?}"))
}

/// How long a new account may take to publish its key packages.
const FIRST_CONNECTION: Duration = Duration::from_secs(10);
const SLICE: Duration = Duration::from_millis(100);
