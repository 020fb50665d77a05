//! MLS without us: what the same OpenMLS calls cost in memory.

use anyhow::{Result, bail};
use openmls::group::{MlsGroup, MlsGroupCreateConfig};
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{
    CredentialWithKey, KeyPackage, KeyPackageIn, Lifetime, MlsMessageBodyIn, MlsMessageIn, ProtocolVersion,
    RatchetTreeIn, StagedWelcome,
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;
use qpq_core::store::rows::AccountRow;
use qpq_proto::groups::{GroupKind, GroupState, Who};
use qpq_proto::ids::{DeviceId, IdentityId};
use qpq_trust::credential::LeafId;
use qpq_trust::key_package::MAX_LIFETIME;
use qpq_trust::suite::{Suite, capabilities, create_config, join_config};

/// Keys, and a store in memory.
pub struct Device {
    pub provider: OpenMlsRustCrypto,
    pub signer: Signer,
    credential: CredentialWithKey,
    identity: IdentityId,
}

impl Device {
    /// Somebody without an account, whose id is as good as any.
    pub fn new() -> Result<Self> {
        let (mut key, mut identity, mut device) = ([0; 32], [0; 32], [0; 16]);
        [&mut key[..], &mut identity, &mut device].into_iter().try_for_each(getrandom::fill)?;
        Ok(Self::with(key, LeafId { identity: IdentityId(identity), device: DeviceId(device) }))
    }

    /// The device of an account.
    pub fn of(account: &AccountRow) -> Self {
        Self::with(account.device_key, LeafId { identity: account.identity, device: account.device })
    }

    fn with(key: [u8; 32], leaf: LeafId) -> Self {
        let signer = Signer(ed25519_dalek::SigningKey::from_bytes(&key));
        let signature_key = signer.0.verifying_key().to_bytes().to_vec().into();
        let credential = CredentialWithKey { credential: leaf.credential(), signature_key };
        Self { provider: OpenMlsRustCrypto::default(), signer, credential, identity: leaf.identity }
    }

    /// A new group.
    pub fn group(&self) -> Result<MlsGroup> {
        Ok(MlsGroup::new(&self.provider, &self.signer, &self.config()?, self.credential.clone())?)
    }

    /// A new group with this id.
    pub fn group_with_id(&self, id: &[u8]) -> Result<MlsGroup> {
        let id = openmls::group::GroupId::from_slice(id);
        let (config, credential) = (self.config()?, self.credential.clone());
        Ok(MlsGroup::new_with_group_id(&self.provider, &self.signer, &config, id, credential)?)
    }

    fn config(&self) -> Result<MlsGroupCreateConfig> {
        Ok(create_config(Suite::Hybrid, &state(self.identity))?)
    }

    /// A key package, checked as those of others are.
    pub fn package(&self, last_resort: bool) -> Result<KeyPackage> {
        let mut builder = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .key_package_lifetime(Lifetime::new(MAX_LIFETIME));
        if last_resort {
            builder = builder.mark_as_last_resort();
        }
        let suite = Suite::Hybrid.ciphersuite();
        let bundle = builder.build(suite, &self.provider, &self.signer, self.credential.clone())?;
        self.checked(&bundle.key_package().tls_serialize_detached()?)
    }

    /// Reads somebody's key package.
    pub fn checked(&self, package: &[u8]) -> Result<KeyPackage> {
        let package = KeyPackageIn::tls_deserialize_exact_bytes(package)?;
        Ok(package.validate(self.provider.crypto(), ProtocolVersion::Mls10)?)
    }

    /// Joins with a Welcome and the tree, both as they come over the wire.
    pub fn join(&self, welcome: &[u8], tree: &[u8]) -> Result<MlsGroup> {
        let tree = RatchetTreeIn::tls_deserialize_exact_bytes(tree)?;
        let MlsMessageBodyIn::Welcome(welcome) = MlsMessageIn::tls_deserialize_exact_bytes(welcome)?.extract() else {
            bail!("not a Welcome")
        };
        let joined = StagedWelcome::new_from_welcome(&self.provider, &join_config(), welcome, Some(tree))?;
        Ok(joined.into_group(&self.provider)?)
    }
}

/// The state of a new group.
fn state(admin: IdentityId) -> GroupState {
    GroupState {
        kind: GroupKind::Group,
        admins: vec![admin],
        add: Who::Members,
        remove: Who::Admins,
        rename: Who::Members,
        name: vec![],
        name_key: vec![],
        expires_after: None,
    }
}

/// Signs for a device.
pub struct Signer(ed25519_dalek::SigningKey);

impl openmls_traits::signatures::Signer for Signer {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, openmls_traits::signatures::SignerError> {
        use ed25519_dalek::Signer as _;
        Ok(self.0.sign(payload).to_bytes().to_vec())
    }

    fn signature_scheme(&self) -> openmls_traits::types::SignatureScheme {
        openmls_traits::types::SignatureScheme::ED25519
    }
}
