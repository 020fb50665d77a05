//! The owner of a profile: one thread that has the engine and the database, and does one thing after the other.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use qpq_core::engine::{Answer, Command, Effect, Engine, Input, LookUpError, Query};
use qpq_core::request::Reply;
use qpq_core::store::rows::AccountRow;
use qpq_proto::account::UserName;
use qpq_proto::code::Refusal;
use qpq_proto::ids::{IdentityId, MessageId};
use qpq_proto::stream::Entry;
use qpq_proto::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::files::BlobAnswered;
use crate::link::{self, News, Order};
use crate::profile::Profile;
use crate::shared::{Connection, Shared};
use crate::store::{Database, Tx};
use crate::waiter::Waiter;
use crate::wire::{BlobCall, DeviceKey};

/// What the owner can be asked to do.
pub enum Turn {
    Command(Command, SyncSender<Result<Answer, Error>>),
    /// A look at the store.
    Look(Box<dyn FnOnce(&mut Query<'_>) + Send>),
    LookUp(UserName, Waiter<LookedUp>),
    AwaitWish(u64, Waiter<Done>),
    AwaitMessage(MessageId, Waiter<Done>),
    AwaitSettled(Waiter<()>),
    /// A part of a file. The waiter is dropped when there is no connection.
    Blob(BlobCall, Waiter<BlobAnswered>),
    Connect,
    News(News),
    Close,
}

/// What came of a wish or a message; the reason when it was refused.
pub type Done = Result<(), String>;

/// What the server said to a request.
type Answered = Result<Reply, Refusal>;

/// What came of a look-up; none when there is no connection.
pub type LookedUp = Option<Result<IdentityId, LookUpError>>;

/// How to reach the owner, what it shares, and its thread.
pub type Started = (Sender<Turn>, Arc<Shared>, JoinHandle<()>);

/// Starts the owner's thread.
pub fn start(profile: Arc<Profile>, database: Database, account: &AccountRow) -> Result<Started, Error> {
    let (turns_tx, turns) = channel();
    let shared = Arc::new(Shared::default());
    let mut actor = Actor {
        profile,
        device: Arc::new(DeviceKey::of(account)),
        database,
        engine: Engine::new(),
        shared: shared.clone(),
        link: None,
        stream: None,
        turns: turns_tx.clone(),
        subscriptions: 0,
        caught_up: 0,
        has_caught_up: false,
        run: FIRST_RUN,
        waiting: VecDeque::new(),
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
    device: Arc<DeviceKey>,
    database: Database,
    engine: Engine,
    shared: Arc<Shared>,
    /// Dropping the sender ends the link.
    link: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    /// The connection that is up, and was not given up.
    stream: Option<mpsc::UnboundedSender<Order>>,
    turns: Sender<Turn>,
    /// Logs that were subscribed to over this connection, and how many of those have nothing more waiting.
    subscriptions: u32,
    caught_up: u32,
    /// The engine has been told.
    has_caught_up: bool,
    /// Entries in the next transaction: few at first, so that the first messages are seen at once.
    run: usize,
    /// What came before something that went first.
    waiting: VecDeque<Turn>,
    wishes: HashMap<u64, Vec<Waiter<Done>>>,
    messages: HashMap<MessageId, Vec<Waiter<Done>>>,
    lookups: HashMap<UserName, Vec<Waiter<LookedUp>>>,
    settled: Vec<Waiter<()>>,
}

impl Actor {
    fn run(&mut self, turns: &Receiver<Turn>) {
        // What has disappeared meanwhile is gone before anybody looks.
        let mut next_tick = Instant::now();
        loop {
            // When it is due, however much else there is to do.
            if next_tick <= Instant::now() {
                self.tick();
                next_tick = Instant::now() + TICK;
            }
            let turn = match self.waiting.pop_front() {
                Some(turn) => turn,
                None => match turns.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                    Ok(turn) => turn,
                    Err(RecvTimeoutError::Timeout) => {
                        self.index_words(turns);
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            match turn {
                Turn::Close => break,
                Turn::News(News::Entries(entries, stored)) if self.stream.is_some() => {
                    self.entries(turns, entries, stored);
                }
                Turn::News(News::Reply { request, result }) if self.stream.is_some() => {
                    self.replies(turns, request, result);
                }
                turn => self.turn(turn),
            }
            self.tell_settled();
        }
        if let Some((closing, thread)) = self.link.take() {
            drop(closing);
            let _ = thread.join();
        }
    }

    fn tick(&mut self) {
        // Also without a connection: messages disappear.
        self.step(Input::Tick);
        forget_gone(&mut self.wishes);
        forget_gone(&mut self.messages);
        forget_gone(&mut self.lookups);
        self.settled.retain(|waiter| !waiter.is_gone());
        self.tell_settled();
    }

    /// There is time for what searches need, until somebody wants something.
    fn index_words(&mut self, turns: &Receiver<Turn>) {
        loop {
            let indexed = self.database.begin().and_then(|tx| {
                let more = tx.index_words(WORDS_AT_ONCE)?;
                tx.commit()?;
                Ok(more)
            });
            match indexed {
                Ok(true) => {}
                Ok(false) => return,
                // It is tried again, and a search says what is wrong.
                Err(error) => return tracing::debug!(%error, "the index of words could not be written"),
            }
            if let Ok(turn) = turns.try_recv() {
                return self.waiting.push_back(turn);
            }
        }
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Command(command, answer) => {
                let result = self.handle(Input::Command(command));
                let _ = answer.send(result.map(|answer| answer.unwrap_or(Answer::Done)));
            }
            Turn::Look(look) => match self.database.begin() {
                Ok(mut tx) => {
                    look(&mut Query::new(&mut tx));
                    // A search has brought the index of words up to date.
                    if let Err(error) = tx.commit() {
                        tracing::warn!(%error, "the index of words could not be written");
                    }
                }
                Err(error) => tracing::error!(%error, "the profile's database cannot be read"),
            },
            Turn::LookUp(name, answer) => match self.handle(Input::Command(Command::LookUp(name.clone()))) {
                Ok(Some(Answer::Offline)) | Err(_) => answer.tell(None),
                Ok(_) => self.lookups.entry(name).or_default().push(answer),
            },
            Turn::AwaitWish(wish, answer) => self.await_wish(wish, answer),
            Turn::AwaitMessage(message, answer) => self.await_message(message, answer),
            Turn::AwaitSettled(answer) => self.settled.push(answer),
            Turn::Blob(call, answer) => {
                self.order(Order::Blob { call, answer });
            }
            Turn::Connect => self.connect(),
            Turn::News(news) => self.news(news),
            Turn::Close => {}
        }
    }

    fn news(&mut self, news: News) {
        match news {
            News::Connected { hello, orders } => {
                (self.subscriptions, self.caught_up) = (0, 0);
                self.run = FIRST_RUN;
                self.stream = Some(orders);
                self.step(Input::Connected(hello));
                if self.stream.is_some() {
                    self.set_connection(Connection { online: true, ..Connection::default() });
                }
            }
            News::Disconnected(error) => {
                (self.subscriptions, self.caught_up) = (0, 0);
                self.stream = None;
                if let Some(error) = error {
                    self.set_connection(Connection::lost(error));
                }
                for answer in self.lookups.drain().flat_map(|(_, waiting)| waiting) {
                    answer.tell(None);
                }
                self.step(Input::Disconnected);
            }
            // Of a connection that was given up. Something that came before this failed; this comes again after that.
            _ if self.stream.is_none() => {}
            News::Reply { request, result } => self.take_replies(vec![(request, result)]),
            // Counted here, where the subscriptions are ordered: one that is still on its way is not caught up with.
            News::CaughtUp(subscriptions) => {
                self.caught_up = subscriptions;
                if self.caught_up == self.subscriptions && !std::mem::replace(&mut self.has_caught_up, true) {
                    self.step(Input::CaughtUp);
                }
            }
            News::Subscribed { log, after, result } => self.step(Input::Subscribed { log, after, result }),
            News::KeyPackagesLow(left) => self.step(Input::KeyPackagesLow(left)),
            News::Whisper { group, payload } => self.step(Input::Whisper { group, payload }),
            News::Entries(entries, stored) => self.take(None, entries, vec![stored]),
        }
    }

    /// Takes everything that has queued up into one transaction: the sync to disk is what costs.
    fn entries(&mut self, turns: &Receiver<Turn>, mut entries: Vec<Entry>, stored: oneshot::Sender<()>) {
        let mut confirmations = vec![stored];
        while entries.len() < self.run {
            match self.waiting.pop_front().or_else(|| turns.try_recv().ok()) {
                Some(Turn::News(News::Entries(more, stored))) => {
                    entries.extend(more);
                    confirmations.push(stored);
                }
                Some(other) => {
                    self.waiting.push_front(other);
                    break;
                }
                None => break,
            }
        }
        self.take(Some(turns), entries, confirmations);
    }

    /// Takes the replies that have queued up into one transaction, as entries are.
    fn replies(&mut self, turns: &Receiver<Turn>, request: u64, result: Answered) {
        let mut replies = vec![(request, result)];
        while replies.len() < REPLIES_AT_ONCE {
            match self.waiting.pop_front().or_else(|| turns.try_recv().ok()) {
                Some(Turn::News(News::Reply { request, result })) => replies.push((request, result)),
                Some(other) => {
                    self.waiting.push_front(other);
                    break;
                }
                None => break,
            }
        }
        self.take_replies(replies);
    }

    fn take_replies(&mut self, replies: Vec<(u64, Answered)>) {
        if let Some((_, newest)) = replies.last() {
            self.note_refusal(newest);
        }
        let one = |(request, result)| Input::Reply { request, result };
        if replies.len() > 1 && self.handle_all(replies.iter().cloned().map(one).collect()).is_ok() {
            return;
        }
        // One that cannot be taken must not keep those before it from it; those after it are asked again with it.
        for reply in replies {
            if self.stream.is_some() {
                self.step(one(reply));
            }
        }
    }

    /// Takes entries, a run at a time. Between two runs those get their turns who want something of what is here already.
    fn take(&mut self, turns: Option<&Receiver<Turn>>, entries: Vec<Entry>, confirmations: Vec<oneshot::Sender<()>>) {
        let mut next = entries;
        loop {
            let rest = next.split_off(next.len().min(self.run));
            self.run = (self.run * 2).min(LARGEST_RUN);
            if let Err(error) = self.handle(Input::Entries(next)) {
                return self.give_up(error);
            }
            if rest.is_empty() {
                break;
            }
            next = rest;
            for _ in 0..TURNS_BETWEEN {
                let Some(turn) = turns.and_then(|turns| turns.try_recv().ok()) else { break };
                match turn {
                    // The order of what the connection tells counts.
                    Turn::News(_) | Turn::Close => self.waiting.push_back(turn),
                    turn => self.turn(turn),
                }
            }
        }
        for stored in confirmations {
            let _ = stored.send(());
        }
    }

    fn step(&mut self, input: Input) {
        if let Err(error) = self.handle(input) {
            self.give_up(error);
        }
    }

    /// After a step that failed and that nobody was told of: what it was about is asked again over a new connection.
    fn give_up(&mut self, error: Error) {
        tracing::error!(%error, "a step of the engine failed and was taken back");
        self.stream = None;
        (self.subscriptions, self.caught_up) = (0, 0);
        self.set_connection(Connection::lost(error));
    }

    fn handle(&mut self, input: Input) -> Result<Option<Answer>, Error> {
        self.handle_all(vec![input])
    }

    /// One transaction for all. The effects leave after the commit.
    fn handle_all(&mut self, inputs: Vec<Input>) -> Result<Option<Answer>, Error> {
        match transact(&mut self.database, &mut self.engine, inputs) {
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
                Effect::Request { id, request } => {
                    self.order(Order::Request { id, request: Box::new(request) });
                }
                Effect::Subscribe { log, after, known } => {
                    if self.order(Order::Subscribe { log, after, known }) {
                        self.subscriptions += 1;
                        self.has_caught_up = false;
                    }
                }
                Effect::Acknowledge(positions) => {
                    self.order(Order::Acknowledge(positions));
                }
                Effect::Answer(answer) => given = Some(answer),
                Effect::Settled { wish, result } => tell(self.wishes.remove(&wish), &result),
                Effect::Sent { message, result } => tell(self.messages.remove(&message), &result),
                Effect::LookedUp { name, result } => tell(self.lookups.remove(&name), &Some(result)),
                Effect::Whisper { group, payload } => {
                    self.order(Order::Whisper { group, payload });
                }
                Effect::Typing { conversation, who } => {
                    self.shared.is_typing(conversation, who);
                    self.shared.grew();
                }
                Effect::NewEvents => self.shared.grew(),
            }
        }
        given
    }

    /// Whether there is a connection to give it to. If not it is void: the engine gives it anew when there is one.
    fn order(&self, order: Order) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.send(order).is_ok())
    }

    fn connect(&mut self) {
        if self.link.is_some() {
            return;
        }
        let (close, closing) = oneshot::channel();
        let (profile, device, turns) = (self.profile.clone(), self.device.clone(), self.turns.clone());
        let thread = spawn("qpq link", move || {
            let news: Rc<dyn Fn(News)> = Rc::new(move |news| {
                let _ = turns.send(Turn::News(news));
            });
            link::run(&profile, &device, closing, &news);
        });
        match thread {
            Ok(thread) => self.link = Some((close, thread)),
            Err(error) => {
                self.set_connection(Connection::lost(error));
            }
        }
    }

    fn await_wish(&mut self, wish: u64, answer: Waiter<Done>) {
        if let Some(answer) = still_waiting(&mut self.database, answer, |query| query.wish(wish)) {
            self.wishes.entry(wish).or_default().push(answer);
        }
    }

    fn await_message(&mut self, message: MessageId, answer: Waiter<Done>) {
        if let Some(answer) = still_waiting(&mut self.database, answer, |query| query.own_message(message)) {
            self.messages.entry(message).or_default().push(answer);
        }
    }

    /// Nobody is told of a refusal that time heals, so that somebody who wonders has to find the reason.
    fn note_refusal(&self, result: &Answered) {
        let refusal = result.as_ref().err().filter(|refusal| refusal.code.is_retryable());
        let mut connection = self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.refusal = refusal.map(|refusal| refusal.detail.clone());
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
        match quiet {
            Ok(true) => self.settled.drain(..).for_each(|answer| answer.tell(())),
            Ok(false) => self.step(Input::Hurry),
            Err(_) => {}
        }
    }
}

/// Runs steps of the engine inside one transaction.
fn transact(database: &mut Database, engine: &mut Engine, inputs: Vec<Input>) -> Result<Vec<Effect>, Error> {
    let mut tx: Tx<'_> = database.begin()?;
    let mut effects = Vec::new();
    for input in inputs {
        effects.extend(engine.handle(&mut tx, now(), input)?);
    }
    tx.commit()?;
    Ok(effects)
}

/// Answers at once when it was settled before anybody waited, and gives the waiter back otherwise. `look` finds whether it
/// still waits, and why it was refused if it was.
fn still_waiting(
    database: &mut Database,
    answer: Waiter<Done>,
    look: impl FnOnce(&Query<'_>) -> Result<(bool, Option<String>), qpq_core::Error>,
) -> Option<Waiter<Done>> {
    let state = database.begin().map_err(Error::from).and_then(|mut tx| Ok(look(&Query::new(&mut tx))?));
    match state {
        Ok((true, _)) => return Some(answer),
        Ok((false, None)) => answer.tell(Ok(())),
        Ok((false, Some(reason))) => answer.tell(Err(reason)),
        Err(error) => answer.tell(Err(error.to_string())),
    }
    None
}

fn tell<T: Clone>(waiting: Option<Vec<Waiter<T>>>, result: &T) {
    for answer in waiting.into_iter().flatten() {
        answer.tell(result.clone());
    }
}

/// Who stopped waiting is not remembered for ever.
fn forget_gone<K, T>(waiting: &mut HashMap<K, Vec<Waiter<T>>>) {
    waiting.retain(|_, waiters| {
        waiters.retain(|waiter| !waiter.is_gone());
        !waiters.is_empty()
    });
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
/// Entries in the first transaction of a connection, and in one at most.
const FIRST_RUN: usize = 8;
const LARGEST_RUN: usize = 1000;
/// Replies in one transaction: some of them take a millisecond each, and somebody may be waiting.
const REPLIES_AT_ONCE: usize = 64;
/// Turns between two runs of entries, so that nobody who asks again and again holds them up.
const TURNS_BETWEEN: usize = 64;
/// Messages whose words are put into the index in one transaction: few enough that nobody notices the wait.
const WORDS_AT_ONCE: usize = 100;
/// OpenMLS needs more than two MiB in debug builds.
const STACK: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests;
