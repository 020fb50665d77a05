//! Two people with real keys, and a group of theirs.

use openmls::group::{MlsGroup, PublicGroup};
use openmls::prelude::{Ciphersuite, CredentialWithKey, GroupId, KeyPackage, Lifetime};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::{MemoryStorage, OpenMlsRustCrypto, RustCrypto};
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::types::SignatureScheme;
use qpq_proto::groups::{GroupKind, GroupState, NewGroup, Who};
use qpq_proto::ids::IdentityId;
use qpq_proto::keys::{DeviceRecord, X_WING_PUBLIC};
use qpq_trust::credential::LeafId;
use qpq_trust::identity::{IdentityKeys, device_id};
use qpq_trust::suite::{Suite, capabilities, create_config};
use tls_codec::{Serialize as _, VLBytes};

/// Somebody with one device.
pub struct Person {
    pub provider: OpenMlsRustCrypto,
    pub signer: SignatureKeyPair,
    pub seed: [u8; 32],
    pub record: DeviceRecord,
    pub keys: IdentityKeys,
    pub leaf: LeafId,
}

impl Person {
    pub fn new(number: u8) -> Self {
        let keys = IdentityKeys::from_bytes(&[number; 64]);
        let seed = [number; 32];
        let signature_key = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        let leaf = LeafId { identity: keys.public().id(), device: device_id(&signature_key) };
        Self {
            provider: OpenMlsRustCrypto::default(),
            signer: SignatureKeyPair::from_raw(SignatureScheme::ED25519, seed.to_vec(), signature_key.to_vec()),
            seed,
            record: DeviceRecord { signature_key, envelope_key: vec![number; X_WING_PUBLIC], name: "device".into() },
            keys,
            leaf,
        }
    }

    pub fn identity(&self) -> IdentityId {
        self.leaf.identity
    }

    pub fn credential(&self) -> CredentialWithKey {
        CredentialWithKey { credential: self.leaf.credential(), signature_key: self.signer.public().into() }
    }

    pub fn key_package(&self, suite: Suite, last_resort: bool) -> KeyPackage {
        let mut builder = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .key_package_lifetime(Lifetime::new(20 * 24 * 3600));
        if last_resort {
            builder = builder.mark_as_last_resort();
        }
        let bundle = builder.build(suite.ciphersuite(), &self.provider, &self.signer, self.credential());
        bundle.expect("a key package").key_package().clone()
    }

    pub fn group(&self, suite: Suite) -> MlsGroup {
        let state = GroupState {
            kind: GroupKind::Group,
            admins: vec![self.identity()],
            add: Who::Members,
            remove: Who::Admins,
            rename: Who::Admins,
            name: vec![1; 40],
            name_key: vec![],
            expires_after: None,
        };
        let config = create_config(suite, &state).expect("our profile");
        let id = GroupId::from_slice(&[9; 16]);
        MlsGroup::new_with_group_id(&self.provider, &self.signer, &config, id, self.credential()).expect("a group")
    }
}

/// What the server is given when a group is made.
pub fn creation(person: &Person, group: &MlsGroup) -> NewGroup {
    let info = group.export_group_info(person.provider.crypto(), &person.signer, false).expect("group info");
    NewGroup {
        group_info: info.tls_serialize_detached().expect("encodes"),
        ratchet_tree: group.export_ratchet_tree().tls_serialize_detached().expect("encodes"),
        first: None,
    }
}

/// A group of two in its first epoch, as its creator and as the server have it.
pub struct Pair {
    pub alice: Person,
    pub bob: Person,
    pub group: MlsGroup,
    pub public: PublicGroup,
}

impl Pair {
    pub fn new() -> Self {
        let (alice, bob) = (Person::new(1), Person::new(2));
        let mut group = alice.group(Suite::Hybrid);
        let new = creation(&alice, &group);
        let (crypto, storage) = (RustCrypto::default(), MemoryStorage::default());
        let mut public = qpq_trust::group::new_public_group(&crypto, &storage, &new).expect("a valid group");
        let package = bob.key_package(Suite::Hybrid, false);
        let (commit, _, _) = group.add_members(&alice.provider, &alice.signer, &[package]).expect("a commit");
        let commit = commit.tls_serialize_detached().expect("encodes");
        let (staged, _) =
            qpq_trust::commit::process(&crypto, &public, &commit, &Default::default()).expect("a valid commit");
        public.merge_commit(&storage, staged).expect("memory");
        group.merge_pending_commit(&alice.provider).expect("own commit");
        Self { alice, bob, group, public }
    }

    /// A PublicMessage of this group and epoch with a good signature of its creator around any content: what a member
    /// can send who does not care about the rules (RFC 9420, sections 6 and 6.1).
    pub fn signed(&self, is_commit: bool, content: &[u8]) -> Vec<u8> {
        let bytes = |bytes: &[u8]| VLBytes::new(bytes.to_vec()).tls_serialize_detached().expect("encodes");
        let mut framed = bytes(self.group.group_id().as_slice());
        framed.extend(self.group.epoch().as_u64().to_be_bytes());
        framed.push(1); // a member
        framed.extend(self.group.own_leaf_index().u32().to_be_bytes());
        framed.extend(bytes(&[])); // no authenticated data
        framed.push(if is_commit { 3 } else { 2 });
        framed.extend(content);
        let header = [0, 1, 0, 1]; // mls10, PublicMessage
        let context = self.public.group_context().tls_serialize_detached().expect("encodes");
        let signed = [&header[..], &framed, &context].concat();
        let labelled = [bytes(b"MLS 1.0 FramedContentTBS"), bytes(&signed)].concat();
        let key = ed25519_dalek::SigningKey::from_bytes(&self.alice.seed);
        let signature = ed25519_dalek::Signer::sign(&key, &labelled).to_bytes();
        let mut message = [&header[..], &framed, &bytes(&signature)].concat();
        if is_commit {
            message.extend(bytes(&[0; 48])); // the confirmation tag
        }
        message.extend(bytes(&[0; 48])); // the membership tag
        message
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

/// The suite that groups have by default.
pub const HYBRID: Ciphersuite = Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519;

/// The clock of the operating system, which OpenMLS asks, too.
pub fn now() -> qpq_proto::time::Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    qpq_proto::time::Timestamp(since.expect("a clock after 1970").as_millis() as u64)
}
