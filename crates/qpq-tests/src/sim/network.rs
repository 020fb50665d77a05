//! The network: what is under way between devices and the server, late, lost, twice or in another order.

use std::collections::BTreeMap;

use qpq_core::request::{Reply, Request};
use qpq_proto::account::ServerHello;
use qpq_proto::code::Refusal;
use qpq_proto::ids::Seq;
use qpq_proto::stream::{Entry, LogId, Mark, Position, Subscribed};

use super::agenda::{Agenda, Event, SECOND};
use super::plan::Plan;
use super::random::Random;

/// One connection; numbers are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// From a device to the server.
#[derive(Clone)]
pub enum Up {
    /// Proves the device and opens its stream.
    Hello,
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
}

/// From the server to a device.
#[derive(Clone)]
pub enum Down {
    Welcome {
        hello: ServerHello,
    },
    Reply {
        request: u64,
        result: Result<Reply, Refusal>,
    },
    Subscribed {
        log: LogId,
        after: Seq,
        result: Result<Subscribed, Refusal>,
    },
    Push(Vec<Entry>),
    CaughtUp(u32),
    KeyPackagesLow(u32),
    /// The server ends the connection.
    Close,
}

/// All connections.
pub struct Network {
    agenda: Agenda,
    random: Random,
    plan: Plan,
    links: BTreeMap<LinkId, Link>,
    born: u64,
}

/// A connection as both ends see it.
struct Link {
    device: usize,
    is_open_at_device: bool,
    is_open_at_server: bool,
    /// When the last thing arrives that was sent: what is ordered does not arrive before it.
    up_at: u64,
    down_at: u64,
    /// A push was lost: what would come after it on the stream does not come either.
    is_deaf: bool,
}

impl Network {
    pub fn new(agenda: Agenda, random: Random, plan: Plan) -> Self {
        Self { agenda, random, plan, links: BTreeMap::new(), born: 0 }
    }

    /// A device connects.
    pub fn open(&mut self, device: usize) -> LinkId {
        self.born += 1;
        let (id, now) = (LinkId(self.born), self.agenda.micros());
        let (is_open_at_device, is_open_at_server) = (true, true);
        let link = Link { device, is_open_at_device, is_open_at_server, up_at: now, down_at: now, is_deaf: false };
        self.links.insert(id, link);
        self.send_up(id, Up::Hello);
        id
    }

    /// Sends something to the server.
    pub fn send_up(&mut self, id: LinkId, what: Up) {
        if !self.links.get(&id).is_some_and(|link| link.is_open_at_device) {
            return;
        }
        if self.random.chance(self.plan.loss) {
            return self.cut(id, 30 * SECOND);
        }
        let is_call = matches!(what, Up::Request { .. });
        if is_call && self.random.chance(self.plan.duplicates) {
            let late = self.random.below(5 * SECOND);
            self.agenda.after(late, Event::AtServer(id, what.clone()));
        }
        let latency = self.latency();
        let Some(link) = self.links.get_mut(&id) else { return };
        let mut at = self.agenda.micros() + latency;
        if !is_call || !self.plan.reorders {
            at = at.max(link.up_at);
            link.up_at = at;
        }
        self.agenda.at(at, Event::AtServer(id, what));
    }

    /// Sends something to the device.
    pub fn send_down(&mut self, id: LinkId, what: Down) {
        let Some(link) = self.links.get(&id).filter(|link| link.is_open_at_server) else { return };
        let is_reply = matches!(what, Down::Reply { .. });
        if link.is_deaf && !is_reply {
            return;
        }
        if self.random.chance(self.plan.loss) {
            if let Some(link) = self.links.get_mut(&id) {
                link.is_deaf |= !is_reply;
            }
            return self.cut(id, 30 * SECOND);
        }
        let repeats = matches!(what, Down::Reply { .. } | Down::Push(_));
        let is_twice = repeats && self.random.chance(self.plan.duplicates);
        let latency = self.latency();
        let Some(link) = self.links.get_mut(&id) else { return };
        let mut at = self.agenda.micros() + latency;
        if !is_reply || !self.plan.reorders {
            at = at.max(link.down_at);
            link.down_at = at;
        }
        if is_twice {
            self.agenda.at(at, Event::AtDevice(id, what.clone()));
        }
        self.agenda.at(at, Event::AtDevice(id, what));
    }

    /// Both ends notice, each in its own time, that the connection is gone.
    pub fn cut(&mut self, id: LinkId, within: u64) {
        let (device, server) = (self.random.below(within), self.random.below(within));
        self.agenda.after(device, Event::CutAtDevice(id));
        self.agenda.after(server, Event::CutAtServer(id));
    }

    /// The device at the other end, while the server has its end.
    pub fn device_of(&self, id: LinkId) -> Option<usize> {
        self.links.get(&id).filter(|link| link.is_open_at_server).map(|link| link.device)
    }

    /// The device does not use the connection any more. What it has sent may still arrive.
    pub fn closed_at_device(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.is_open_at_device = false;
        }
        self.forget(id);
    }

    /// The server does not use the connection any more.
    pub fn closed_at_server(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.is_open_at_server = false;
        }
        self.forget(id);
    }

    fn forget(&mut self, id: LinkId) {
        if self.links.get(&id).is_some_and(|link| !link.is_open_at_device && !link.is_open_at_server) {
            self.links.remove(&id);
        }
    }

    /// The server is gone: its ends are, and the devices notice in their own time.
    pub fn server_gone(&mut self) {
        let open: Vec<_> = self.links.keys().copied().collect();
        for id in open {
            let late = self.random.below(20 * SECOND);
            self.agenda.after(late, Event::CutAtDevice(id));
            self.closed_at_server(id);
        }
    }

    /// No more harm. What was lost before leaves its traces: those connections are cut already.
    pub fn heal(&mut self) {
        self.plan.heal();
    }

    fn latency(&mut self) -> u64 {
        let most = if self.random.chance(20) { self.plan.latency * 20 } else { self.plan.latency };
        self.random.below(most + 1)
    }
}
