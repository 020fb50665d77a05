//! Handles: numbers that stand for what is open. They are never used again, so that a stale one finds nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::instance::Instance;
use crate::link::Link;
use crate::status::{Failure, QpqStatus};

/// What a handle stands for.
#[derive(Clone)]
pub enum Open {
    Client(Arc<Instance>),
    /// A new device that is not linked yet.
    Link(Arc<Link>),
}

/// Keeps it open under a new handle.
pub fn insert(open: Open) -> u64 {
    let handle = NEXT.fetch_add(1, Ordering::Relaxed);
    table().insert(handle, open);
    handle
}

/// What is open under a handle. It stays alive while the caller holds it, also when somebody closes it meanwhile.
pub fn open(handle: u64) -> Result<Open, Failure> {
    table().get(&handle).cloned().ok_or_else(stale)
}

/// The client under a handle.
pub fn find(handle: u64) -> Result<Arc<Instance>, Failure> {
    match open(handle)? {
        Open::Client(instance) => Ok(instance),
        Open::Link(_) => Err(Failure::bad_input("this device is not linked yet: request link_wait, then link_accept")),
    }
}

/// The device is linked: its handle stands for the client from now on. Stale when somebody has closed it meanwhile.
pub fn linked(handle: u64, client: Arc<Instance>) -> Result<(), Failure> {
    let mut table = table();
    let open = table.get_mut(&handle).ok_or_else(stale)?;
    *open = Open::Client(client);
    Ok(())
}

/// Takes it out: from now on the handle is stale.
pub fn remove(handle: u64) -> Result<Open, Failure> {
    table().remove(&handle).ok_or_else(stale)
}

fn table() -> MutexGuard<'static, BTreeMap<u64, Open>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stale() -> Failure {
    let text = "no client is open under this handle; it was closed, or was never one";
    Failure::Misuse(QpqStatus::BadHandle, text.into())
}

/// Not zero: that is what an uninitialized variable holds most often.
static NEXT: AtomicU64 = AtomicU64::new(0x7170_7100_0000_0001);
static TABLE: Mutex<BTreeMap<u64, Open>> = Mutex::new(BTreeMap::new());
