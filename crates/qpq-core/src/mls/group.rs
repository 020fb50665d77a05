//! Making, loading and reading groups.

use openmls::group::MlsGroup;
use openmls::prelude::{LeafNodeIndex, OpenMlsProvider as _};
use qpq_proto::groups::GroupState;
use qpq_proto::ids::{Epoch, GroupId, IdentityId};
use qpq_trust::credential::Leaf;
use qpq_trust::suite::{Suite, create_config};
use tls_codec::Serialize as _;

use super::{Myself, Provider, mls_id};
use crate::crypto::{group_name, whisper};
use crate::error::Error;

/// A new group of epoch 0 with this device alone.
pub fn create(
    provider: &Provider<'_>,
    myself: &Myself,
    group: GroupId,
    suite: Suite,
    state: &GroupState,
) -> Result<MlsGroup, Error> {
    let config = create_config(suite, state)?;
    MlsGroup::new_with_group_id(provider, myself, &config, mls_id(group), myself.credential()).map_err(Error::mls)
}

/// What the server needs to know of a group at its creation: group info (without the tree) and ratchet tree.
pub fn public_state(provider: &Provider<'_>, myself: &Myself, group: &MlsGroup) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let info = group.export_group_info(provider.crypto(), myself, false).map_err(Error::mls)?;
    let info = info.tls_serialize_detached().map_err(Error::mls)?;
    let tree = group.export_ratchet_tree().tls_serialize_detached().map_err(Error::mls)?;
    Ok((info, tree))
}

/// Loads a group from the store.
pub fn load(provider: &Provider<'_>, group: GroupId) -> Result<Option<MlsGroup>, Error> {
    Ok(MlsGroup::load(provider.storage(), &mls_id(group))?)
}

/// Deletes all state of a group, if there is any.
pub fn delete(provider: &Provider<'_>, group: GroupId) -> Result<(), Error> {
    match load(provider, group)? {
        Some(mut group) => Ok(group.delete(provider.storage())?),
        None => Ok(()),
    }
}

/// The epoch that this device is in.
pub fn epoch(group: &MlsGroup) -> Epoch {
    Epoch(group.epoch().as_u64())
}

/// All leaves with their places in the tree. Leaves that are not ours in form are left out: nothing they send is shown.
pub fn leaves(group: &MlsGroup) -> Vec<(LeafNodeIndex, Leaf)> {
    group
        .members()
        .filter_map(|member| Some((member.index, Leaf::new(&member.credential, &member.signature_key).ok()?)))
        .collect()
}

/// The leaves of one identity.
pub fn leaves_of(group: &MlsGroup, identity: IdentityId) -> Vec<LeafNodeIndex> {
    leaves(group).into_iter().filter(|(_, leaf)| leaf.id.identity == identity).map(|(index, _)| index).collect()
}

/// The key under which this epoch's members whisper.
pub fn whisper_key(provider: &Provider<'_>, group: &MlsGroup) -> Result<[u8; 32], Error> {
    exported(provider, group, whisper::EXPORTER_LABEL)
}

/// The secret under which this epoch's members exchange name keys.
pub fn name_key_exporter(provider: &Provider<'_>, group: &MlsGroup) -> Result<[u8; 32], Error> {
    exported(provider, group, group_name::EXPORTER_LABEL)
}

fn exported(provider: &Provider<'_>, group: &MlsGroup, label: &str) -> Result<[u8; 32], Error> {
    let secret = group.export_secret(provider.crypto(), label, group.group_id().as_slice(), 32).map_err(Error::mls)?;
    secret.try_into().map_err(|_| Error::Mls("length of an exported secret".into()))
}
