//! Key packages as rows.

use qpq_proto::ids::DeviceId;
use qpq_proto::time::Timestamp;

/// A validated key package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKeyPackage {
    /// Its hash (RFC 9420, section 5.2), under which it is known for ever after.
    pub reference: Vec<u8>,
    pub package: Vec<u8>,
    /// The number of its MLS cipher suite.
    pub suite: u16,
    pub last_resort: bool,
    /// Not handed out from then on.
    pub expires: Timestamp,
}

/// What came of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    Done,
    /// More than a device may have; nothing was stored.
    QuotaExceeded,
}

/// A key package that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub device: DeviceId,
    pub package: Vec<u8>,
    pub last_resort: bool,
    /// One-time packages of this suite that the device has left, counted up to [`LOW_STOCK`].
    pub left: u32,
}

/// With fewer one-time packages than this a device is asked for more; how many more there are nobody asks often.
pub const LOW_STOCK: u32 = 20;
