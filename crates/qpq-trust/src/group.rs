//! The public side of a group: its state, its roster, and how it begins.

use openmls::group::{GroupContext, PublicGroup};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::{MlsMessageBodyIn, MlsMessageIn, OpenMlsCrypto, ProposalStore, RatchetTreeIn};
use openmls::storage::PublicStorageProvider;
use tls_codec::{DeserializeBytes as _, Serialize as _};

use qpq_proto::groups::{GroupKind, GroupState, NewGroup};
use qpq_proto::ids::{ContentHash, Epoch, GroupId};
use qpq_proto::stream::{Lineage, digest};

use crate::credential::Leaf;
use crate::error::TrustError;
use crate::hpke_keys;
use crate::suite::{GROUP_STATE_COMPONENT, Suite, required_capabilities};

/// The state in a group's context.
///
/// # Errors
/// When the dictionary or our component is missing or malformed.
pub fn state_of_context(context: &GroupContext) -> Result<GroupState, TrustError> {
    let bytes = context
        .extensions()
        .app_data_dictionary()
        .and_then(|extension| extension.dictionary().get(&GROUP_STATE_COMPONENT))
        .ok_or(TrustError::NotAuthentic("a group without state"))?;
    Ok(GroupState::decode(bytes)?)
}

/// The state of a group.
///
/// # Errors
/// As [`state_of_context`].
pub fn state(group: &PublicGroup) -> Result<GroupState, TrustError> {
    state_of_context(group.group_context())
}

/// The id of a group, which is 16 bytes in ours.
///
/// # Errors
/// [`TrustError::Malformed`] for any other length.
pub fn id(group: &PublicGroup) -> Result<GroupId, TrustError> {
    Ok(GroupId::try_from(group.group_id().as_slice())?)
}

/// The epoch of a group.
pub fn epoch(group: &PublicGroup) -> Epoch {
    Epoch(group.group_context().epoch().as_u64())
}

/// What tells this epoch of this group from any other.
///
/// # Errors
/// [`TrustError::Mls`] when the context cannot be encoded.
pub fn lineage(context: &GroupContext) -> Result<Lineage, TrustError> {
    let bytes = context.tls_serialize_detached().map_err(TrustError::mls)?;
    Ok(Lineage { epoch: Epoch(context.epoch().as_u64()), context: digest(ContentHash::of(&bytes)) })
}

/// All leaves, in the order of the tree.
///
/// # Errors
/// When a leaf's credential is not ours.
pub fn roster(group: &PublicGroup) -> Result<Vec<Leaf>, TrustError> {
    group.members().map(|member| Leaf::new(&member.credential, &member.signature_key)).collect()
}

/// Reads an MLSMessage that must be a GroupInfo.
///
/// # Errors
/// [`TrustError::Mls`].
pub fn read_group_info(bytes: &[u8]) -> Result<VerifiableGroupInfo, TrustError> {
    match MlsMessageIn::tls_deserialize_exact_bytes(bytes).map_err(TrustError::mls)?.extract() {
        MlsMessageBodyIn::GroupInfo(info) => Ok(info),
        MlsMessageBodyIn::PublicMessage(_)
        | MlsMessageBodyIn::PrivateMessage(_)
        | MlsMessageBodyIn::Welcome(_)
        | MlsMessageBodyIn::KeyPackage(_) => Err(TrustError::Mls("not a group info".into())),
    }
}

/// Checks a group at its creation and makes the public group of it: epoch 0, the creator's leaf alone, a suite and
/// extensions of our profile, a readable state whose only admin is the creator.
///
/// # Errors
/// Whatever does not fit.
pub fn new_public_group(
    crypto: &impl OpenMlsCrypto,
    storage: &impl PublicStorageProvider,
    new: &NewGroup,
) -> Result<PublicGroup, TrustError> {
    let info = read_group_info(&new.group_info)?;
    let tree = RatchetTreeIn::tls_deserialize_exact_bytes(&new.ratchet_tree).map_err(TrustError::mls)?;
    let (group, info) =
        PublicGroup::from_external(crypto, storage, tree, info, ProposalStore::new()).map_err(TrustError::mls)?;
    id(&group)?;
    Suite::try_from(group.ciphersuite())?;
    let external = info.extensions().external_pub().ok_or(TrustError::NotAuthentic("a group info without a key"))?;
    hpke_keys::check_key(crypto, group.ciphersuite(), external.external_pub().as_slice())?;
    for node in group.members().filter_map(|member| group.leaf(member.index)) {
        hpke_keys::check_leaf_key(crypto, group.ciphersuite(), node)?;
    }
    if group.required_capabilities() != Some(&required_capabilities()) {
        return Err(TrustError::Forbidden("a group requires exactly the capabilities of this version"));
    }
    let state = state(&group)?;
    let roster = roster(&group)?;
    let [creator] = &roster[..] else {
        return Err(TrustError::Forbidden("a group begins with its creator alone"));
    };
    if epoch(&group) != Epoch(0) {
        return Err(TrustError::Forbidden("a group begins with epoch 0"));
    }
    let admins_fit = match state.kind {
        GroupKind::Group => state.admins == [creator.id.identity],
        GroupKind::Direct => state.admins.is_empty(),
    };
    if !admins_fit {
        return Err(TrustError::Forbidden("a group's first admin is its creator, a direct conversation has none"));
    }
    Ok(group)
}
