//! Building commits.

use openmls::component::ComponentData;
use openmls::group::MlsGroup;
use openmls::messages::proposals::{AppDataUpdateProposal, Proposal};
use openmls::prelude::{KeyPackage, LeafNodeIndex, MlsMessageOut, OpenMlsProvider as _};
use qpq_proto::groups::GroupState;
use qpq_trust::suite::GROUP_STATE_COMPONENT;
use tls_codec::Serialize as _;

use super::{Myself, Provider};
use crate::error::Error;

/// What one commit is to change.
#[derive(Default)]
pub struct Changes {
    pub add: Vec<KeyPackage>,
    pub remove: Vec<LeafNodeIndex>,
    pub state: Option<GroupState>,
    pub refresh: bool,
}

/// A commit that is pending in the group until it comes back in the log.
pub struct Built {
    /// MLSMessage(PublicMessage).
    pub commit: Vec<u8>,
    /// MLSMessage(GroupInfo) of the new epoch, without the tree.
    pub group_info: Vec<u8>,
    /// MLSMessage(Welcome) for everybody who was added.
    pub welcome: Option<Vec<u8>>,
}

/// Builds and stages a commit. Add-only commits and changes of the state carry no path, so that their size does not
/// depend on the size of the group.
pub fn build(provider: &Provider<'_>, myself: &Myself, group: &mut MlsGroup, changes: Changes) -> Result<Built, Error> {
    let update = changes.state.map(|state| {
        Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::update(GROUP_STATE_COMPONENT, state.encode())))
    });
    let mut stage = group
        .commit_builder()
        .propose_adds(changes.add)
        .propose_removals(changes.remove)
        .add_proposals(update)
        .force_self_update(changes.refresh)
        .load_psks(provider.storage())
        .map_err(Error::mls)?
        .create_group_info(true);
    let mut updater = stage.app_data_dictionary_updater();
    for proposal in stage.app_data_update_proposals() {
        if let openmls::messages::proposals::AppDataUpdateOperation::Update(value) = proposal.operation() {
            updater.set(ComponentData::from_parts(proposal.component_id(), value.clone()));
        }
    }
    let updates = updater.changes();
    stage.with_app_data_dictionary_updates(updates);
    let bundle = stage
        .build(provider.rand(), provider.crypto(), myself, |_| true)
        .map_err(Error::mls)?
        .stage_commit(provider)
        .map_err(Error::mls)?;
    let (commit, welcome, group_info) = bundle.into_messages();
    let bytes = |message: MlsMessageOut| message.tls_serialize_detached().map_err(Error::mls);
    Ok(Built {
        commit: bytes(commit)?,
        welcome: welcome.map(bytes).transpose()?,
        group_info: group_info
            .map(bytes)
            .transpose()?
            .ok_or_else(|| Error::Mls("a commit without group info".into()))?,
    })
}
