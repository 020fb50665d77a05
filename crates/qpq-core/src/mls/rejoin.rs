//! Coming back by an external commit (RFC 9420, section 12.4.3.2).

use openmls::group::MlsGroup;
use openmls::prelude::{LeafNodeParameters, MlsMessageOut, OpenMlsProvider as _, RatchetTreeIn};
use qpq_proto::groups::RejoinInfo;
use qpq_proto::ids::{Epoch, GroupId};
use qpq_trust::group::read_group_info;
use qpq_trust::suite::{capabilities, join_config};
use tls_codec::{DeserializeBytes as _, Serialize as _};

use super::{Myself, Provider, mls_id};
use crate::error::Error;

/// A way back that nobody has accepted yet.
pub struct WayBack {
    /// Already in the epoch that the commit leads into, in memory and in the store: to be deleted if another commit wins.
    pub group: MlsGroup,
    /// The epoch that the commit ends.
    pub epoch: Epoch,
    /// MLSMessage(PublicMessage).
    pub commit: Vec<u8>,
    /// MLSMessage(GroupInfo) of the new epoch, without the tree.
    pub group_info: Vec<u8>,
}

/// Builds the external commit; it removes the leaf that this device has in the group, if there is one. What the store had of
/// the group is replaced.
pub fn build(provider: &Provider<'_>, myself: &Myself, id: GroupId, info: &RejoinInfo) -> Result<WayBack, Error> {
    let group_info = read_group_info(&info.group_info)?;
    if *group_info.group_id() != mls_id(id) {
        return Err(Error::Mls("the group info of another group".into()));
    }
    let epoch = Epoch(group_info.epoch().as_u64());
    let tree = RatchetTreeIn::tls_deserialize_exact_bytes(&info.ratchet_tree).map_err(Error::mls)?;
    let leaf = LeafNodeParameters::builder().with_capabilities(capabilities()).build();
    let (group, bundle) = MlsGroup::external_commit_builder()
        .with_ratchet_tree(tree)
        .with_config(join_config())
        .skip_lifetime_validation()
        .build_group(provider, group_info, myself.credential())
        .map_err(Error::mls)?
        .leaf_node_parameters(leaf)
        .load_psks(provider.storage())
        .map_err(Error::mls)?
        .create_group_info(true)
        .build(provider.rand(), provider.crypto(), myself, |_| true)
        .map_err(Error::mls)?
        .finalize(provider)
        .map_err(Error::mls)?;
    let (commit, _, group_info) = bundle.into_messages();
    let bytes = |message: MlsMessageOut| message.tls_serialize_detached().map_err(Error::mls);
    let group_info = group_info.ok_or_else(|| Error::Mls("a commit without group info".into()))?;
    Ok(WayBack { group, epoch, commit: bytes(commit)?, group_info: bytes(group_info)? })
}
