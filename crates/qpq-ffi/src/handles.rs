//! Handles: numbers that stand for what is open. They are never used again, so that a stale one finds nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::instance::Instance;
use crate::status::{Failure, QpqStatus};

/// Keeps it open under a new handle.
pub fn insert(instance: Instance) -> u64 {
    let handle = NEXT.fetch_add(1, Ordering::Relaxed);
    table().insert(handle, Arc::new(instance));
    handle
}

/// What is open under a handle. It stays alive while the caller holds it, also when somebody closes it meanwhile.
pub fn find(handle: u64) -> Result<Arc<Instance>, Failure> {
    table().get(&handle).cloned().ok_or_else(stale)
}

/// Takes it out: from now on the handle is stale.
pub fn remove(handle: u64) -> Result<Arc<Instance>, Failure> {
    table().remove(&handle).ok_or_else(stale)
}

fn table() -> MutexGuard<'static, HashMap<u64, Arc<Instance>>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stale() -> Failure {
    let text = "no client is open under this handle; it was closed, or was never one";
    Failure::Misuse(QpqStatus::BadHandle, text.into())
}

/// Not zero: that is what an uninitialized variable holds most often.
static NEXT: AtomicU64 = AtomicU64::new(0x7170_7100_0000_0001);
static TABLE: LazyLock<Mutex<HashMap<u64, Arc<Instance>>>> = LazyLock::new(Mutex::default);
