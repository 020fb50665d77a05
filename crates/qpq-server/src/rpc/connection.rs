//! What all capabilities of one connection share.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qpq_io::rpc::frame::FrameLimit;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::limits;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::echoes::{Echoes, Expected};
use crate::service::{AsOf, Caller, Service, SessionEnd};

/// Counts what the transport hears of the other end, below all messages.
pub type SignsOfLife = Rc<dyn Fn() -> u64>;

/// One connection; everything of it stays on one thread.
pub struct Connection {
    service: Arc<Service>,
    address: IpAddr,
    exporter: [u8; 32],
    signs_of_life: SignsOfLife,
    limit: FrameLimit,
    trust: Box<dyn Fn()>,
    session: RefCell<Option<Rc<SessionEnd>>>,
    authenticated: Notify,
    end: Cell<Option<&'static str>>,
    ending: Notify,
    pump: RefCell<Option<AbortOnDrop>>,
    echoes: RefCell<Echoes>,
    /// Which one it is of all since the start, for the log.
    number: u64,
    requests: Cell<u64>,
    calls: Cell<usize>,
    failed_attempts: Cell<u32>,
}

impl Connection {
    /// `trust` is called when somebody has authenticated.
    pub fn new(
        service: Arc<Service>,
        address: IpAddr,
        exporter: [u8; 32],
        signs_of_life: SignsOfLife,
        trust: Box<dyn Fn()>,
    ) -> Self {
        Self {
            service,
            address,
            exporter,
            signs_of_life,
            limit: FrameLimit::new(limits::UNAUTHENTICATED_MESSAGE),
            trust,
            session: RefCell::default(),
            authenticated: Notify::new(),
            end: Cell::default(),
            ending: Notify::new(),
            pump: RefCell::default(),
            echoes: RefCell::default(),
            number: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
            requests: Cell::default(),
            calls: Cell::default(),
            failed_attempts: Cell::default(),
        }
    }

    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    pub fn exporter(&self) -> &[u8; 32] {
        &self.exporter
    }

    pub fn signs_of_life(&self) -> SignsOfLife {
        self.signs_of_life.clone()
    }

    pub fn limit(&self) -> FrameLimit {
        self.limit.clone()
    }

    /// Makes this the session of `caller`, who was authenticated by what was stored at that moment or later. A connection is one session at most.
    pub async fn authenticate(&self, caller: &Caller, as_of: AsOf) -> Result<(), Refusal> {
        let session = self.service.begin_session(caller, as_of).await?;
        if self.session.borrow().is_some() {
            return Err(Refusal::new(Code::BadRequest, "this connection is a session already"));
        }
        *self.session.borrow_mut() = Some(Rc::new(session));
        self.limit.raise(limits::AUTHENTICATED_MESSAGE);
        (self.trust)();
        self.authenticated.notify_one();
        Ok(())
    }

    /// Returns why the connection must end, when it must.
    pub async fn ended(&self) -> &'static str {
        tokio::select! {
            reason = self.session_ended() => reason,
            reason = self.told_to_end() => reason,
        }
    }

    /// Ends the connection, from within one of its own tasks.
    pub fn end(&self, reason: &'static str) {
        self.end.set(Some(reason));
        self.ending.notify_one();
    }

    /// Somebody could not prove who they are. Another connection costs them a handshake, and has its place in a limit.
    pub fn attempt_failed(&self) {
        self.failed_attempts.set(self.failed_attempts.get() + 1);
        if self.failed_attempts.get() >= MOST_FAILED_ATTEMPTS {
            self.end("too many failed attempts to authenticate");
        }
    }

    /// Replaces the task that feeds the device's stream; the one before stops at once.
    pub fn set_pump(&self, pump: Option<JoinHandle<()>>) {
        *self.pump.borrow_mut() = pump.map(AbortOnDrop);
    }

    /// What may go back as its hash alone.
    pub fn echoes(&self) -> &RefCell<Echoes> {
        &self.echoes
    }

    /// The device keeps a payload until it comes back.
    pub fn expect_echo(&self, payload: &[u8]) -> Expected<'_> {
        Expected::new(&self.echoes, payload)
    }

    /// Lets go of everything that might hold this connection.
    pub fn stop(&self) {
        self.set_pump(None);
        self.session.take();
    }

    /// A name for the next call.
    pub fn next_request(&self) -> RequestId {
        self.requests.set(self.requests.get() + 1);
        RequestId { connection: self.number, request: self.requests.get() }
    }

    /// Counts a call for as long as the result lives.
    pub fn begin_call(self: &Rc<Self>) -> Result<CallInFlight, Refusal> {
        if self.calls.get() >= self.service.options().limits.calls_in_flight {
            let wait = Duration::from_millis(100);
            return Err(Refusal::later(Code::Overloaded, "the limit calls_in_flight is reached", wait));
        }
        self.calls.set(self.calls.get() + 1);
        Ok(CallInFlight(self.clone()))
    }

    async fn session_ended(&self) -> &'static str {
        let in_time = tokio::time::timeout(AUTHENTICATION, self.authenticated.notified()).await;
        let session = self.session.borrow().clone();
        match (in_time, session) {
            (Ok(()), Some(session)) => {
                session.wait().await;
                "this device may not use the account any more"
            }
            (_, _) => {
                self.service.metrics().connections_refused.with_label_values(&["not_authenticated"]).inc();
                "nobody authenticated in time"
            }
        }
    }

    async fn told_to_end(&self) -> &'static str {
        loop {
            self.ending.notified().await;
            if let Some(reason) = self.end.get() {
                return reason;
            }
        }
    }
}

/// What the log calls a call: the connection's number and the call's, neither of which says anything about anybody.
#[derive(Clone, Copy)]
pub struct RequestId {
    connection: u64,
    request: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connection, self.request)
    }
}

/// A call that is being answered.
pub struct CallInFlight(Rc<Connection>);

impl Drop for CallInFlight {
    fn drop(&mut self) {
        self.0.calls.set(self.0.calls.get().saturating_sub(1));
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connections of this process so far.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// How long a connection may be nobody's.
const AUTHENTICATION: Duration = Duration::from_secs(30);

/// A person who mistypes a password connects anew each time; nobody else fails more than once.
pub const MOST_FAILED_ATTEMPTS: u32 = 16;
