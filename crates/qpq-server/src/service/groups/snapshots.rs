//! When a group's state is written as a whole.

use std::time::Duration;

use openmls_rust_crypto::RustCrypto;
use qpq_proto::code::Refusal;
use qpq_proto::ids::{Epoch, GroupId};

use super::cache::Held;
use super::public;
use crate::service::{Service, refuse};
use crate::store::group::Snapshot;

impl Service {
    /// Writes the state of the held group, so that it is rebuilt from there.
    pub(super) async fn write_snapshot(&self, held: Held, id: GroupId) -> Result<(), Refusal> {
        let (mut held, encoded) = self
            .pool
            .run(move || {
                let encoded = held
                    .as_ref()
                    .map(|tracked| (tracked.epoch(), public::encode(&RustCrypto::default(), &tracked.group)));
                (held, encoded)
            })
            .await?;
        let Some((epoch, Ok(state))) = encoded else {
            return Err(refuse::internal("a group state cannot be encoded"));
        };
        let bytes = state.len();
        self.store.write_snapshot(id, Snapshot { epoch, state }, self.clock.now()).await?;
        if let Some(tracked) = held.as_mut() {
            (tracked.snapshot_bytes, tracked.replay_bytes) = (bytes, 0);
        }
        self.groups.weigh(id, &held);
        Ok(())
    }

    /// Writes snapshots of groups whose recent commits hold key packages that expire soon: MLS would not replay those.
    pub(in crate::service) async fn refresh_snapshots(&self) -> Result<(), Refusal> {
        for id in self.store.expiring_groups(self.clock.now().after(MARGIN)).await? {
            if let Err(refusal) = self.refresh_snapshot(id).await {
                tracing::warn!(group = %id.short(), %refusal, "a group cannot be refreshed");
            }
        }
        Ok(())
    }

    async fn refresh_snapshot(&self, id: GroupId) -> Result<(), Refusal> {
        let held = self.groups.hold(id).await;
        let Some(epoch) = self.current_epoch(id).await? else {
            return Ok(());
        };
        let held = self.bring_to(held, id, epoch).await?;
        self.write_snapshot(held, id).await
    }

    async fn current_epoch(&self, id: GroupId) -> Result<Option<Epoch>, Refusal> {
        let nobody = qpq_proto::ids::DeviceId([0; 16]);
        Ok(self.store.standing(id, nobody, None).await?.map(|standing| standing.head.epoch))
    }
}

/// Longer than a server is usually down.
const MARGIN: Duration = Duration::from_secs(7 * 24 * 3600);
