//! From logs that grew to the devices that are online. The store calls it after every commit, in the order of the logs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use prometheus::Histogram;
use qpq_proto::ids::{DeviceId, GroupId};
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::LogId;

use crate::store::change::Change;

use super::stream::mailbox::{Mailbox, StreamEnd, Whisper};

/// Which streams are open, and which groups they follow.
#[derive(Default)]
pub struct Hub {
    streams: Mutex<Streams>,
    /// It is there before what counts it.
    fanout: OnceLock<Histogram>,
}

#[derive(Default)]
struct Streams {
    by_device: HashMap<DeviceId, Arc<Mailbox>>,
    by_group: HashMap<GroupId, HashMap<DeviceId, Arc<Mailbox>>>,
}

impl Hub {
    /// From now on it is counted how many devices each entry is for.
    pub fn count_fanout(&self, fanout: Histogram) {
        let _ = self.fanout.set(fanout);
    }

    /// Marks the logs in the mailboxes of everybody who follows them.
    pub fn wake(&self, changes: &[Change]) {
        let streams = self.streams();
        for change in changes {
            match change {
                Change::Group { group, head, roster } => {
                    let followers = streams.by_group.get(group);
                    if let Some(fanout) = self.fanout.get() {
                        fanout.observe(followers.map_or(0, HashMap::len) as f64);
                    }
                    for mailbox in followers.into_iter().flat_map(HashMap::values) {
                        mailbox.grown(LogId::Group(*group), *head, *roster);
                    }
                }
                Change::Inbox { .. } if is_on(Mutation::NoWakeForInbox) => {}
                Change::Inbox { device, head } => {
                    if let Some(mailbox) = streams.by_device.get(device) {
                        mailbox.grown(LogId::Inbox, *head, false);
                    }
                }
                Change::Devices { .. } | Change::Purged { .. } => {}
            }
        }
    }

    /// A new stream for a device; the one before ends, for the newest connection wins.
    pub fn open(&self, device: DeviceId) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        let mut streams = self.streams();
        if let Some(replaced) = streams.by_device.insert(device, mailbox.clone()) {
            streams.forget(device, &replaced);
            replaced.end(StreamEnd::Replaced);
        }
        mailbox
    }

    /// The stream is gone.
    pub fn close(&self, device: DeviceId, mailbox: &Arc<Mailbox>) {
        let mut streams = self.streams();
        streams.forget(device, mailbox);
        if streams.by_device.get(&device).is_some_and(|current| Arc::ptr_eq(current, mailbox)) {
            streams.by_device.remove(&device);
        }
    }

    /// From now on the mailbox hears of this group, unless another stream has taken its place.
    pub fn follow(&self, group: GroupId, device: DeviceId, mailbox: &Arc<Mailbox>) {
        let mut streams = self.streams();
        if streams.by_device.get(&device).is_some_and(|current| Arc::ptr_eq(current, mailbox)) {
            streams.by_group.entry(group).or_default().insert(device, mailbox.clone());
        }
    }

    /// And no more.
    pub fn unfollow(&self, group: GroupId, device: DeviceId, mailbox: &Arc<Mailbox>) {
        self.streams().unfollow(group, device, mailbox);
    }

    /// Hands a whisper to the other devices that follow the group. False: this one does not follow it itself.
    pub fn whisper(&self, from: DeviceId, whisper: &Whisper) -> bool {
        let streams = self.streams();
        let Some(followers) = streams.by_group.get(&whisper.group).filter(|all| all.contains_key(&from)) else {
            return false;
        };
        for (device, mailbox) in followers {
            if *device != from {
                mailbox.whisper(whisper.clone());
            }
        }
        true
    }

    /// Tells a device that it should publish key packages, if it is online.
    pub fn stock_is_low(&self, device: DeviceId, left: u32) {
        if let Some(mailbox) = self.streams().by_device.get(&device) {
            mailbox.stock_is_low(left);
        }
    }

    /// Never held across an await; a panic while it was held cannot have left more than a stale entry.
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    fn forget(&mut self, device: DeviceId, mailbox: &Arc<Mailbox>) {
        for log in mailbox.logs() {
            match log {
                LogId::Group(group) => self.unfollow(group, device, mailbox),
                LogId::Inbox => {}
            }
        }
    }

    fn unfollow(&mut self, group: GroupId, device: DeviceId, mailbox: &Arc<Mailbox>) {
        let Some(followers) = self.by_group.get_mut(&group) else {
            return;
        };
        if followers.get(&device).is_some_and(|current| Arc::ptr_eq(current, mailbox)) {
            followers.remove(&device);
        }
        if followers.is_empty() {
            self.by_group.remove(&group);
        }
    }
}

#[cfg(test)]
mod tests {
    use qpq_proto::ids::Seq;

    use super::super::stream::mailbox::Work;
    use super::*;

    const DEVICE: DeviceId = DeviceId([1; 16]);
    const GROUP: GroupId = GroupId([2; 16]);

    fn grown(head: u64) -> [Change; 1] {
        [Change::Group { group: GROUP, head: Seq(head), roster: false }]
    }

    #[test]
    fn whispers_reach_the_others_and_are_never_many() {
        let (hub, other) = (Hub::default(), DeviceId([3; 16]));
        let (mine, theirs) = (hub.open(DEVICE), hub.open(other));
        let whisper = |text: u8| Whisper { group: GROUP, payload: Arc::from([text]) };
        hub.follow(GROUP, other, &theirs);
        assert!(!hub.whisper(DEVICE, &whisper(0)), "only who follows the group whispers in it");
        hub.follow(GROUP, DEVICE, &mine);
        for number in 0..100 {
            assert!(hub.whisper(DEVICE, &whisper(number)));
        }
        assert!(matches!(mine.take_work(), Work::Nothing { .. }));
        let mut heard = vec![];
        while let Work::Whisper(whisper) = theirs.take_work() {
            heard.push(whisper.payload[0]);
        }
        assert_eq!(heard, (68..100).collect::<Vec<u8>>());
    }

    #[test]
    fn the_newest_stream_of_a_device_wins() {
        let hub = Hub::default();
        let old = hub.open(DEVICE);
        old.subscribe(LogId::Group(GROUP), Seq(0));
        hub.follow(GROUP, DEVICE, &old);
        let new = hub.open(DEVICE);
        assert!(matches!(old.take_work(), Work::End(StreamEnd::Replaced)));

        // The old one comes late with everything that it still had to do.
        hub.follow(GROUP, DEVICE, &old);
        hub.close(DEVICE, &old);
        new.subscribe(LogId::Group(GROUP), Seq(0));
        hub.follow(GROUP, DEVICE, &new);
        new.begin(LogId::Group(GROUP), Seq(0), Seq(0));
        hub.wake(&grown(1));
        assert!(matches!(new.take_work(), Work::Read(_)));
        hub.close(DEVICE, &new);
        hub.wake(&grown(2));
        assert!(hub.streams().by_group.is_empty() && hub.streams().by_device.is_empty());
    }
}
