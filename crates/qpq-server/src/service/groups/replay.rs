//! Applying a commit that the store accepted long ago: MLS checks it again, the rules do not.

use openmls::group::PublicGroup;
use openmls::prelude::{OpenMlsCrypto, ProcessedMessageContent};
use qpq_trust::TrustError;
use qpq_trust::commit::{read_handshake, state_updates};

use super::public::State;

/// Moves the group one epoch on. After an error it is as before.
pub fn replay(crypto: &impl OpenMlsCrypto, group: &mut PublicGroup, commit: &[u8]) -> Result<(), TrustError> {
    let mut message = group.process_message(crypto, read_handshake(commit)?).map_err(TrustError::mls)?;
    if let ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) = message.content() {
        let updates = state_updates(group.app_data_dictionary_updater(), unresolved.app_data_update_proposals())?;
        message = group.resolve_app_data_commit(crypto, message, updates).map_err(TrustError::mls)?;
    }
    match message.into_content() {
        ProcessedMessageContent::StagedCommitMessage(staged) => {
            group.merge_commit(&State::default(), *staged).map_err(TrustError::mls)
        }
        _ => Err(TrustError::Mls("not a commit".into())),
    }
}
