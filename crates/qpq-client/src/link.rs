//! The connection supervisor: connects, proves the device, streams, and comes back with growing pauses until told to
//! stop. It holds no state that matters: what is unanswered is in the outbox, what was taken is in the cursors.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use qpq_core::request::{Reply, Request};
use qpq_core::store::rows::AccountRow;
use qpq_io::rpc::connect::Connector;
use qpq_proto::code::Refusal;
use qpq_proto::generated::stream_capnp::stream;
use qpq_proto::ids::Seq;
use qpq_proto::stream::{Entry, LogId, Position};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_local;

use crate::error::Error;
use crate::profile::Profile;
use crate::wire::{self, Authentication, Incoming, Session, Sink};

/// What the owner of the profile wants of the connection.
pub enum Order {
    Request { id: u64, request: Box<Request> },
    Subscribe { log: LogId, after: Seq },
    Acknowledge(Vec<Position>),
    Close,
}

/// What the connection tells the owner of the profile.
pub enum News {
    Connected {
        domain: String,
    },
    Disconnected(Error),
    Entries(Vec<Entry>, oneshot::Sender<()>),
    Reply {
        request: u64,
        result: Result<Reply, Refusal>,
    },
    /// The first so many subscriptions of this connection have nothing more waiting.
    CaughtUp(u32),
    KeyPackagesLow(u32),
}

/// Runs until [`Order::Close`]. Blocks the thread it is called on.
pub fn run(
    profile: &Arc<Profile>,
    account: &AccountRow,
    mut orders: mpsc::UnboundedReceiver<Order>,
    news: &Rc<dyn Fn(News)>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return news(News::Disconnected(Error::Internal(error.to_string()))),
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut pause = FIRST_PAUSE;
        loop {
            // Orders from before a connection are void: the engine gives them anew when it hears of the next one.
            while let Ok(order) = orders.try_recv() {
                if matches!(order, Order::Close) {
                    return;
                }
            }
            let mut was_connected = false;
            let ended = connected(profile, account, &mut orders, news, &mut was_connected).await;
            let Err(error) = ended else { return };
            if was_connected {
                pause = FIRST_PAUSE;
            }
            news(News::Disconnected(error));
            if closed_while_waiting(&mut orders, jittered(pause)).await {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    });
}

/// One connection from beginning to end. `Ok` when told to close.
async fn connected(
    profile: &Arc<Profile>,
    account: &AccountRow,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    news: &Rc<dyn Fn(News)>,
    was_connected: &mut bool,
) -> Result<(), Error> {
    let connector = Connector::new(profile.trust()?)?;
    let connection = connector.connect(&profile.server).await?;
    profile.remember(connection.verified())?;
    let authenticated = async {
        let greeted = wire::greet(&connection).await?;
        let session = wire::authenticate(&connection, &greeted, account, Authentication::Resume).await?;
        Ok::<_, Error>((greeted, session))
    };
    let (greeted, session) = tokio::time::timeout(HANDSHAKE_PATIENCE, authenticated)
        .await
        .map_err(|_| Error::Offline("the server does not answer".into()))??;
    let (incoming_tx, incoming) = mpsc::unbounded_channel();
    let stream = wire::open(&session, Sink::new(incoming_tx));
    *was_connected = true;
    news(News::Connected { domain: greeted.hello.domain.clone() });
    let mut live = Live {
        session,
        stream,
        news: news.clone(),
        permits: Arc::new(Semaphore::new(CALLS_IN_FLIGHT)),
        received: HashMap::new(),
        behind: HashMap::new(),
    };
    let ended = tokio::select! {
        ended = live.serve(orders, incoming) => ended,
        reason = connection.closed() => Err(reason.into()),
    };
    match ended {
        Ok(()) => connection.close_and_wait("bye").await,
        Err(_) => connection.close("reconnecting"),
    }
    ended
}

/// A connection that is up.
struct Live {
    session: Session,
    stream: stream::Client,
    news: Rc<dyn Fn(News)>,
    permits: Arc<Semaphore>,
    /// How far each log has come over this stream.
    received: HashMap<LogId, Seq>,
    /// Heads that were announced and have not come yet.
    behind: HashMap<LogId, Seq>,
}

impl Live {
    async fn serve(
        &mut self,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        mut incoming: mpsc::UnboundedReceiver<Incoming>,
    ) -> Result<(), Error> {
        let (failed_tx, mut failed) = mpsc::unbounded_channel();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None | Some(Order::Close) => return Ok(()),
                    Some(Order::Request { id, request }) => self.request(id, *request).await,
                    Some(Order::Subscribe { log, after }) => {
                        self.received.insert(log, after);
                        let answer = wire::subscribe(&self.stream, log, after);
                        let failed = failed_tx.clone();
                        spawn_local(async move {
                            if let Err(error) = answer.await {
                                let _ = failed.send((log, error));
                            }
                        });
                    }
                    Some(Order::Acknowledge(positions)) => {
                        spawn_local(wire::acknowledge(&self.stream, &positions));
                    }
                },
                arrived = tokio::time::timeout(SILENCE, incoming.recv()) => match arrived {
                    Err(_) => return Err(Error::Offline("the stream went silent".into())),
                    Ok(None) => return Err(Error::Offline("the server ended the stream".into())),
                    Ok(Some(arrived)) => self.arrived(arrived)?,
                },
                Some((log, error)) = failed.recv() => match (log, error) {
                    // A group that this device is no longer in: the engine will learn it, or knows it.
                    (LogId::Group(group), Error::Refused(reason)) => {
                        tracing::warn!(group = %group.short(), reason, "a log cannot be followed");
                    }
                    (_, error) => return Err(error),
                },
            }
        }
    }

    /// Calls leave in the order of the orders, a bounded number at a time.
    async fn request(&self, id: u64, request: Request) {
        let permit = self.permits.clone().acquire_owned().await;
        let answer = wire::call(&self.session, &request);
        let news = self.news.clone();
        spawn_local(async move {
            if let wire::Called::Answered(result) = answer.await {
                news(News::Reply { request: id, result });
            }
            drop(permit);
        });
    }

    fn arrived(&mut self, incoming: Incoming) -> Result<(), Error> {
        match incoming {
            Incoming::Entries(entries, stored) => {
                for entry in &entries {
                    self.received.insert(entry.log, entry.seq);
                }
                (self.news)(News::Entries(entries, stored));
            }
            Incoming::CaughtUp(subscriptions) => (self.news)(News::CaughtUp(subscriptions)),
            Incoming::Heartbeat(heads) => return self.heartbeat(&heads),
            Incoming::KeyPackagesLow(left) => (self.news)(News::KeyPackagesLow(left)),
        }
        Ok(())
    }

    /// A head that was announced a heartbeat ago and still has not come: the stream has lost something.
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

async fn closed_while_waiting(orders: &mut mpsc::UnboundedReceiver<Order>, pause: Duration) -> bool {
    let closed = async {
        loop {
            if matches!(orders.recv().await, None | Some(Order::Close)) {
                return;
            }
        }
    };
    tokio::time::timeout(pause, closed).await.is_ok()
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
/// The server sends a heartbeat every 20 seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// The server allows 256 calls on one connection; some are taken by the stream.
const CALLS_IN_FLIGHT: usize = 128;
