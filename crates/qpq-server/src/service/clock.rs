//! Where the service gets the time from.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use qpq_proto::time::Timestamp;

/// A clock that a simulation can replace.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's.
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        })
    }

    /// Any other.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// What it says.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}
