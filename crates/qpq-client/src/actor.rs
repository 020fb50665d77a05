//! The owner of a profile: one thread that has the engine and the database, and does one thing after the other.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use qpq_core::engine::{Answer, Command, Effect, Engine, Input, LookUpError, Query};
use qpq_core::store::rows::AccountRow;
use qpq_proto::account::UserName;
use qpq_proto::ids::{IdentityId, MessageId};
use qpq_proto::stream::Entry;
use qpq_proto::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::link::{self, News, Order};
use crate::profile::Profile;
use crate::store::{Database, Tx};

/// What the owner can be asked to do.
pub enum Turn {
    Command(Command, SyncSender<Result<Answer, Error>>),
    /// A look at the store.
    Look(Box<dyn FnOnce(&mut Query<'_>) + Send>),
    LookUp(UserName, SyncSender<LookedUp>),
    AwaitWish(u64, SyncSender<Result<(), String>>),
    AwaitMessage(MessageId, SyncSender<Result<(), String>>),
    AwaitSettled(SyncSender<()>),
    Connect,
    News(News),
    Close,
}

/// What came of a look-up; none when there is no connection.
pub type LookedUp = Option<Result<IdentityId, LookUpError>>;

/// The state of the connection, for everybody to see.
#[derive(Clone, Default)]
pub struct Connection {
    pub online: bool,
    /// Why not.
    pub trouble: Option<Arc<Error>>,
}

/// What the owner shares with the handles.
#[derive(Default)]
pub struct Shared {
    pub connection: Mutex<Connection>,
    /// Grows when the event queue has grown.
    events: Mutex<u64>,
    events_grew: Condvar,
}

impl Shared {
    /// How often the queue has grown.
    pub fn generation(&self) -> u64 {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has grown again.
    pub fn wait_for_events(&self, generation: u64, timeout: Duration) {
        let guard = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.events_grew.wait_timeout_while(guard, timeout, |now| *now == generation);
    }

    fn grew(&self) {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.events_grew.notify_all();
    }

    /// The state of the connection.
    pub fn connection(&self) -> Connection {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How to reach the owner, what it shares, and its thread.
pub type Started = (Sender<Turn>, Arc<Shared>, JoinHandle<()>);

/// Starts the owner's thread.
pub fn start(profile: Arc<Profile>, database: Database, account: AccountRow) -> Result<Started, Error> {
    let (turns_tx, turns) = channel();
    let shared = Arc::new(Shared::default());
    let mut actor = Actor {
        profile,
        account,
        database,
        engine: Engine::new(),
        shared: shared.clone(),
        link: None,
        turns: turns_tx.clone(),
        subscriptions: 0,
        caught_up: 0,
        wishes: HashMap::new(),
        messages: HashMap::new(),
        lookups: HashMap::new(),
        settled: Vec::new(),
    };
    let thread = spawn("qpq owner", move || actor.run(&turns))?;
    Ok((turns_tx, shared, thread))
}

struct Actor {
    profile: Arc<Profile>,
    account: AccountRow,
    database: Database,
    engine: Engine,
    shared: Arc<Shared>,
    link: Option<(mpsc::UnboundedSender<Order>, JoinHandle<()>)>,
    turns: Sender<Turn>,
    /// Logs that were subscribed to over this connection, and how many of those have nothing more waiting.
    subscriptions: u32,
    caught_up: u32,
    wishes: HashMap<u64, Vec<SyncSender<Result<(), String>>>>,
    messages: HashMap<MessageId, Vec<SyncSender<Result<(), String>>>>,
    lookups: HashMap<UserName, Vec<SyncSender<LookedUp>>>,
    settled: Vec<SyncSender<()>>,
}

impl Actor {
    fn run(&mut self, turns: &Receiver<Turn>) {
        let mut put_back = None;
        loop {
            let turn = match put_back.take() {
                Some(turn) => turn,
                None => match turns.recv_timeout(TICK) {
                    Ok(turn) => turn,
                    Err(RecvTimeoutError::Timeout) => {
                        self.step(Input::Tick);
                        self.tell_settled();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            match turn {
                Turn::Close => break,
                Turn::News(News::Entries(entries, stored)) => {
                    put_back = self.entries(turns, entries, stored);
                }
                turn => self.turn(turn),
            }
            self.tell_settled();
        }
        if let Some((orders, thread)) = self.link.take() {
            let _ = orders.send(Order::Close);
            let _ = thread.join();
        }
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Command(command, answer) => {
                let result = self.handle(Input::Command(command));
                let _ = answer.send(result.map(|answer| answer.unwrap_or(Answer::Done)));
            }
            Turn::Look(look) => match self.database.begin() {
                Ok(mut tx) => look(&mut Query::new(&mut tx)),
                Err(error) => tracing::error!(%error, "the profile's database cannot be read"),
            },
            Turn::LookUp(name, answer) => match self.handle(Input::Command(Command::LookUp(name.clone()))) {
                Ok(Some(Answer::Offline)) | Err(_) => {
                    let _ = answer.send(None);
                }
                Ok(_) => self.lookups.entry(name).or_default().push(answer),
            },
            Turn::AwaitWish(wish, answer) => self.await_wish(wish, answer),
            Turn::AwaitMessage(message, answer) => self.messages.entry(message).or_default().push(answer),
            Turn::AwaitSettled(answer) => self.settled.push(answer),
            Turn::Connect => self.connect(),
            Turn::News(news) => self.news(news),
            Turn::Close => {}
        }
    }

    fn news(&mut self, news: News) {
        match news {
            News::Connected { domain } => {
                (self.subscriptions, self.caught_up) = (0, 0);
                self.set_connection(Connection { online: true, trouble: None });
                self.step(Input::Connected { domain });
            }
            News::Disconnected(error) => {
                (self.subscriptions, self.caught_up) = (0, 0);
                self.set_connection(Connection { online: false, trouble: Some(Arc::new(error)) });
                self.lookups.drain().flat_map(|(_, waiting)| waiting).for_each(|answer| {
                    let _ = answer.send(None);
                });
                self.step(Input::Disconnected);
            }
            News::Reply { request, result } => self.step(Input::Reply { request, result }),
            // Counted here, where the subscriptions are ordered: one that is still on its way is not caught up with.
            News::CaughtUp(subscriptions) => self.caught_up = subscriptions,
            News::KeyPackagesLow(left) => self.step(Input::KeyPackagesLow(left)),
            News::Entries(entries, stored) => {
                if self.handle(Input::Entries(entries)).is_ok() {
                    let _ = stored.send(());
                }
            }
        }
    }

    /// Takes everything that has queued up into one transaction: the sync to disk is what costs.
    fn entries(
        &mut self,
        turns: &Receiver<Turn>,
        mut entries: Vec<Entry>,
        stored: oneshot::Sender<()>,
    ) -> Option<Turn> {
        let mut confirmations = vec![stored];
        let mut put_back = None;
        while entries.len() < LARGEST_RUN {
            match turns.try_recv() {
                Ok(Turn::News(News::Entries(more, stored))) => {
                    entries.extend(more);
                    confirmations.push(stored);
                }
                Ok(other) => {
                    put_back = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        if self.handle(Input::Entries(entries)).is_ok() {
            for stored in confirmations {
                let _ = stored.send(());
            }
        }
        put_back
    }

    fn step(&mut self, input: Input) {
        if let Err(error) = self.handle(input) {
            tracing::error!(%error, "a step of the engine failed and was taken back");
        }
    }

    /// One input, one transaction. The effects leave after the commit.
    fn handle(&mut self, input: Input) -> Result<Option<Answer>, Error> {
        match transact(&mut self.database, &mut self.engine, input) {
            Ok(effects) => Ok(self.carry_out(effects)),
            Err(error) => {
                self.engine.rolled_back();
                Err(error)
            }
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Option<Answer> {
        let mut given = None;
        for effect in effects {
            match effect {
                Effect::Request { id, request } => self.order(Order::Request { id, request: Box::new(request) }),
                Effect::Subscribe { log, after } => {
                    self.subscriptions += 1;
                    self.order(Order::Subscribe { log, after });
                }
                Effect::Acknowledge(positions) => self.order(Order::Acknowledge(positions)),
                Effect::Answer(answer) => given = Some(answer),
                Effect::Settled { wish, result } => tell(self.wishes.remove(&wish), &result),
                Effect::Sent { message, result } => tell(self.messages.remove(&message), &result),
                Effect::LookedUp { name, result } => tell(self.lookups.remove(&name), &Some(result)),
                Effect::NewEvents => self.shared.grew(),
            }
        }
        given
    }

    fn order(&self, order: Order) {
        if let Some((orders, _)) = &self.link {
            let _ = orders.send(order);
        }
    }

    fn connect(&mut self) {
        if self.link.is_some() {
            return;
        }
        let (orders, inbox) = mpsc::unbounded_channel();
        let (profile, account, turns) = (self.profile.clone(), self.account.clone(), self.turns.clone());
        let thread = spawn("qpq link", move || {
            let news: Rc<dyn Fn(News)> = Rc::new(move |news| {
                let _ = turns.send(Turn::News(news));
            });
            link::run(&profile, &account, inbox, &news);
        });
        match thread {
            Ok(thread) => self.link = Some((orders, thread)),
            Err(error) => {
                self.set_connection(Connection { online: false, trouble: Some(Arc::new(error)) });
            }
        }
    }

    fn await_wish(&mut self, wish: u64, answer: SyncSender<Result<(), String>>) {
        let state = self
            .database
            .begin()
            .map_err(Error::from)
            .and_then(|mut tx| Query::new(&mut tx).wish(wish).map_err(Error::from));
        match state {
            Ok((true, _)) => self.wishes.entry(wish).or_default().push(answer),
            Ok((false, None)) => drop(answer.send(Ok(()))),
            Ok((false, Some(reason))) => drop(answer.send(Err(reason))),
            Err(error) => drop(answer.send(Err(error.to_string()))),
        }
    }

    fn set_connection(&self, connection: Connection) {
        *self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
        // Whoever waits for events also wants to know that the connection changed.
        self.shared.grew();
    }

    fn tell_settled(&mut self) {
        if self.settled.is_empty() || self.subscriptions == 0 || self.caught_up != self.subscriptions {
            return;
        }
        let quiet =
            self.database.begin().map_err(Error::from).and_then(|mut tx| Ok(Query::new(&mut tx).is_quiet(now())?));
        if quiet.unwrap_or(false) {
            for answer in self.settled.drain(..) {
                let _ = answer.send(());
            }
        }
    }
}

/// Runs one step of the engine inside one transaction.
fn transact(database: &mut Database, engine: &mut Engine, input: Input) -> Result<Vec<Effect>, Error> {
    let mut tx: Tx<'_> = database.begin()?;
    let effects = engine.handle(&mut tx, now(), input)?;
    tx.commit()?;
    Ok(effects)
}

fn tell<T: Clone>(waiting: Option<Vec<SyncSender<T>>>, result: &T) {
    for answer in waiting.into_iter().flatten() {
        let _ = answer.send(result.clone());
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new()
        .name(name.into())
        .stack_size(STACK)
        .spawn(body)
        .map_err(|error| Error::Internal(format!("no thread: {error}")))
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

const TICK: Duration = Duration::from_millis(500);
/// Entries in one transaction.
const LARGEST_RUN: usize = 1000;
/// OpenMLS needs more than two MiB in debug builds.
const STACK: usize = 8 * 1024 * 1024;
