//! What a stream still has to read. The hub marks, the stream takes; nothing in it waits or reads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qpq_proto::ids::{GroupId, Seq};
use qpq_proto::limits;
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::{LogId, Position};
use tokio::sync::Notify;

use crate::store::group::Membership;

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The device has opened another one.
    Replaced,
}

/// Shared by the hub, the stream's calls and its pump.
#[derive(Default)]
pub struct Mailbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    logs: HashMap<LogId, Subscription>,
    /// Subscriptions and changes of rosters so far.
    rosters: u64,
    /// Logs with something to read, each once.
    ready: VecDeque<LogId>,
    /// Subscribe calls that have been answered.
    subscriptions: u32,
    stock: Option<u32>,
    /// The newest ones; lost when the device does not keep up.
    whispers: VecDeque<Whisper>,
    end: Option<StreamEnd>,
}

struct Subscription {
    /// The stay in a group whose entries it ends with began here: another one is another subscription. None: it has not begun.
    stay: Option<Seq>,
    position: Seq,
    head: Seq,
    is_ready: bool,
    /// None: it has to be read again.
    membership: Option<Arc<Membership>>,
    /// Which subscription and roster it is, so that an answer from before another one is not kept.
    roster: u64,
}

/// What to do next.
pub enum Work {
    End(StreamEnd),
    KeyPackagesLow(u32),
    Whisper(Whisper),
    Read(Reading),
    Nothing { subscriptions: u32 },
}

/// What a member's device tells those that are online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whisper {
    pub group: GroupId,
    pub payload: Arc<[u8]>,
}

/// A log with something to read.
pub struct Reading {
    pub log: LogId,
    pub position: Seq,
    pub head: Seq,
    pub membership: Option<Arc<Membership>>,
    /// Of stays that began later nothing is read.
    pub stay: Seq,
    roster: u64,
}

impl Mailbox {
    /// Listens, without giving anything before it [begins](Self::begin); the position is the device's word. False: there are
    /// too many.
    pub fn subscribe(&self, log: LogId, after: Seq) -> bool {
        let mut state = self.state();
        if state.logs.len() >= limits::POSITIONS && !state.logs.contains_key(&log) {
            return false;
        }
        state.ready.retain(|ready| *ready != log);
        let roster = state.next_roster();
        let (stay, head, is_ready, membership) = (None, Seq(0), false, None);
        let fresh = Subscription { stay, position: after, head, is_ready, membership, roster };
        state.logs.insert(log, fresh);
        true
    }

    /// The log ends at `head` at least, and the device's present stay in the group began at `stay`.
    pub fn begin(&self, log: LogId, head: Seq, stay: Seq) {
        if let Some(subscription) = self.state().logs.get_mut(&log) {
            subscription.stay = Some(stay);
        }
        self.grown(log, head, false);
    }

    pub fn unsubscribe(&self, log: LogId) {
        let mut state = self.state();
        state.logs.remove(&log);
        state.ready.retain(|ready| *ready != log);
    }

    /// A subscribe call has been answered, whatever the answer.
    pub fn subscription_answered(&self) {
        self.state().subscriptions += 1;
        self.changed.notify_one();
    }

    /// The log ends at `head`; with `roster`, who may read it may have changed.
    pub fn grown(&self, log: LogId, head: Seq, roster: bool) {
        let mut state = self.state();
        let next_roster = state.next_roster();
        let Some(subscription) = state.logs.get_mut(&log) else {
            return;
        };
        subscription.head = subscription.head.max(head);
        if roster {
            subscription.membership = None;
            subscription.roster = next_roster;
        }
        if subscription.stay.is_some() && subscription.head > subscription.position {
            state.mark_ready(log);
            self.changed.notify_one();
        }
    }

    pub fn stock_is_low(&self, left: u32) {
        self.state().stock = Some(left);
        self.changed.notify_one();
    }

    /// Told after everything else, or never.
    pub fn whisper(&self, whisper: Whisper) {
        let mut state = self.state();
        if state.whispers.len() == WHISPERS {
            state.whispers.pop_front();
        }
        state.whispers.push_back(whisper);
        self.changed.notify_one();
    }

    pub fn end(&self, end: StreamEnd) {
        self.state().end = Some(end);
        self.changed.notify_one();
    }

    /// Takes the next thing to do. A log that is taken must be given back with [`reached`](Self::reached).
    pub fn take_work(&self) -> Work {
        let mut state = self.state();
        if let Some(end) = state.end {
            return Work::End(end);
        }
        if let Some(left) = state.stock.take() {
            return Work::KeyPackagesLow(left);
        }
        while let Some(log) = state.ready.pop_front() {
            if let Some(subscription) = state.logs.get_mut(&log)
                && let Some(stay) = subscription.stay
            {
                subscription.is_ready = false;
                return Work::Read(Reading {
                    stay,
                    log,
                    position: subscription.position,
                    head: subscription.head,
                    membership: subscription.membership.clone(),
                    roster: subscription.roster,
                });
            }
        }
        if let Some(whisper) = state.whispers.pop_front() {
            return Work::Whisper(whisper);
        }
        Work::Nothing { subscriptions: state.subscriptions }
    }

    /// Everything up to `position` has been taken; `is_all`: there was nothing more when it was read.
    pub fn reached(&self, reading: &Reading, position: Seq, is_all: bool) {
        let mut state = self.state();
        let Some(subscription) = state.logs.get_mut(&reading.log) else {
            return;
        };
        // A new subscription in the meantime begins where the device says.
        if subscription.position == reading.position {
            let skipped = u64::from(is_on(Mutation::SkipEntry));
            subscription.position = Seq(position.0 + skipped).max(reading.position);
        }
        if !is_all || subscription.head > reading.head {
            state.mark_ready(reading.log);
        }
    }

    /// Keeps a membership that was read for `reading`, unless the roster has changed since.
    pub fn remember(&self, reading: &Reading, membership: Membership) {
        if let Some(subscription) = self.state().logs.get_mut(&reading.log)
            && subscription.roster == reading.roster
        {
            subscription.membership = Some(Arc::new(membership));
        }
    }

    /// Returns when something may have changed since the last call; sometimes earlier.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the device may say that it has this: it follows the log and was given that much.
    pub fn has_reached(&self, position: &Position) -> bool {
        self.state().logs.get(&position.log).is_some_and(|subscription| position.seq <= subscription.position)
    }

    /// What this stream has delivered. Not the heads of the logs: those may be entries that this device never gets to see.
    pub fn heads(&self) -> Vec<Position> {
        let state = self.state();
        state.logs.iter().map(|(log, subscription)| Position { log: *log, seq: subscription.position }).collect()
    }

    pub fn logs(&self) -> Vec<LogId> {
        self.state().logs.keys().copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_roster(&mut self) -> u64 {
        self.rosters += 1;
        self.rosters
    }

    fn mark_ready(&mut self, log: LogId) {
        if let Some(subscription) = self.logs.get_mut(&log)
            && !subscription.is_ready
        {
            subscription.is_ready = true;
            self.ready.push_back(log);
        }
    }
}

/// Whispers that wait for one device.
const WHISPERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId::Inbox;

    fn reading(mailbox: &Mailbox) -> Option<Reading> {
        match mailbox.take_work() {
            Work::Read(reading) => Some(reading),
            Work::Nothing { .. } | Work::End(_) | Work::KeyPackagesLow(_) | Work::Whisper(_) => None,
        }
    }

    #[test]
    fn growth_during_a_read_is_not_lost() {
        let mailbox = Mailbox::default();
        assert!(mailbox.subscribe(LOG, Seq(0)));
        mailbox.grown(LOG, Seq(1), false);
        assert!(reading(&mailbox).is_none(), "it has not begun");
        mailbox.begin(LOG, Seq(2), Seq(0));
        mailbox.grown(LOG, Seq(3), false);
        let first = reading(&mailbox).expect("it has grown");
        assert!(reading(&mailbox).is_none(), "a log is taken once");
        mailbox.grown(LOG, Seq(4), false);
        mailbox.reached(&first, Seq(3), true);
        let second = reading(&mailbox).expect("it has grown again");
        assert_eq!(second.position, Seq(3));
        mailbox.reached(&second, Seq(4), true);
        assert!(reading(&mailbox).is_none());
    }

    #[test]
    fn a_partial_read_goes_to_the_back_of_the_queue() {
        let mailbox = Mailbox::default();
        let other = LogId::Group(qpq_proto::ids::GroupId([1; 16]));
        for log in [LOG, other] {
            mailbox.subscribe(log, Seq(0));
            mailbox.begin(log, Seq(9), Seq(0));
        }
        let first = reading(&mailbox).expect("the inbox");
        mailbox.reached(&first, Seq(5), false);
        assert_eq!(reading(&mailbox).expect("the group").log, other);
        assert_eq!(reading(&mailbox).expect("the rest").position, Seq(5));
    }

    #[test]
    fn a_membership_from_before_a_change_is_not_kept() {
        let mailbox = Mailbox::default();
        mailbox.subscribe(LOG, Seq(0));
        mailbox.begin(LOG, Seq(1), Seq(0));
        let first = reading(&mailbox).expect("it has grown");
        mailbox.grown(LOG, Seq(2), true);
        let head = qpq_proto::groups::Head { epoch: qpq_proto::ids::Epoch(0), seq: Seq(1) };
        mailbox.remember(&first, Membership { head, spans: vec![], acknowledged: Seq(0), context: None });
        mailbox.reached(&first, Seq(1), true);
        assert!(reading(&mailbox).expect("it has grown again").membership.is_none());
    }

    #[test]
    fn a_membership_from_before_another_subscription_is_not_kept() {
        let mailbox = Mailbox::default();
        mailbox.subscribe(LOG, Seq(0));
        mailbox.begin(LOG, Seq(1), Seq(0));
        let first = reading(&mailbox).expect("it has grown");
        mailbox.grown(LOG, Seq(2), true);
        mailbox.subscribe(LOG, Seq(0));
        let head = qpq_proto::groups::Head { epoch: qpq_proto::ids::Epoch(0), seq: Seq(1) };
        mailbox.remember(&first, Membership { head, spans: vec![], acknowledged: Seq(0), context: None });
        mailbox.begin(LOG, Seq(3), Seq(0));
        assert!(reading(&mailbox).expect("it has grown again").membership.is_none());
    }

    #[test]
    fn only_what_was_given_can_be_acknowledged() {
        let mailbox = Mailbox::default();
        mailbox.subscribe(LOG, Seq(3));
        assert!(mailbox.has_reached(&Position { log: LOG, seq: Seq(3) }));
        assert!(!mailbox.has_reached(&Position { log: LOG, seq: Seq(4) }));
    }
}
