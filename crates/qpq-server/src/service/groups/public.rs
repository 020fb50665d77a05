//! A group's public state as bytes. OpenMLS gives and takes it through a storage trait; this is the smallest one.

use openmls::group::{GroupContext, GroupId, PublicGroup};
use openmls::prelude::OpenMlsCrypto;
use openmls_traits::public_storage::PublicStorageProvider;
use openmls_traits::storage::{CURRENT_VERSION, traits};
use rmp_serde::config::BytesMode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tls_codec::Serialize as _;

/// What went wrong with an encoding; a damaged snapshot, or a bug.
#[derive(Debug, thiserror::Error)]
#[error("public group state: {0}")]
pub struct StateError(String);

impl StateError {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The bytes that [`decode`] understands.
pub fn encode(crypto: &impl OpenMlsCrypto, group: &PublicGroup) -> Result<Vec<u8>, StateError> {
    let context = group.group_context();
    let state = State {
        group: context.group_id().as_slice().to_vec(),
        tree: to_bytes(group.treesync())?,
        context: to_bytes(context)?,
        transcript: to_bytes(&interim_transcript_hash(crypto, group, context)?)?,
        tag: to_bytes(group.confirmation_tag())?,
    };
    to_bytes(&state)
}

/// The group that [`encode`] was given.
pub fn decode(bytes: &[u8]) -> Result<PublicGroup, StateError> {
    let state: State = from_bytes(bytes)?;
    let id = GroupId::from_slice(&state.group);
    PublicGroup::load(&state, &id)?.ok_or_else(|| StateError::new("incomplete"))
}

/// RFC 9420, section 8.2; OpenMLS has it, but does not show it.
fn interim_transcript_hash(
    crypto: &impl OpenMlsCrypto,
    group: &PublicGroup,
    context: &GroupContext,
) -> Result<Vec<u8>, StateError> {
    let tag = group.confirmation_tag().tls_serialize_detached().map_err(StateError::new)?;
    crypto
        .hash(group.ciphersuite().hash_algorithm(), &[context.confirmed_transcript_hash(), &tag].concat())
        .map_err(StateError::new)
}

/// A storage that is read once, by [`decode`]. Writes do nothing: what OpenMLS would keep can be had from the group itself
/// at any time, so an empty one serves wherever OpenMLS insists on writing.
#[derive(Default, Serialize, Deserialize)]
pub struct State {
    group: Vec<u8>,
    tree: Vec<u8>,
    context: Vec<u8>,
    transcript: Vec<u8>,
    tag: Vec<u8>,
}

/// Named fields and byte strings: other settings and formats write what they cannot read again.
fn to_bytes(value: &impl Serialize) -> Result<Vec<u8>, StateError> {
    let mut bytes = Vec::new();
    let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_bytes(BytesMode::ForceAll);
    value.serialize(&mut serializer).map_err(StateError::new)?;
    Ok(bytes)
}

fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StateError> {
    rmp_serde::from_slice(bytes).map_err(StateError::new)
}

impl PublicStorageProvider<CURRENT_VERSION> for State {
    type PublicError = StateError;

    fn write_tree<G: traits::GroupId<CURRENT_VERSION>, T: traits::TreeSync<CURRENT_VERSION>>(
        &self,
        _: &G,
        _: &T,
    ) -> Result<(), StateError> {
        Ok(())
    }

    fn write_interim_transcript_hash<
        G: traits::GroupId<CURRENT_VERSION>,
        T: traits::InterimTranscriptHash<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        _: &T,
    ) -> Result<(), StateError> {
        Ok(())
    }

    fn write_context<G: traits::GroupId<CURRENT_VERSION>, T: traits::GroupContext<CURRENT_VERSION>>(
        &self,
        _: &G,
        _: &T,
    ) -> Result<(), StateError> {
        Ok(())
    }

    fn write_confirmation_tag<G: traits::GroupId<CURRENT_VERSION>, T: traits::ConfirmationTag<CURRENT_VERSION>>(
        &self,
        _: &G,
        _: &T,
    ) -> Result<(), StateError> {
        Ok(())
    }

    fn queue_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        P: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        _: &R,
        _: &P,
    ) -> Result<(), StateError> {
        Ok(())
    }

    fn queued_proposals<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        P: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Vec<(R, P)>, StateError> {
        Ok(Vec::new())
    }

    fn tree<G: traits::GroupId<CURRENT_VERSION>, T: traits::TreeSync<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Option<T>, StateError> {
        Ok(Some(from_bytes(&self.tree)?))
    }

    fn group_context<G: traits::GroupId<CURRENT_VERSION>, T: traits::GroupContext<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Option<T>, StateError> {
        Ok(Some(from_bytes(&self.context)?))
    }

    fn interim_transcript_hash<
        G: traits::GroupId<CURRENT_VERSION>,
        T: traits::InterimTranscriptHash<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Option<T>, StateError> {
        Ok(Some(from_bytes(&self.transcript)?))
    }

    fn confirmation_tag<G: traits::GroupId<CURRENT_VERSION>, T: traits::ConfirmationTag<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Option<T>, StateError> {
        Ok(Some(from_bytes(&self.tag)?))
    }

    fn delete_tree<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), StateError> {
        Ok(())
    }

    fn delete_confirmation_tag<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), StateError> {
        Ok(())
    }

    fn delete_context<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), StateError> {
        Ok(())
    }

    fn delete_interim_transcript_hash<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), StateError> {
        Ok(())
    }

    fn remove_proposal<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        _: &G,
        _: &R,
    ) -> Result<(), StateError> {
        Ok(())
    }

    fn clear_proposal_queue<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<(), StateError> {
        Ok(())
    }
}
