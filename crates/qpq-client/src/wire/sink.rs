//! The stream: what the server pushes.

use std::rc::Rc;

use qpq_proto::code::Refusal;
use qpq_proto::generated::stream_capnp::{event_sink, stream, subscribe_reply};
use qpq_proto::ids::{Epoch, GroupId, Seq};
use qpq_proto::stream::{Entry, Lineage, LogId, Mark, Position, Subscribed};
use qpq_proto::{Malformed, limits, read};
use tokio::sync::{mpsc, oneshot};

use super::sent::Sent;
use super::{Session, offline};
use crate::Error;

/// What comes in over the stream.
pub enum Incoming {
    /// To be confirmed when they are stored: the server sends no more than a window ahead.
    Entries(Vec<Entry>, oneshot::Sender<()>),
    CaughtUp(u32),
    Heartbeat(Vec<Position>),
    KeyPackagesLow(u32),
    Whisper {
        group: GroupId,
        payload: Vec<u8>,
    },
    /// A push that makes no sense: nothing more can come.
    Broken(Malformed),
}

/// Our end of the stream.
struct Sink {
    incoming: mpsc::UnboundedSender<Incoming>,
    sent: Sent,
}

impl Sink {
    fn hand_on(&self, incoming: Incoming) -> Result<(), capnp::Error> {
        self.incoming.send(incoming).map_err(|_| capnp::Error::disconnected("the client is closing".into()))
    }
}

impl event_sink::Server for Sink {
    async fn push(self: Rc<Self>, params: event_sink::PushParams) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let list = params.get_entries()?;
        read::count("push.entries", list.len(), limits::PUSH_ENTRIES)?;
        let entry = |reader| Entry::read_or_echo(reader, |hash| self.sent.take(hash));
        let entries = match list.iter().map(entry).collect::<Result<Vec<_>, Malformed>>() {
            Ok(entries) => entries,
            Err(error) => {
                self.hand_on(Incoming::Broken(error.clone()))?;
                return Err(error.into());
            }
        };
        self.sent.came(&entries);
        let (stored, when_stored) = oneshot::channel();
        self.hand_on(Incoming::Entries(entries, stored))?;
        match params.get_caught_up() {
            0 => {}
            subscriptions => self.hand_on(Incoming::CaughtUp(subscriptions))?,
        }
        when_stored.await.map_err(|_| capnp::Error::disconnected("the entries could not be stored".into()))
    }

    async fn caught_up(
        self: Rc<Self>,
        params: event_sink::CaughtUpParams,
        _results: event_sink::CaughtUpResults,
    ) -> Result<(), capnp::Error> {
        self.hand_on(Incoming::CaughtUp(params.get()?.get_subscriptions()))
    }

    async fn heartbeat(
        self: Rc<Self>,
        params: event_sink::HeartbeatParams,
        _results: event_sink::HeartbeatResults,
    ) -> Result<(), capnp::Error> {
        let heads = Position::read_list(params.get()?.get_heads()?)?;
        self.hand_on(Incoming::Heartbeat(heads))
    }

    async fn key_packages_low(
        self: Rc<Self>,
        params: event_sink::KeyPackagesLowParams,
        _results: event_sink::KeyPackagesLowResults,
    ) -> Result<(), capnp::Error> {
        self.hand_on(Incoming::KeyPackagesLow(params.get()?.get_left()))
    }

    async fn whisper(
        self: Rc<Self>,
        params: event_sink::WhisperParams,
        _results: event_sink::WhisperResults,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let group = GroupId(read::array("whisper.group", params.get_group())?);
        let payload = read::some_bytes("whisper.payload", params.get_payload(), limits::WHISPER)?;
        self.hand_on(Incoming::Whisper { group, payload })
    }
}

/// Opens the stream, and hands everything that comes on to `incoming`. The server's window bounds what can be waiting in it.
pub fn open(session: &Session, incoming: mpsc::UnboundedSender<Incoming>) -> stream::Client {
    let mut request = session.delivery.open_request();
    request.get().set_sink(capnp_rpc::new_client(Sink { incoming, sent: session.sent.clone() }));
    request.get().set_in_push(true);
    // Pipelined: the first subscription leaves without waiting for the answer.
    request.send().pipeline.get_stream()
}

/// Follows a log; the future is what the server says to it. `known` are entries that were taken, the newest first.
///
/// # Errors
/// Offline.
pub fn subscribe(
    session: &Session,
    stream: &stream::Client,
    log: LogId,
    after: Seq,
    known: &[Mark],
) -> impl Future<Output = Result<Result<Subscribed, Refusal>, Error>> + 'static + use<> {
    session.sent.follow(log);
    let mut request = stream.subscribe_request();
    log.write(request.get().init_log());
    request.get().set_after(after.0);
    Mark::write_list(known, request.get().init_known(known.len() as u32));
    let sent = request.send();
    async move {
        let response = sent.promise.await.map_err(offline)?;
        let reply = response.get().and_then(|reader| reader.get_reply()).map_err(offline)?;
        match reply.which().map_err(|error| offline(error.into()))? {
            subscribe_reply::Head(head) => {
                let (from, acknowledged) = (Seq(reply.get_from()), Seq(reply.get_acknowledged()));
                // No context digests to zero; it stands for none.
                let lineage = Lineage { epoch: Epoch(reply.get_epoch()), context: reply.get_context() };
                let lineage = Some(lineage).filter(|lineage| lineage.context != 0);
                let joined = Seq(reply.get_joined());
                Ok(Ok(Subscribed { head: Seq(head), from, acknowledged, joined, lineage }))
            }
            subscribe_reply::Refused(refusal) => {
                let refusal = refusal.map_err(Malformed::from).and_then(Refusal::read);
                refusal.map(Err).map_err(|error| Error::Offline(error.to_string()))
            }
        }
    }
}

/// Tells the members' devices that are online.
pub fn whisper(session: &Session, group: GroupId, payload: &[u8]) -> impl Future<Output = ()> + 'static + use<> {
    let mut request = session.groups.whisper_request();
    request.get().set_group(&group.0);
    request.get().set_payload(payload);
    let sent = request.send();
    async move {
        let _ = sent.promise.await;
    }
}

/// Tells the server what is stored.
pub fn acknowledge(stream: &stream::Client, positions: &[Position]) -> impl Future<Output = ()> + 'static + use<> {
    let mut request = stream.acknowledge_request();
    Position::write_list(positions, request.get().init_positions(positions.len() as u32));
    let sent = request.send();
    async move {
        // Lost with the connection? The next acknowledgement says it again.
        let _ = sent.promise.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_of_nothing_that_was_sent_breaks_the_stream_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (incoming_tx, mut incoming) = mpsc::unbounded_channel();
            let sink: event_sink::Client = capnp_rpc::new_client(Sink { incoming: incoming_tx, sent: Sent::default() });
            let mut push = sink.push_request();
            push.get().init_entries(1).get(0).set_echo(&[7; 32]);
            assert!(push.send().await.is_err());
            assert!(matches!(incoming.recv().await, Some(Incoming::Broken(_))));
        });
    }
}
