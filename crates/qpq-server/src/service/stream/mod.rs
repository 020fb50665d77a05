//! A device's stream: everything that it follows, in the order of each log, from where the device says it is.

pub(in crate::service) mod mailbox;

use std::sync::Arc;

use qpq_proto::code::Refusal;
use qpq_proto::ids::{DeviceId, GroupId, Seq};
use qpq_proto::limits;
use qpq_proto::stream::{Entry, Lineage, LogId, Mark, Position, Subscribed};
use qpq_proto::time::Timestamp;
use qpq_trust::suite::Suite;

use crate::store::key_package::LOW_STOCK;
use crate::store::log::{Batch, ReadLimit};

use super::{Caller, Service, refuse};
use mailbox::{Mailbox, Reading, Whisper, Work};

pub use mailbox::StreamEnd;

/// What goes to the device next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    Entries {
        entries: Vec<Arc<Entry>>,
        /// With them, as [`Self::CaughtUp`].
        caught_up: Option<u32>,
    },
    /// Nothing is waiting in the logs of this many first subscriptions.
    CaughtUp(u32),
    KeyPackagesLow(u32),
    /// Nobody minds if it is lost.
    Whisper(Whisper),
    /// Nothing more will come.
    End(StreamEnd),
}

/// The handle that a device subscribes and acknowledges with. Dropping the last handle and the [`Pump`] closes the stream.
#[derive(Clone)]
pub struct DeviceStream {
    open: Arc<Open>,
}

/// The side that delivers. There is one per stream.
pub struct Pump {
    open: Arc<Open>,
    told: u32,
    has_pushed: bool,
    /// Since when nothing was waiting for the first time: entries from then on come as they are made.
    live_since: Option<Timestamp>,
}

struct Open {
    service: Arc<Service>,
    device: DeviceId,
    mailbox: Arc<Mailbox>,
    /// Subscriptions are answered in the order of the calls, because they are counted by it.
    order: tokio::sync::Mutex<()>,
}

impl Service {
    /// Opens the stream of the caller's device; an older one of the same device ends.
    pub fn open_stream(self: &Arc<Self>, caller: &Caller) -> (DeviceStream, Pump) {
        let mailbox = self.hub.open(caller.device);
        self.metrics.streams.inc();
        let open = Arc::new(Open {
            service: self.clone(),
            device: caller.device,
            mailbox,
            order: tokio::sync::Mutex::default(),
        });
        (DeviceStream { open: open.clone() }, Pump { open, told: 0, has_pushed: false, live_since: None })
    }
}

impl DeviceStream {
    /// Follows a log from after `after` on, or from where device and server last agreed: `known` are entries that the
    /// device has taken, newest first.
    pub async fn subscribe(&self, log: LogId, after: Seq, known: Vec<Mark>) -> Result<Subscribed, Refusal> {
        let Open { mailbox, order, .. } = &*self.open;
        let _turn = order.lock().await;
        let outcome = self.open.follow(log, after, known).await;
        mailbox.subscription_answered();
        outcome
    }

    /// Everything up to these positions is stored on the device. Logs that it does not follow are ignored.
    pub fn acknowledge(&self, positions: &[Position]) {
        let Open { service, device, mailbox, .. } = &*self.open;
        for position in positions.iter().filter(|position| mailbox.has_reached(position)) {
            service.acknowledgements.add(*device, position.log, position.seq);
        }
    }
}

impl Pump {
    /// What goes out next; waits until there is something. Not to be cancelled: what it has taken would be lost.
    pub async fn next(&mut self) -> Result<Delivery, Refusal> {
        let mailbox = &self.open.mailbox;
        let (mut entries, mut bytes, mut caught_up) = (Vec::new(), 0, None);
        while entries.len() < limits::PUSH_ENTRIES && bytes < PUSH_BYTES {
            match mailbox.take_work() {
                Work::End(end) => return Ok(Delivery::End(end)),
                Work::KeyPackagesLow(left) => {
                    if entries.is_empty() {
                        return Ok(Delivery::KeyPackagesLow(left));
                    }
                    mailbox.stock_is_low(left);
                    break;
                }
                Work::Whisper(whisper) => {
                    if entries.is_empty() {
                        self.open.service.metrics.whispers.inc();
                        return Ok(Delivery::Whisper(whisper));
                    }
                    mailbox.whisper(whisper);
                    break;
                }
                Work::Read(reading) => {
                    let limit = ReadLimit { entries: limits::PUSH_ENTRIES - entries.len(), bytes: PUSH_BYTES - bytes };
                    let batch = self.open.read(reading, limit).await?;
                    bytes += batch.iter().map(|entry| entry.payload.len()).sum::<usize>();
                    entries.extend(batch);
                }
                Work::Nothing { subscriptions } => {
                    if !entries.is_empty() {
                        caught_up = Some(subscriptions);
                        break;
                    }
                    if self.has_pushed || self.told != subscriptions {
                        (self.has_pushed, self.told) = (false, subscriptions);
                        self.live_since.get_or_insert_with(|| self.open.service.clock.now());
                        return Ok(Delivery::CaughtUp(subscriptions));
                    }
                    mailbox.changed().await;
                }
            }
        }
        self.has_pushed = caught_up.is_none();
        self.told = caught_up.unwrap_or(self.told);
        let Service { metrics, clock, .. } = &*self.open.service;
        let live = entries.iter().map(|entry| entry.at).filter(|at| self.live_since.is_some_and(|since| *at >= since));
        if let Some(oldest) = live.min() {
            metrics.delivery_lag.observe(clock.now().since(oldest).as_secs_f64());
        }
        metrics.deliveries.inc_by(entries.len() as u64);
        metrics.delivered_bytes.inc_by(bytes as u64);
        if caught_up.is_some() {
            self.live_since.get_or_insert_with(|| clock.now());
        }
        Ok(Delivery::Entries { entries, caught_up })
    }

    /// Where the logs end that the device follows, for a heartbeat. Costs nothing.
    pub fn heads(&self) -> Heads {
        Heads(self.open.mailbox.clone())
    }
}

/// The newest positions of a stream's logs, while the [`Pump`] is busy.
#[derive(Clone)]
pub struct Heads(Arc<Mailbox>);

impl Heads {
    /// One per log, as many as fit into a heartbeat.
    pub fn positions(&self) -> Vec<Position> {
        self.0.heads()
    }
}

impl Open {
    async fn follow(&self, log: LogId, after: Seq, known: Vec<Mark>) -> Result<Subscribed, Refusal> {
        let from = match log {
            LogId::Inbox => after,
            LogId::Group(group) => self.agreed(group, after, known).await?,
        };
        if !self.mailbox.subscribe(log, from) {
            return Err(refuse::quota("logs that one device may follow"));
        }
        // Listening comes first, so that nothing is missed between looking and listening.
        let (head, acknowledged, joined, lineage) = match log {
            LogId::Inbox => {
                let (store, now) = (&self.service.store, self.service.clock.now());
                let (inbox, stock) = store.inbox_and_stock(self.device, Suite::Hybrid.number(), now).await?;
                if stock < LOW_STOCK {
                    self.mailbox.stock_is_low(stock);
                }
                (inbox.head, inbox.acknowledged, Seq(0), None)
            }
            LogId::Group(group) => {
                self.service.hub.follow(group, self.device, &self.mailbox);
                let membership = self.service.store.membership(group, self.device).await?;
                match membership.filter(|membership| !membership.spans.is_empty()) {
                    Some(membership) => {
                        let epoch = membership.head.epoch;
                        let lineage = membership.context.map(|context| Lineage { epoch, context });
                        if !membership.is_current() && membership.visible_after(from).is_none() {
                            // Nothing more comes of that stay; of another one the device hears in its inbox.
                            self.drop_group(group);
                        }
                        (membership.visible_head(), membership.acknowledged, membership.joined(), lineage)
                    }
                    None => {
                        self.drop_group(group);
                        return Err(refuse::no_such_group());
                    }
                }
            }
        };
        // The device has come further than the inbox goes: the server was set back, and the inbox is read anew.
        let from = if from > head && log == LogId::Inbox { self.again(log)? } else { from };
        self.mailbox.begin(log, head, joined);
        let pending = self.service.acknowledgements.pending(self.device, log).unwrap_or_default();
        Ok(Subscribed { head, from, acknowledged: acknowledged.max(pending), joined, lineage })
    }

    /// Where device and server last agreed about a log: nearly always at `after`.
    async fn agreed(&self, group: GroupId, after: Seq, known: Vec<Mark>) -> Result<Seq, Refusal> {
        if known.is_empty() || after == Seq(0) {
            return Ok(after);
        }
        let newest = known.iter().map(|mark| mark.seq).max();
        let agreed = self.service.store.agreed(group, known).await?.map(|mark| mark.seq);
        Ok(if agreed == newest { after } else { agreed.unwrap_or_default() })
    }

    /// Follows a log from its beginning.
    fn again(&self, log: LogId) -> Result<Seq, Refusal> {
        if self.mailbox.subscribe(log, Seq(0)) {
            Ok(Seq(0))
        } else {
            Err(refuse::quota("logs that one device may follow"))
        }
    }

    async fn read(&self, reading: Reading, limit: ReadLimit) -> Result<Vec<Arc<Entry>>, Refusal> {
        let store = &self.service.store;
        let group = match reading.log {
            LogId::Inbox => {
                let batch = store.read_inbox(self.device, reading.position, limit).await?;
                let is_all = batch.reached >= reading.head || batch.entries.is_empty();
                return Ok(self.done(&reading, batch, is_all));
            }
            LogId::Group(group) => group,
        };
        let mut membership = match &reading.membership {
            Some(known) => (**known).clone(),
            None => store.membership(group, self.device).await?.ok_or_else(refuse::no_such_group)?,
        };
        membership.head.seq = membership.head.seq.max(reading.head);
        // A device that was removed and added again has to hear from us where the new stay begins.
        membership.spans.retain(|span| span.joined <= reading.stay);
        let Some((after, upto)) = membership.visible_after(reading.position) else {
            if membership.is_current() {
                self.mailbox.remember(&reading, membership);
            } else {
                self.drop_group(group);
            }
            return Ok(Vec::new());
        };
        let batch = store.read_group(group, after, upto, limit).await?;
        let is_all = membership.visible_after(batch.reached).is_none();
        if is_all && !membership.is_current() {
            self.drop_group(group);
            return Ok(batch.entries);
        }
        self.mailbox.remember(&reading, membership);
        Ok(self.done(&reading, batch, is_all))
    }

    fn done(&self, reading: &Reading, batch: Batch, is_all: bool) -> Vec<Arc<Entry>> {
        self.mailbox.reached(reading, batch.reached, is_all);
        batch.entries
    }

    fn drop_group(&self, group: GroupId) {
        self.service.hub.unfollow(group, self.device, &self.mailbox);
        self.mailbox.unsubscribe(LogId::Group(group));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.service.metrics.streams.dec();
        self.service.hub.close(self.device, &self.mailbox);
    }
}

/// Payload bytes in one push, so that a large backlog does not pile up in memory.
const PUSH_BYTES: usize = 512 * 1024;
