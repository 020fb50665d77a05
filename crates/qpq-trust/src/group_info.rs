//! The group info that comes with a commit. Whoever lost the group comes back with it, so that a committer who could leave
//! garbage there could lock everybody out.

use openmls::group::{PublicGroup, StagedCommit};
use openmls::prelude::{LeafNodeIndex, MlsMessageBodyIn, MlsMessageIn, OpenMlsCrypto};
use tls_codec::{DeserializeBytes, Serialize as _, VLBytes};

use crate::commit::CommitReview;
use crate::error::TrustError;
use crate::group::{id, read_group_info};
use crate::hpke_keys::check_key;
use crate::identity::verify_ed25519;

/// Checks that `info` (MLSMessage(GroupInfo), RFC 9420, section 12.4.3) describes the epoch that `commit` leads into: the
/// same context and confirmation tag, an external key that can be encrypted to and nothing more, signed by the
/// committer. What the epoch's secrets are cannot be checked from outside.
///
/// # Errors
/// [`TrustError::NotAuthentic`], or [`TrustError::Mls`] when it cannot be read.
pub fn check(
    crypto: &impl OpenMlsCrypto,
    group: &PublicGroup,
    commit: &[u8],
    staged: &StagedCommit,
    review: &CommitReview,
    info: &[u8],
) -> Result<(), TrustError> {
    let parsed = read_group_info(info)?;
    if id(group)?.0 != parsed.group_id().as_slice() || parsed.group_context() != staged.group_context() {
        return Err(TrustError::NotAuthentic("a group info of another epoch"));
    }
    let external = parsed.extensions().external_pub().ok_or(TrustError::NotAuthentic("a group info without a key"))?;
    if parsed.extensions().iter().count() != 1 {
        return Err(TrustError::NotAuthentic("a group info with more than a key"));
    }
    check_key(crypto, group.ciphersuite(), external.external_pub().as_slice())?;
    let parts = Parts::read(info, &staged.group_context().tls_serialize_detached().map_err(TrustError::mls)?)
        .ok_or_else(|| TrustError::Mls("a group info that cannot be read".into()))?;
    let signer = committer_index(group, commit, staged)?;
    if parts.confirmation_tag != confirmation_tag(commit)? || parts.signer != signer.u32() {
        return Err(TrustError::NotAuthentic("a group info that does not fit its commit"));
    }
    let signature = parts.signature.as_slice().try_into().map_err(|_| TrustError::NotAuthentic("Ed25519 signature"))?;
    verify_ed25519(&review.committer.signature_key, &parts.signed_bytes()?, signature)
}

/// The committer's place in the tree, after the commit.
fn committer_index(group: &PublicGroup, commit: &[u8], staged: &StagedCommit) -> Result<LeafNodeIndex, TrustError> {
    match read_public(commit)?.sender() {
        openmls::prelude::Sender::Member(index) => Ok(*index),
        _ => group.ext_commit_sender_index(staged).map_err(TrustError::mls),
    }
}

fn confirmation_tag(commit: &[u8]) -> Result<Vec<u8>, TrustError> {
    let message = read_public(commit)?;
    let tag = message.confirmation_tag().ok_or(TrustError::NotAuthentic("a commit without a tag"))?;
    tag.tls_serialize_detached().map_err(TrustError::mls)
}

fn read_public(commit: &[u8]) -> Result<openmls::framing::PublicMessageIn, TrustError> {
    match MlsMessageIn::tls_deserialize_exact_bytes(commit).map_err(TrustError::mls)?.extract() {
        MlsMessageBodyIn::PublicMessage(message) => Ok(message),
        _ => Err(TrustError::Mls("not a public handshake message".into())),
    }
}

/// The parts that OpenMLS does not show.
struct Parts<'a> {
    /// Everything that is signed.
    content: &'a [u8],
    /// As it is encoded.
    confirmation_tag: Vec<u8>,
    signer: u32,
    signature: VLBytes,
}

impl<'a> Parts<'a> {
    fn read(info: &'a [u8], context: &[u8]) -> Option<Self> {
        let body = info.get(4..)?; // version, wire format
        let rest = body.strip_prefix(context)?;
        let (_extensions, rest) = VLBytes::tls_deserialize_bytes(rest).ok()?;
        let (confirmation_tag, rest) = VLBytes::tls_deserialize_bytes(rest).ok()?;
        let (signer, rest) = rest.split_first_chunk::<4>()?;
        let content = body.get(..body.len() - rest.len())?;
        let signature = VLBytes::tls_deserialize_exact_bytes(rest).ok()?;
        let confirmation_tag = confirmation_tag.tls_serialize_detached().ok()?;
        Some(Self { content, confirmation_tag, signer: u32::from_be_bytes(*signer), signature })
    }

    /// SignContent with the label "GroupInfoTBS" (RFC 9420, section 5.1.2).
    fn signed_bytes(&self) -> Result<Vec<u8>, TrustError> {
        let part = |bytes: &[u8]| VLBytes::new(bytes.to_vec()).tls_serialize_detached().map_err(TrustError::mls);
        Ok([part(b"MLS 1.0 GroupInfoTBS")?, part(self.content)?].concat())
    }
}
