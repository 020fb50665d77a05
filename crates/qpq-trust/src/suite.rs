//! The MLS profile: suites, capabilities, required extensions.

use openmls::prelude::{
    AppDataDictionary, AppDataDictionaryExtension, Capabilities, Ciphersuite, CredentialType, Extension, ExtensionType,
    Extensions, GroupContext, MlsGroupCreateConfig, MlsGroupJoinConfig, PURE_PLAINTEXT_WIRE_FORMAT_POLICY,
    ProposalType, RequiredCapabilitiesExtension, SenderRatchetConfiguration, WireFormatPolicy,
};

use qpq_proto::groups::GroupState;

use crate::error::TrustError;
use crate::key_package::lifetime;

/// The cipher suites that groups may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// `MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519` (0x004E, draft-ietf-mls-pq-ciphersuites): the default.
    Hybrid,
    /// `MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519` (0x0001), only when a group is created for it by name.
    Classic,
}

impl Suite {
    /// Every suite, best first.
    pub const ALL: [Self; 2] = [Self::Hybrid, Self::Classic];

    /// The suite as OpenMLS names it.
    pub fn ciphersuite(self) -> Ciphersuite {
        match self {
            Self::Hybrid => Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519,
            Self::Classic => Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
        }
    }

    /// The number in the IANA registry.
    pub fn number(self) -> u16 {
        self.ciphersuite().into()
    }

    /// What `/group-info` says.
    pub fn description(self) -> &'static str {
        match self {
            Self::Hybrid => "X25519 + ML-KEM-768, AES-256-GCM, SHA-384, Ed25519 (0x004E, post-quantum hybrid)",
            Self::Classic => "X25519, AES-128-GCM, SHA-256, Ed25519 (0x0001, not post-quantum)",
        }
    }
}

impl TryFrom<Ciphersuite> for Suite {
    type Error = TrustError;

    fn try_from(ciphersuite: Ciphersuite) -> Result<Self, TrustError> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.ciphersuite() == ciphersuite)
            .ok_or(TrustError::Forbidden("this cipher suite is not offered here"))
    }
}

impl TryFrom<u16> for Suite {
    type Error = TrustError;

    fn try_from(number: u16) -> Result<Self, TrustError> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.number() == number)
            .ok_or(TrustError::Forbidden("this cipher suite is not offered here"))
    }
}

/// The component of the app-data dictionary that holds the [`GroupState`].
pub const GROUP_STATE_COMPONENT: u16 = 0xF051;

/// What every leaf of ours can do. Declared from the first version on, because a group can only ever require what all
/// of its leaves already declare.
pub fn capabilities() -> Capabilities {
    Capabilities::new(
        None,
        Some(&Suite::ALL.map(Suite::ciphersuite)),
        Some(&[ExtensionType::AppDataDictionary, ExtensionType::LastResort]),
        Some(&[ProposalType::AppDataUpdate, ProposalType::SelfRemove]),
        Some(&[CredentialType::Basic]),
    )
}

/// The group context extensions of a new group.
///
/// # Errors
/// [`TrustError::Mls`] never in practice; the extension types are valid in a group context.
pub fn group_extensions(state: &GroupState) -> Result<Extensions<GroupContext>, TrustError> {
    let mut dictionary = AppDataDictionary::new();
    dictionary.insert(GROUP_STATE_COMPONENT, state.encode());
    Extensions::from_vec(vec![
        Extension::RequiredCapabilities(required_capabilities()),
        Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary)),
    ])
    .map_err(TrustError::mls)
}

/// What a group of ours requires of its members.
pub fn required_capabilities() -> RequiredCapabilitiesExtension {
    RequiredCapabilitiesExtension::new(
        &[ExtensionType::AppDataDictionary],
        &[ProposalType::AppDataUpdate],
        &[CredentialType::Basic],
    )
}

/// Of the leaf of whoever creates a group, in seconds: twelve weeks. It is renewed long before.
const LEAF_LIFETIME: u64 = 84 * 24 * 3600;

/// How groups are created: public handshakes, padded private messages, no past epochs, the tree out of band.
pub fn create_config(suite: Suite, state: &GroupState) -> Result<MlsGroupCreateConfig, TrustError> {
    Ok(MlsGroupCreateConfig::builder()
        .ciphersuite(suite.ciphersuite())
        .capabilities(capabilities())
        .lifetime(lifetime(LEAF_LIFETIME))
        .with_group_context_extensions(group_extensions(state)?)
        .wire_format_policy(WIRE_FORMAT)
        .padding_size(PADDING)
        .max_past_epochs(0)
        .use_ratchet_tree_extension(false)
        .sender_ratchet_configuration(ratchet())
        .build())
}

/// How groups are joined: the same profile.
pub fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(WIRE_FORMAT)
        .padding_size(PADDING)
        .max_past_epochs(0)
        .use_ratchet_tree_extension(false)
        .sender_ratchet_configuration(ratchet())
        .build()
}

/// The log gives one order per group and the sender's own order is kept in it, so that a key is skipped only when a
/// message never reached the log.
fn ratchet() -> SenderRatchetConfiguration {
    SenderRatchetConfiguration::new(16, 4096)
}

/// Handshakes readable by the server, so that it can validate them; application messages never.
const WIRE_FORMAT: WireFormatPolicy = PURE_PLAINTEXT_WIRE_FORMAT_POLICY;
/// Application messages are padded to a multiple of this many bytes.
const PADDING: usize = 128;
