//! Public groups in memory, each under a lock of its own: commits to one group are handled one after the other, and
//! a group that was thrown out is rebuilt from the store.

use std::sync::Arc;

use moka::sync::Cache;
use openmls::group::PublicGroup;
use openmls_rust_crypto::RustCrypto;
use qpq_proto::code::Refusal;
use qpq_proto::ids::{Epoch, GroupId};
use qpq_trust::group;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::replay::replay;
use super::{public, welcomes};
use crate::service::{Service, refuse};

/// The groups and trees that were used last.
pub struct Groups {
    slots: Cache<GroupId, Slot>,
    /// Encoded ratchet trees: everybody who was added by one commit asks for the same.
    pub trees: Cache<(GroupId, Epoch), Arc<[u8]>>,
}

/// A place for a group; empty until it is needed.
#[derive(Clone)]
struct Slot {
    place: Arc<Mutex<Option<Tracked>>>,
    weight: u32,
}

/// A group as it stands at some epoch, with what it would take to get there again.
pub struct Tracked {
    pub group: PublicGroup,
    /// The size of the newest snapshot, and of the commits after it.
    pub snapshot_bytes: usize,
    pub replay_bytes: usize,
}

/// The right to look at a group and to change it.
pub type Held = OwnedMutexGuard<Option<Tracked>>;

impl Groups {
    pub fn new() -> Self {
        Self {
            slots: Cache::builder().weigher(|_, slot: &Slot| slot.weight).max_capacity(GROUPS_BYTES).build(),
            trees: Cache::builder()
                .weigher(|_, tree: &Arc<[u8]>| u32::try_from(tree.len()).unwrap_or(u32::MAX))
                .max_capacity(TREES_BYTES)
                .build(),
        }
    }

    /// Waits for the group's turn.
    pub async fn hold(&self, group: GroupId) -> Held {
        let slot = self.slots.get_with(group, || Slot { place: Arc::default(), weight: EMPTY_WEIGHT });
        slot.place.lock_owned().await
    }

    /// Tells the cache what the group weighs by now.
    pub fn weigh(&self, group: GroupId, held: &Held) {
        let Some(slot) = self.slots.get(&group) else {
            return;
        };
        let bytes = held.as_ref().map_or(0, |tracked| 2 * (tracked.snapshot_bytes + tracked.replay_bytes));
        let weight = u32::try_from(bytes).unwrap_or(u32::MAX).max(EMPTY_WEIGHT);
        if weight > slot.weight || weight < slot.weight / 2 {
            self.slots.insert(group, Slot { place: slot.place, weight });
        }
    }
}

impl Tracked {
    pub fn epoch(&self) -> Epoch {
        group::epoch(&self.group)
    }

    /// Rebuilding it would take longer than it should: adding one member must not rewrite the whole tree, and yet the
    /// commits must not pile up for ever.
    pub fn is_snapshot_due(&self) -> bool {
        self.replay_bytes > self.snapshot_bytes.max(SMALL_SNAPSHOT)
    }
}

impl Service {
    /// Brings the held group to `epoch`, which is not before the one that it is at: from memory, or from the store.
    pub(super) async fn bring_to(&self, mut held: Held, id: GroupId, epoch: Epoch) -> Result<Held, Refusal> {
        if held.as_ref().is_some_and(|tracked| tracked.epoch() > epoch) {
            *held = None;
        }
        if held.is_none() {
            *held = Some(self.load(id, epoch).await?);
        }
        let from = held.as_ref().map_or(epoch, Tracked::epoch);
        if from == epoch {
            return Ok(held);
        }
        let commits = self.store.commits(id, from, epoch).await?;
        if commits.len() as u64 != epoch.0 - from.0 {
            return Err(welcomes::gone());
        }
        let (held, outcome) = self
            .pool
            .run(move || {
                let outcome = held.as_mut().map_or(Ok(()), |tracked| {
                    commits.iter().try_for_each(|commit| {
                        tracked.replay_bytes += commit.len();
                        replay(&RustCrypto::default(), &mut tracked.group, commit)
                    })
                });
                // Half-way is nowhere.
                if outcome.is_err() {
                    *held = None;
                }
                (held, outcome)
            })
            .await?;
        if let Err(error) = outcome {
            tracing::error!(group = %id.short(), %error, "a stored commit cannot be replayed");
            return Err(refuse::internal("a group cannot be rebuilt"));
        }
        self.groups.weigh(id, &held);
        Ok(held)
    }

    /// The newest stored state at or before `epoch`.
    async fn load(&self, id: GroupId, epoch: Epoch) -> Result<Tracked, Refusal> {
        let snapshot = self.store.snapshot(id, epoch).await?.ok_or_else(welcomes::gone)?;
        let snapshot_bytes = snapshot.state.len();
        let decoded = self.pool.run(move || public::decode(&snapshot.state)).await?;
        match decoded {
            Ok(group) => Ok(Tracked { group, snapshot_bytes, replay_bytes: 0 }),
            Err(error) => {
                tracing::error!(group = %id.short(), %error, "a stored group state cannot be read");
                Err(refuse::internal("a group cannot be rebuilt"))
            }
        }
    }
}

/// Memory for groups: about two hundred of a thousand members each, or very many small ones.
const GROUPS_BYTES: u64 = 512 * 1024 * 1024;

const TREES_BYTES: u64 = 64 * 1024 * 1024;

/// A slot without a group costs a little, too.
const EMPTY_WEIGHT: u32 = 1024;

/// Below this many bytes of commits a snapshot is not worth writing.
const SMALL_SNAPSHOT: usize = 16 * 1024;
