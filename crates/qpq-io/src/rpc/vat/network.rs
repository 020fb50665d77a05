//! A two-party vat network that keeps count of the calls and refuses some of them itself, and knows which messages somebody
//! waits for.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use capnp::any_pointer;
use capnp::capability::Promise;
use capnp::message::{Builder, HeapAllocator};
use capnp_rpc::rpc_capnp::{exception, message};
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{Connection, FlowController, IncomingMessage, OutgoingMessage, VatNetwork};
use futures::FutureExt;

use super::calls::{Answer, Calls, Refusal, Verdict};
use super::outbox::Hurry;

type DynConnection = Box<dyn Connection<Side>>;

/// The network of capnp-rpc, with its connections limited.
pub(super) struct LimitedNetwork {
    inner: Box<dyn VatNetwork<Side>>,
    calls: Rc<Calls>,
    manners: Manners,
}

impl LimitedNetwork {
    pub(super) fn new(inner: impl VatNetwork<Side> + 'static, calls: Rc<Calls>, manners: Manners) -> Self {
        Self { inner: Box::new(inner), calls, manners }
    }
}

/// Which messages leave at once.
#[derive(Clone)]
pub(super) struct Manners {
    pub(super) side: Side,
    pub(super) hurry: Hurry,
    /// Bytes that have come since the last message was looked at.
    pub(super) received: Rc<Cell<usize>>,
    /// Bytes of each call that has not been answered.
    pub(super) unanswered: Rc<RefCell<HashMap<u32, usize>>>,
    /// Answers since somebody was in a hurry last, and the bytes of their calls.
    pub(super) held: Rc<Cell<(usize, usize)>>,
}

/// What a client may leave unanswered: a quarter of the window that capnp-rpc gives to a stream of pushes, and fewer notices
/// than the server sends without an answer.
const MUCH: usize = 16 * 1024;
const MANY: usize = 16;

impl Manners {
    pub(super) fn new(side: Side, hurry: Hurry, received: Rc<Cell<usize>>) -> Self {
        Self { side, hurry, received, unanswered: Rc::default(), held: Rc::default() }
    }

    /// Takes note of a message that has come in.
    fn incoming(&self, message: message::Reader<'_>) {
        let bytes = self.received.take();
        match message.which() {
            Ok(message::Call(Ok(call))) if self.side == Side::Client => {
                self.unanswered.borrow_mut().insert(call.get_question_id(), bytes);
            }
            Ok(message::Finish(Ok(finish))) => drop(self.unanswered.borrow_mut().remove(&finish.get_question_id())),
            _ => {}
        }
    }

    /// Takes note of a message that goes out.
    fn outgoing(&self, message: Option<message::Reader<'_>>) {
        let is_waited_for = match message.map(message::Reader::which) {
            Some(Ok(message::Finish(_) | message::Release(_))) => false,
            // The server goes on before it has the answers to its pushes, unless they fill its window.
            Some(Ok(message::Return(Ok(answer)))) if self.side == Side::Client => {
                let bytes = self.unanswered.borrow_mut().remove(&answer.get_answer_id());
                let (answers, held) = self.held.get();
                self.held.set((answers + 1, held + bytes.unwrap_or(MUCH)));
                answers + 1 >= MANY || held + bytes.unwrap_or(MUCH) >= MUCH
            }
            _ => true,
        };
        if is_waited_for {
            // What is held goes with it: messages leave in order.
            self.held.take();
        }
        self.hurry.queue(is_waited_for);
    }
}

impl VatNetwork<Side> for LimitedNetwork {
    fn connect(&mut self, host: Side) -> Option<DynConnection> {
        let connection = self.inner.connect(host)?;
        Some(Box::new(LimitedConnection::new(connection, self.calls.clone(), self.manners.clone())))
    }

    fn accept(&mut self) -> Promise<DynConnection, capnp::Error> {
        let (calls, manners) = (self.calls.clone(), self.manners.clone());
        let accepted = self.inner.accept();
        let limited = |connection| Box::new(LimitedConnection::new(connection, calls, manners)) as DynConnection;
        Promise::from_future(accepted.map(|accepted| accepted.map(limited)))
    }

    fn drive_until_shutdown(&mut self) -> Promise<(), capnp::Error> {
        self.inner.drive_until_shutdown()
    }
}

struct LimitedConnection {
    inner: Rc<RefCell<DynConnection>>,
    calls: Rc<Calls>,
    manners: Manners,
}

impl LimitedConnection {
    fn new(inner: DynConnection, calls: Rc<Calls>, manners: Manners) -> Self {
        Self { inner: Rc::new(RefCell::new(inner)), calls, manners }
    }
}

impl Connection<Side> for LimitedConnection {
    fn get_peer_vat_id(&self) -> Side {
        self.inner.borrow().get_peer_vat_id()
    }

    fn new_outgoing_message(&mut self, first_segment_word_size: u32) -> Box<dyn OutgoingMessage> {
        Box::new(CountedMessage {
            inner: self.inner.borrow_mut().new_outgoing_message(first_segment_word_size),
            calls: self.calls.clone(),
            manners: self.manners.clone(),
        })
    }

    fn receive_incoming_message(&mut self) -> Promise<Option<Box<dyn IncomingMessage>>, capnp::Error> {
        // Weak, because the connection ends when the system drops it, and this may be pending then.
        let connection = Rc::downgrade(&self.inner);
        let (calls, manners) = (self.calls.clone(), self.manners.clone());
        Promise::from_future(async move {
            loop {
                let Some(inner) = connection.upgrade() else {
                    return Ok(None);
                };
                let received = inner.borrow_mut().receive_incoming_message();
                drop(inner);
                let Some(message) = received.await? else {
                    return Ok(None);
                };
                let body = message.get_body()?.get_as()?;
                let Verdict::Refuse(question, refusal) = calls.incoming(body)? else {
                    manners.incoming(body);
                    return Ok(Some(message));
                };
                let Some(inner) = connection.upgrade() else {
                    return Ok(None);
                };
                let refused = refuse(inner.borrow_mut().as_mut(), question, refusal)?;
                manners.hurry.queue(true);
                drop(inner);
                // Until the refusal has left nothing more is read: a peer that does not read gets no further.
                refused.await?;
            }
        })
    }

    fn new_stream(&mut self) -> (Box<dyn FlowController>, Promise<(), capnp::Error>) {
        self.inner.borrow_mut().new_stream()
    }

    fn shutdown(&mut self, result: capnp::Result<()>) -> Promise<(), capnp::Error> {
        self.inner.borrow_mut().shutdown(result)
    }
}

/// Queues the refusal of a call; resolves when it has been written.
fn refuse(
    connection: &mut dyn Connection<Side>,
    question: u32,
    refusal: Refusal,
) -> capnp::Result<Promise<(), capnp::Error>> {
    const WORDS: u32 = 64;
    let mut message = connection.new_outgoing_message(WORDS);
    let root: message::Builder<'_> = message.get_body()?.init_as();
    let mut answer = root.init_return();
    answer.set_answer_id(question);
    let mut exception = answer.init_exception();
    let (kind, reason) = match refusal {
        Refusal::TooManyCalls => (exception::Type::Overloaded, "too many open calls on this connection"),
        Refusal::AfterRefused => (exception::Type::Overloaded, "the call that this one builds on was refused"),
        Refusal::ShuttingDown => (exception::Type::Disconnected, "shutting down"),
    };
    exception.set_type(kind);
    exception.set_reason(reason);
    Ok(message.send().0)
}

/// A message that tells when it is an answer, and whether somebody waits for it.
struct CountedMessage {
    inner: Box<dyn OutgoingMessage>,
    calls: Rc<Calls>,
    manners: Manners,
}

impl CountedMessage {
    fn body(&self) -> Option<message::Reader<'_>> {
        self.inner.get_body_as_reader().ok()?.get_as().ok()
    }

    fn role(&self) -> Role {
        match self.body().map(message::Reader::which) {
            Some(Ok(message::Return(Ok(answer)))) => Role::Answer(Answer::of(answer)),
            Some(Ok(message::Bootstrap(_) | message::Call(_) | message::Finish(_))) => Role::Own,
            _ => Role::Reaction,
        }
    }
}

/// Why a message is sent.
enum Role {
    Answer(Answer),
    /// Of our own accord.
    Own,
    /// Because of something that the other end has sent.
    Reaction,
}

impl OutgoingMessage for CountedMessage {
    fn get_body(&mut self) -> capnp::Result<any_pointer::Builder<'_>> {
        self.inner.get_body()
    }

    fn get_body_as_reader(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        self.inner.get_body_as_reader()
    }

    fn send(self: Box<Self>) -> (Promise<(), capnp::Error>, Rc<Builder<HeapAllocator>>) {
        let role = self.role();
        self.manners.outgoing(self.body());
        let Self { inner, calls, .. } = *self;
        let (written, message) = inner.send();
        // capnp-rpc does not wait until these have been written; we do.
        match role {
            Role::Answer(answer) => calls.answered(answer, written),
            Role::Reaction => calls.reacted(written),
            Role::Own => return (written, message),
        }
        (Promise::ok(()), message)
    }

    fn take(self: Box<Self>) -> Builder<HeapAllocator> {
        self.inner.take()
    }

    fn size_in_words(&self) -> usize {
        self.inner.size_in_words()
    }
}
