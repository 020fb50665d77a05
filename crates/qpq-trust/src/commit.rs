//! Commits: what a public commit does to roster and rules, judged by the same code on both ends.

use std::collections::BTreeSet;

use openmls::component::ComponentData;
use openmls::group::{AppDataDictionaryUpdater, AppDataUpdates, PublicGroup, StagedCommit};
use openmls::messages::proposals::{AppDataUpdateOperation, AppDataUpdateProposal, Proposal};
use openmls::prelude::{
    MlsMessageBodyIn, MlsMessageIn, OpenMlsCrypto, ProcessedMessageContent, ProtocolMessage, Sender,
};
use tls_codec::DeserializeBytes as _;

use qpq_proto::groups::GroupState;
use qpq_proto::ids::{DeviceId, IdentityId};

use crate::credential::{Leaf, LeafId};
use crate::error::TrustError;
use crate::group::{lineage, roster, state, state_of_context};
use crate::hpke_keys;
use crate::policy::{self, Change};
use crate::suite::GROUP_STATE_COMPONENT;

/// What a commit that passed every check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitReview {
    pub committer: Leaf,
    pub added: Vec<Leaf>,
    pub removed: Vec<Leaf>,
    pub before: GroupState,
    pub after: GroupState,
    /// A device of a member came by itself, through an external commit (RFC 9420, section 12.4.3.2): it is in `added`,
    /// and in `removed` if it had a leaf before.
    pub is_external: bool,
    /// Digest of the group context that it leads to.
    pub context: u64,
}

/// Validates an encoded commit against the public group: OpenMLS's checks, our profile, and the group's rules.
/// `leaving` are the devices that posted a signed wish to leave. The result is staged; nothing has changed yet.
///
/// # Errors
/// Whatever is wrong with it. Membership and confirmation tags and path secrets cannot be checked without being a member.
pub fn process(
    crypto: &impl OpenMlsCrypto,
    group: &PublicGroup,
    bytes: &[u8],
    leaving: &BTreeSet<DeviceId>,
) -> Result<(StagedCommit, CommitReview), TrustError> {
    let mut message = group.process_message(crypto, read_handshake(bytes)?).map_err(TrustError::mls)?;
    if let ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) = message.content() {
        let updates = state_updates(group.app_data_dictionary_updater(), unresolved.app_data_update_proposals())?;
        message = group.resolve_app_data_commit(crypto, message, updates).map_err(TrustError::mls)?;
    }
    let sender = message.sender().clone();
    let ProcessedMessageContent::StagedCommitMessage(staged) = message.into_content() else {
        return Err(TrustError::Mls("not a commit".into()));
    };
    let review = review(group, &sender, &staged, leaving)?;
    hpke_keys::check(crypto, group.ciphersuite(), bytes, &staged)?;
    Ok((*staged, review))
}

/// Applies the rules to a commit that OpenMLS has staged on top of `group`.
///
/// # Errors
/// [`TrustError::Forbidden`] or [`TrustError::NotAuthentic`].
pub fn review(
    group: &PublicGroup,
    sender: &Sender,
    staged: &StagedCommit,
    leaving: &BTreeSet<DeviceId>,
) -> Result<CommitReview, TrustError> {
    let (committer, is_external) = committer(group, sender, staged)?;
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    if is_external {
        added.push(committer);
    }
    for queued in staged.queued_proposals() {
        match queued.proposal() {
            Proposal::Add(add) => added.push(Leaf::of_node(add.key_package().leaf_node())?),
            Proposal::Remove(remove) => {
                let node = group.leaf(remove.removed()).ok_or(TrustError::NotAuthentic("nobody to remove"))?;
                removed.push(Leaf::of_node(node)?);
            }
            Proposal::AppDataUpdate(_) => {}
            Proposal::ExternalInit(_) if is_external => {}
            Proposal::Update(_)
            | Proposal::PreSharedKey(_)
            | Proposal::ReInit(_)
            | Proposal::ExternalInit(_)
            | Proposal::GroupContextExtensions(_)
            | Proposal::SelfRemove
            | Proposal::AppEphemeral(_)
            | Proposal::Custom(_) => return Err(TrustError::Forbidden("this kind of proposal is not used here")),
        }
    }
    let review = CommitReview {
        committer,
        added,
        removed,
        before: state(group)?,
        after: state_of_context(staged.group_context())?,
        is_external,
        context: lineage(staged.group_context())?.context,
    };
    let members: BTreeSet<IdentityId> = roster(group)?.iter().map(|leaf| leaf.id.identity).collect();
    let ids = |leaves: &[Leaf]| leaves.iter().map(|leaf| leaf.id).collect::<Vec<LeafId>>();
    policy::check(&Change {
        committer: review.committer.id,
        members: &members,
        leaving,
        added: &ids(&review.added),
        removed: &ids(&review.removed),
        before: &review.before,
        after: &review.after,
        is_external,
    })?;
    Ok(review)
}

/// Who made a commit, and whether from outside.
fn committer(group: &PublicGroup, sender: &Sender, staged: &StagedCommit) -> Result<(Leaf, bool), TrustError> {
    let path = staged.update_path_leaf_node().map(Leaf::of_node).transpose()?;
    match sender {
        Sender::Member(index) => {
            let node = group.leaf(*index).ok_or(TrustError::NotAuthentic("the committer has no leaf"))?;
            let committer = Leaf::of_node(node)?;
            if path.is_some_and(|leaf| leaf != committer) {
                return Err(TrustError::NotAuthentic("a commit must not change its committer's credential"));
            }
            Ok((committer, false))
        }
        Sender::NewMemberCommit => {
            Ok((path.ok_or(TrustError::NotAuthentic("an external commit without a leaf"))?, true))
        }
        Sender::External(_) | Sender::NewMemberProposal => Err(TrustError::Forbidden("only members may commit")),
    }
}

/// Validates a leave: a signed Remove proposal for the sender's own leaf. Answers who leaves.
///
/// # Errors
/// Whatever is wrong with it.
pub fn process_leave(crypto: &impl OpenMlsCrypto, group: &PublicGroup, bytes: &[u8]) -> Result<Leaf, TrustError> {
    let message = group.process_message(crypto, read_handshake(bytes)?).map_err(TrustError::mls)?;
    let sender = message.sender().clone();
    let ProcessedMessageContent::ProposalMessage(queued) = message.into_content() else {
        return Err(TrustError::Mls("not a proposal".into()));
    };
    review_leave(group, &sender, queued.proposal())
}

/// Checks that a proposal removes its own sender. Answers who leaves.
///
/// # Errors
/// [`TrustError::Forbidden`].
pub fn review_leave(group: &PublicGroup, sender: &Sender, proposal: &Proposal) -> Result<Leaf, TrustError> {
    match (sender, proposal) {
        (Sender::Member(index), Proposal::Remove(remove)) if remove.removed() == *index => {
            Leaf::of_node(group.leaf(*index).ok_or(TrustError::NotAuthentic("the leaver has no leaf"))?)
        }
        _ => Err(TrustError::Forbidden("the only proposal on its own is to leave")),
    }
}

/// What AppDataUpdate proposals do to the dictionary: one whole new, well-formed [`GroupState`], and nothing else.
///
/// # Errors
/// [`TrustError::Forbidden`] for another component or more than one update.
pub fn state_updates<'a>(
    mut updater: AppDataDictionaryUpdater<'_>,
    proposals: impl Iterator<Item = &'a AppDataUpdateProposal>,
) -> Result<Option<AppDataUpdates>, TrustError> {
    let mut proposals = proposals.peekable();
    if let Some(proposal) = proposals.next() {
        let AppDataUpdateOperation::Update(value) = proposal.operation() else {
            return Err(TrustError::Forbidden("the group's state cannot be removed"));
        };
        if proposal.component_id() != GROUP_STATE_COMPONENT || proposals.peek().is_some() {
            return Err(TrustError::Forbidden("one update of the group's state, and no other component"));
        }
        GroupState::decode(value.as_slice())?;
        updater.set(ComponentData::from_parts(GROUP_STATE_COMPONENT, value.clone()));
    }
    Ok(updater.changes())
}

/// Whether a commit says that it comes from outside (sender `new_member_commit`). [`process`] finds out whether it may.
pub fn is_external(bytes: &[u8]) -> bool {
    hpke_keys::sender_type(bytes) == Some(hpke_keys::NEW_MEMBER_COMMIT)
}

/// Reads an MLSMessage that must be a PublicMessage.
///
/// # Errors
/// [`TrustError::Mls`].
pub fn read_handshake(bytes: &[u8]) -> Result<ProtocolMessage, TrustError> {
    match MlsMessageIn::tls_deserialize_exact_bytes(bytes).map_err(TrustError::mls)?.extract() {
        MlsMessageBodyIn::PublicMessage(message) => Ok(ProtocolMessage::PublicMessage(Box::new(message))),
        MlsMessageBodyIn::PrivateMessage(_)
        | MlsMessageBodyIn::GroupInfo(_)
        | MlsMessageBodyIn::Welcome(_)
        | MlsMessageBodyIn::KeyPackage(_) => Err(TrustError::Mls("not a public handshake message".into())),
    }
}
