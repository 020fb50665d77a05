//! How far devices have come, collected in memory and written together: an acknowledgement only lets the server forget,
//! so losing one in a crash costs nothing but space.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use qpq_proto::code::Refusal;
use qpq_proto::ids::{DeviceId, Seq};
use qpq_proto::stream::LogId;

use crate::store::log::LogPosition;

use super::Service;

/// The newest position per device and log since the last write.
#[derive(Default)]
pub struct Acknowledgements(Mutex<HashMap<(DeviceId, LogId), Seq>>);

impl Acknowledgements {
    pub fn add(&self, device: DeviceId, log: LogId, seq: Seq) {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((device, log)) {
            Entry::Occupied(mut known) => {
                let newest = seq.max(*known.get());
                known.insert(newest);
            }
            Entry::Vacant(vacant) => {
                vacant.insert(seq);
            }
        }
    }

    /// What has not been written yet.
    pub fn pending(&self, device: DeviceId, log: LogId) -> Option<Seq> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(device, log)).copied()
    }

    /// A device whose account is gone.
    pub fn forget(&self, device: DeviceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| *of != device);
    }

    fn take(&self) -> Vec<LogPosition> {
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        taken.into_iter().map(|((device, log), seq)| LogPosition { device, log, seq }).collect()
    }
}

impl Service {
    /// Writes what has been acknowledged.
    pub async fn flush_acknowledgements(&self) -> Result<(), Refusal> {
        for positions in self.acknowledgements.take().chunks(POSITIONS_PER_JOB) {
            self.store.acknowledge(positions.to_vec()).await?;
        }
        Ok(())
    }
}

/// Rows that one job of the writer touches, so that posts are not kept waiting.
const POSITIONS_PER_JOB: usize = 500;
