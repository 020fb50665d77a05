//! Reading logs.

use std::sync::Arc;

use qpq_proto::ids::{DeviceId, Seq};
use qpq_proto::stream::{Entry, LogId};

/// How much one read may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    pub entries: usize,
    /// Payload bytes; one entry is always given, however large.
    pub bytes: usize,
}

/// A part of a log, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub entries: Vec<Arc<Entry>>,
    /// Up to here everything that still exists was given.
    pub reached: Seq,
}

/// How far one device has come in one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogPosition {
    pub device: DeviceId,
    pub log: LogId,
    pub seq: Seq,
}

/// Where a device's inbox ends, and how far the device has acknowledged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxHead {
    pub head: Seq,
    pub acknowledged: Seq,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Payloads that were erased.
    pub erased: u64,
    /// Where to go on; none when it came to the end.
    pub next: Option<i64>,
}
