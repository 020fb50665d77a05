//! Welcomes: split per recipient before delivery, and joined with the tree from the server.

use openmls::group::{MlsGroup, StagedWelcome};
use openmls::prelude::{MlsMessageBodyIn, MlsMessageIn, RatchetTreeIn};
use qpq_proto::content::WelcomeBundle;
use qpq_trust::TrustError;
use qpq_trust::credential::Leaf;
use qpq_trust::identity::verify_ed25519;
use qpq_trust::suite::join_config;
use tls_codec::{DeserializeBytes as _, Serialize as _, VLBytes};

use super::{Provider, mls_id};
use crate::error::Error;

/// The part of a Welcome that concerns one new member.
pub struct Share {
    /// The reference of the key package that was used.
    pub reference: Vec<u8>,
    /// A whole MLSMessage(Welcome) with this member's secrets alone.
    pub welcome: Vec<u8>,
}

/// Splits a Welcome: with a thousand new members the whole is 1.6 MB, and each needs 1.6 KB of it.
///
/// MLSMessage: version, wire format, cipher suite (two bytes each), `EncryptedGroupSecrets secrets<V>`,
/// `opaque encrypted_group_info<V>` (RFC 9420, section 12.4.3.1).
pub fn split(message: &[u8]) -> Result<Vec<Share>, Error> {
    let (header, rest) = message.split_at_checked(6).ok_or_else(|| Error::Mls("a short Welcome".into()))?;
    let (secrets, group_info) = VLBytes::tls_deserialize_bytes(rest).map_err(Error::mls)?;
    let mut shares = Vec::new();
    let mut rest = secrets.as_slice();
    while !rest.is_empty() {
        let (reference, after) = VLBytes::tls_deserialize_bytes(rest).map_err(Error::mls)?;
        let (_kem_output, after) = VLBytes::tls_deserialize_bytes(after).map_err(Error::mls)?;
        let (_ciphertext, after) = VLBytes::tls_deserialize_bytes(after).map_err(Error::mls)?;
        let one = VLBytes::new(rest[..rest.len() - after.len()].to_vec());
        let one = one.tls_serialize_detached().map_err(Error::mls)?;
        shares.push(Share { reference: reference.as_slice().to_vec(), welcome: [header, &one, group_info].concat() });
        rest = after;
    }
    Ok(shares)
}

/// Joins a group. The adder must have signed the bundle with the key of its leaf; what was in the store under this
/// group id (a membership that ended) is replaced.
pub fn join(provider: &Provider<'_>, bundle: &WelcomeBundle, tree: &[u8]) -> Result<(MlsGroup, Leaf), Error> {
    let message = MlsMessageIn::tls_deserialize_exact_bytes(&bundle.welcome).map_err(Error::mls)?;
    let MlsMessageBodyIn::Welcome(welcome) = message.extract() else {
        return Err(Error::Mls("not a Welcome".into()));
    };
    let tree = RatchetTreeIn::tls_deserialize_exact_bytes(tree).map_err(Error::mls)?;
    let staged = StagedWelcome::build_from_welcome(provider, &join_config(), welcome)
        .map_err(Error::mls)?
        .with_ratchet_tree(tree)
        .replace_old_group()
        .skip_lifetime_validation()
        .build()
        .map_err(Error::mls)?;
    let adder = Leaf::of_node(staged.welcome_sender().map_err(Error::mls)?)?;
    if adder.id.device != bundle.sender || staged.group_context().group_id() != &mls_id(bundle.group) {
        return Err(TrustError::NotAuthentic("a Welcome that is not the adder's").into());
    }
    verify_ed25519(&adder.signature_key, &bundle.signed_bytes(), &bundle.signature)?;
    let group = staged.into_group(provider).map_err(Error::mls)?;
    Ok((group, adder))
}
