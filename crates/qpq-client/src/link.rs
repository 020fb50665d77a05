//! The connection supervisor: connects, proves the device, streams, and comes back with growing pauses until told to
//! stop. It holds no state that matters: what is unanswered is in the outbox, what was taken is in the cursors.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use qpq_core::request::{Reply, Request};
use qpq_io::rpc::connect::{ClientConnection, Connector};
use qpq_proto::account::ServerHello;
use qpq_proto::code::Refusal;
use qpq_proto::ids::{GroupId, Seq};
use qpq_proto::limits;
use qpq_proto::stream::{Entry, LogId, Mark, Position, Subscribed};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::error::Error;
use crate::files::{BlobAnswered, Calls};
use crate::profile::Profile;
use crate::waiter::Waiter;
use crate::wire::{self, BlobCall, Called, DeviceKey, Greeted, Incoming, Session};

/// What the owner of the profile wants of one connection. To drop the sender is to give the connection up: the owner could
/// not deal with something that came over it, and wants to be told of a new one, so that everything is asked again.
pub enum Order {
    Request {
        id: u64,
        request: Box<Request>,
    },
    Subscribe {
        log: LogId,
        after: Seq,
        known: Vec<Mark>,
    },
    Acknowledge(Vec<Position>),
    /// Lost when it is lost.
    Whisper {
        group: GroupId,
        payload: Vec<u8>,
    },
    /// A part of a file. Nobody is told when the connection ends before the answer: the waiter is dropped.
    Blob {
        call: BlobCall,
        answer: Waiter<BlobAnswered>,
    },
}

/// What the connection tells the owner of the profile.
pub enum News {
    /// Orders are for this connection alone: what was meant for an earlier one must not reach it.
    Connected {
        hello: ServerHello,
        orders: mpsc::UnboundedSender<Order>,
    },
    /// Why; nothing when the owner gave the connection up.
    Disconnected(Option<Error>),
    /// What the server says to a subscription. Before entries of that log.
    Subscribed {
        log: LogId,
        after: Seq,
        result: Result<Subscribed, Refusal>,
    },
    Entries(Vec<Entry>, oneshot::Sender<()>),
    Reply {
        request: u64,
        result: Result<Reply, Refusal>,
    },
    /// The first so many subscriptions of this connection have nothing more waiting.
    CaughtUp(u32),
    KeyPackagesLow(u32),
    Whisper {
        group: GroupId,
        payload: Vec<u8>,
    },
}

/// Resolves when the link is to end.
pub type Closing = oneshot::Receiver<()>;

/// Runs until `closing` resolves. Blocks the thread it is called on.
pub fn run(profile: &Profile, device: &DeviceKey, mut closing: Closing, news: &Rc<dyn Fn(News)>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return news(News::Disconnected(Some(Error::Internal(error.to_string())))),
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, supervise(profile, device, &mut closing, news));
    drop(local);
    // Not by dropping it: that would wait for a name that is still being looked up.
    runtime.shutdown_background();
}

async fn supervise(profile: &Profile, device: &DeviceKey, closing: &mut Closing, news: &Rc<dyn Fn(News)>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut since = None;
        let error = match connected(profile, device, closing, news, &mut since).await {
            End::Closed => return,
            End::GivenUp => None,
            End::Lost(error) => Some(error),
        };
        if is_fresh_start(since.map(|since| since.elapsed()), error.is_none()) {
            pause = FIRST_PAUSE;
        }
        news(News::Disconnected(error));
        tokio::select! {
            _ = &mut *closing => return,
            () = sleep(jittered(pause)) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the pauses begin to grow anew after a connection that was up for `lasted`. One that the owner gave up has to have
/// lasted: what the owner cannot deal with (a full disk) would otherwise come again and again at once.
fn is_fresh_start(lasted: Option<Duration>, given_up: bool) -> bool {
    lasted.is_some_and(|lasted| !given_up || lasted >= LONGEST_PAUSE)
}

/// Why a connection is over.
enum End {
    Closed,
    GivenUp,
    Lost(Error),
}

/// One connection from beginning to end. Sets `since` when it is up.
async fn connected(
    profile: &Profile,
    device: &DeviceKey,
    closing: &mut Closing,
    news: &Rc<dyn Fn(News)>,
    since: &mut Option<Instant>,
) -> End {
    let established = tokio::select! {
        _ = &mut *closing => return End::Closed,
        established = Box::pin(establish(profile, device)) => established,
    };
    let (connection, greeted, session) = match established {
        Ok(established) => established,
        Err(error) => return End::Lost(error),
    };
    let (incoming_tx, incoming) = mpsc::unbounded_channel();
    let (orders_tx, orders) = mpsc::unbounded_channel();
    let stream = wire::open(&session, incoming_tx);
    *since = Some(Instant::now());
    news(News::Connected { hello: greeted.hello.clone(), orders: orders_tx });
    let mut live = Live {
        session,
        stream,
        news: news.clone(),
        waiting: VecDeque::new(),
        calls: FuturesUnordered::new(),
        transfers: Calls::default(),
        subscriptions: FuturesUnordered::new(),
        held: VecDeque::new(),
        progress: Progress::default(),
        stored: Stored::default(),
        silence: SILENCE,
    };
    let end = tokio::select! {
        _ = &mut *closing => End::Closed,
        end = live.serve(orders, incoming) => end,
        reason = connection.closed() => End::Lost(reason.into()),
    };
    match end {
        End::Closed => {
            let _ = timeout(CLOSE_PATIENCE, async {
                while let Some(positions) = live.stored.take() {
                    wire::acknowledge(&live.stream, &positions).await;
                }
                connection.close_and_wait("bye").await
            })
            .await;
        }
        End::GivenUp | End::Lost(_) => connection.close("reconnecting"),
    }
    end
}

async fn establish(profile: &Profile, device: &DeviceKey) -> Result<(ClientConnection, Greeted, Session), Error> {
    let connector = Connector::new(profile.trust()?)?;
    let connection = connector.connect(&profile.server).await?;
    profile.remember(connection.verified())?;
    let (greeted, session) = timeout(HANDSHAKE_PATIENCE, wire::greet_again(&connection, device))
        .await
        .map_err(|_| Error::Offline("the server does not answer".into()))??;
    Ok((connection, greeted, session))
}

/// A log, where to follow it from, and what the server says to that.
type Subscription = (LogId, Seq, Result<Result<Subscribed, Refusal>, Error>);

/// A connection that is up.
struct Live {
    session: Session,
    stream: wire::StreamClient,
    news: Rc<dyn Fn(News)>,
    /// Requests that there was no room for yet.
    waiting: VecDeque<(u64, Box<Request>)>,
    /// Requests on their way.
    calls: FuturesUnordered<LocalBoxFuture<'static, (u64, Called)>>,
    /// Those of transfers, which must not keep the others waiting.
    transfers: Calls,
    /// Subscriptions that the server has not answered.
    subscriptions: FuturesUnordered<LocalBoxFuture<'static, Subscription>>,
    /// What came before an answer to a subscription that it may belong to.
    held: VecDeque<Incoming>,
    progress: Progress,
    stored: Stored,
    /// How long nothing may come.
    silence: Duration,
}

impl Live {
    async fn serve(
        &mut self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut incoming: mpsc::UnboundedReceiver<Incoming>,
    ) -> End {
        // What else happens must not put it off.
        let mut silent_at = Instant::now() + self.silence;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None => return End::GivenUp,
                    Some(Order::Request { id, request }) => {
                        self.waiting.push_back((id, request));
                        self.send_waiting();
                    }
                    Some(Order::Subscribe { log, after, known }) => {
                        let answer = wire::subscribe(&self.session, &self.stream, log, after, &known);
                        self.subscriptions.push(Box::pin(async move { (log, after, answer.await) }));
                    }
                    Some(Order::Whisper { group, payload }) => {
                        spawn_local(wire::whisper(&self.session, group, &payload));
                    }
                    Some(Order::Acknowledge(positions)) => self.stored.add(positions),
                    Some(Order::Blob { call, answer }) => {
                        self.transfers.add(&self.session, call, answer);
                    }
                },
                Some((request, called)) = self.calls.next() => {
                    if let Called::Answered(result) = called {
                        (self.news)(News::Reply { request, result });
                    }
                    self.send_waiting();
                }
                Some(()) = self.transfers.next() => self.transfers.send_waiting(&self.session),
                arrived = incoming.recv() => {
                    let Some(arrived) = arrived else {
                        return End::Lost(Error::Offline("the server ended the stream".into()));
                    };
                    if let Incoming::Broken(error) = &arrived {
                        return End::Lost(Error::Offline(format!("the stream is broken: {error}")));
                    }
                    silent_at = Instant::now() + self.silence;
                    self.held.push_back(arrived);
                    if let Err(error) = self.hand_on() {
                        return End::Lost(error);
                    }
                }
                Some(subscription) = self.subscriptions.next() => {
                    if let Err(error) = self.subscribed(subscription) {
                        return End::Lost(error);
                    }
                }
                () = self.stored.wait() => {
                    if let Some(positions) = self.stored.take() {
                        spawn_local(wire::acknowledge(&self.stream, &positions));
                    }
                }
                () = sleep_until(silent_at) => {
                    return End::Lost(Error::Offline("the stream went silent".into()));
                }
            }
        }
    }

    /// Calls leave in the order of the orders, a bounded number at a time, and nothing waits for them.
    fn send_waiting(&mut self) {
        while self.calls.len() < CALLS_IN_FLIGHT
            && let Some((id, request)) = self.waiting.pop_front()
        {
            let answer = wire::call(&self.session, &request);
            self.calls.push(Box::pin(async move { (id, answer.await) }));
        }
    }

    /// The owner learns where a log begins before it gets entries of it.
    fn subscribed(&mut self, (log, after, answer): Subscription) -> Result<(), Error> {
        let result = answer?;
        match (&log, &result) {
            (_, Ok(subscribed)) => self.progress.subscribed(log, subscribed.from),
            (LogId::Group(group), Err(refusal)) => {
                tracing::warn!(group = %group.short(), %refusal, "a log cannot be followed");
            }
            (LogId::Inbox, Err(refusal)) => return Err(Error::Refused(refusal.detail.clone())),
        }
        (self.news)(News::Subscribed { log, after, result });
        self.hand_on()
    }

    fn hand_on(&mut self) -> Result<(), Error> {
        while self.subscriptions.is_empty()
            && let Some(incoming) = self.held.pop_front()
        {
            self.arrived(incoming)?;
        }
        Ok(())
    }

    fn arrived(&mut self, incoming: Incoming) -> Result<(), Error> {
        match incoming {
            Incoming::Entries(entries, stored) => {
                self.progress.arrived(&entries);
                (self.news)(News::Entries(entries, stored));
            }
            Incoming::CaughtUp(subscriptions) => (self.news)(News::CaughtUp(subscriptions)),
            Incoming::Heartbeat(heads) => return self.progress.heartbeat(&heads),
            Incoming::KeyPackagesLow(left) => (self.news)(News::KeyPackagesLow(left)),
            Incoming::Whisper { group, payload } => (self.news)(News::Whisper { group, payload }),
            // It does not wait for its turn.
            Incoming::Broken(_) => {}
        }
        Ok(())
    }
}

/// What this device has stored and the server was not told yet. The server only has to know what it may erase: it is told
/// the newest of some time at once, and neither end pays for each message.
#[derive(Default)]
struct Stored {
    positions: BTreeMap<LogId, Seq>,
    tell_at: Option<Instant>,
}

impl Stored {
    fn add(&mut self, positions: Vec<Position>) {
        self.positions.extend(positions.into_iter().map(|position| (position.log, position.seq)));
        self.tell_at.get_or_insert(Instant::now() + GATHER);
    }

    /// Until the server is to be told; for ever when there is nothing to tell.
    async fn wait(&self) {
        match self.tell_at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// As many as may be told at once; what is left is told next.
    fn take(&mut self) -> Option<Vec<Position>> {
        let mut positions = Vec::new();
        while positions.len() < limits::POSITIONS
            && let Some((log, seq)) = self.positions.pop_first()
        {
            positions.push(Position { log, seq });
        }
        self.tell_at = self.tell_at.filter(|_| !self.positions.is_empty());
        Some(positions).filter(|positions| !positions.is_empty())
    }
}

/// How far the logs have come over one stream.
#[derive(Default)]
struct Progress {
    /// Begins where the subscription begins: a log in which nothing happens has no gap.
    received: HashMap<LogId, Seq>,
    /// What the server says it has sent, and has not come yet.
    behind: HashMap<LogId, Seq>,
}

impl Progress {
    fn subscribed(&mut self, log: LogId, after: Seq) {
        self.received.insert(log, after);
        self.behind.remove(&log);
    }

    fn arrived(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.received.insert(entry.log, entry.seq);
        }
    }

    /// A position that was announced a heartbeat ago and still has not come: the stream has lost something.
    fn heartbeat(&mut self, heads: &[Position]) -> Result<(), Error> {
        for head in heads {
            let Some(received) = self.received.get(&head.log) else { continue };
            if head.seq <= *received {
                self.behind.remove(&head.log);
            } else if self.behind.get(&head.log).is_some_and(|earlier| received < earlier) {
                return Err(Error::Offline("the stream has a gap".into()));
            } else {
                self.behind.insert(head.log, head.seq);
            }
        }
        Ok(())
    }
}

/// Between half of it and all of it, so that a thousand clients do not come back in the same moment.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [128];
    let _ = getrandom::fill(&mut byte);
    pause / 2 + pause / 2 * u32::from(byte[0]) / 255
}

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(15);
/// For telling the server that we go.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// How long acknowledgements are gathered.
const GATHER: Duration = Duration::from_millis(100);
/// The server sends a heartbeat every 20 seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// The server allows 256 calls on one connection; some are taken by the stream.
const CALLS_IN_FLIGHT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64) -> [Position; 1] {
        [Position { log: LogId::Inbox, seq: Seq(seq) }]
    }

    #[test]
    fn only_what_was_sent_and_never_came_is_a_gap() {
        let mut progress = Progress::default();
        assert!(progress.heartbeat(&head(9)).is_ok(), "a log that is not followed");
        progress.subscribed(LogId::Inbox, Seq(5));
        for seq in [0, 5, 5, 3] {
            assert!(progress.heartbeat(&head(seq)).is_ok(), "nothing was sent");
        }
        assert!(progress.heartbeat(&head(7)).is_ok(), "it may be on its way");
        assert!(progress.heartbeat(&head(8)).is_err(), "a heartbeat later it is lost");
        progress.subscribed(LogId::Inbox, Seq(8));
        assert!(progress.heartbeat(&head(8)).is_ok());
        assert!(progress.heartbeat(&head(9)).is_ok(), "followed anew, it may be on its way again");
    }

    #[test]
    fn acknowledgements_are_gathered() {
        let mut stored = Stored::default();
        assert!(stored.take().is_none() && stored.tell_at.is_none());
        let position = |group: u16, seq| {
            let mut id = GroupId([0; 16]);
            id.0[..2].copy_from_slice(&group.to_be_bytes());
            Position { log: LogId::Group(id), seq: Seq(seq) }
        };
        stored.add(vec![position(1, 5), position(2, 1)]);
        let first = stored.tell_at;
        stored.add(vec![position(1, 6)]);
        assert!(first.is_some() && stored.tell_at == first, "what comes later does not put it off");
        assert_eq!(stored.take(), Some(vec![position(1, 6), position(2, 1)]));
        assert!(stored.take().is_none() && stored.tell_at.is_none());
        let many = limits::POSITIONS as u16 + 1;
        stored.add((0..many).map(|group| position(group, 1)).collect());
        assert_eq!(stored.take().map(|told| told.len()), Some(limits::POSITIONS));
        assert!(stored.tell_at.is_some(), "the rest is told next");
        assert_eq!(stored.take(), Some(vec![position(many - 1, 1)]));
    }

    #[test]
    fn a_connection_that_the_owner_gives_up_at_once_does_not_end_the_growing_of_pauses() {
        assert!(!is_fresh_start(None, false));
        assert!(is_fresh_start(Some(Duration::ZERO), false));
        assert!(!is_fresh_start(Some(Duration::from_secs(1)), true));
        assert!(is_fresh_start(Some(LONGEST_PAUSE), true));
    }

    /// Connected to a server that never answers anything.
    fn live(silence: Duration) -> Live {
        let (session, stream) = wire::deaf();
        Live {
            session,
            stream,
            news: Rc::new(|_| ()),
            waiting: VecDeque::new(),
            calls: FuturesUnordered::new(),
            transfers: Calls::default(),
            subscriptions: FuturesUnordered::new(),
            held: VecDeque::new(),
            progress: Progress::default(),
            stored: Stored::default(),
            silence,
        }
    }

    #[test]
    fn a_broken_stream_is_left_at_once_whatever_is_held() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut live = live(SILENCE);
            let (_orders, orders) = mpsc::unbounded_channel();
            let (incoming_tx, incoming) = mpsc::unbounded_channel();
            live.subscriptions.push(Box::pin(std::future::pending()));
            let _ = incoming_tx.send(Incoming::CaughtUp(1));
            let _ = incoming_tx.send(Incoming::Broken(qpq_proto::Malformed::new("entry.echo", "is of nothing")));
            let end = live.serve(orders, incoming).await;
            assert!(matches!(end, End::Lost(Error::Offline(reason)) if reason.contains("broken")));
        });
    }

    /// The transport is fine; only the server's side of the stream has stopped.
    #[test]
    fn a_server_that_stops_pushing_is_left_however_much_is_ordered() {
        let silence = Duration::from_millis(50);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut live = live(silence);
            let (orders_tx, orders) = mpsc::unbounded_channel();
            let (incoming_tx, incoming) = mpsc::unbounded_channel();
            let mut last = Instant::now();
            let pushing = async {
                for _ in 0..5 {
                    sleep(silence / 5).await;
                    last = Instant::now();
                    let _ = incoming_tx.send(Incoming::Heartbeat(vec![]));
                }
                loop {
                    sleep(silence / 5).await;
                    let _ = orders_tx.send(Order::Acknowledge(vec![]));
                }
            };
            let end = tokio::select! {
                end = live.serve(orders, incoming) => end,
                _ = pushing => unreachable!("it orders for ever"),
            };
            assert!(matches!(end, End::Lost(Error::Offline(reason)) if reason.contains("silent")));
            assert!(last.elapsed() >= silence);
        });
    }

    #[test]
    fn it_ends_at_once_though_the_server_does_not_answer() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = silent.local_addr().expect("its address").port();
        let server = Some(qpq_io::rpc::connect::ServerAddress { host: "127.0.0.1".into(), port });
        let options = crate::Options { home: folder.path().to_owned(), server, ca_cert: None, fingerprint: None };
        let profile = Profile::open(&options).expect("a profile directory");
        let account = qpq_core::account::generate(&"alice".parse().expect("a name"), "laptop").expect("an account");
        let (close, closing) = oneshot::channel();
        let began = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let news: Rc<dyn Fn(News)> = Rc::new(|_| ());
                run(&profile, &DeviceKey::of(&account), closing, &news);
            });
            // It has begun to connect when something has arrived.
            silent.recv(&mut [0; 2000]).expect("a first packet");
            drop(close);
        });
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
