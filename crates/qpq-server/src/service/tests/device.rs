//! A client's device: as little of one as the tests need.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, RegistrationResponse,
};
use openmls::group::MlsGroup;
use openmls::prelude::{
    Ciphersuite, CredentialWithKey, GroupId as MlsGroupId, KeyPackage, KeyPackageIn, LeafNodeIndex, LeafNodeParameters,
    MlsMessageOut, ProtocolVersion, RatchetTreeIn,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::types::SignatureScheme;
use qpq_proto::code::Refusal;
use qpq_proto::groups::{
    Commit, CommitOutcome, GroupKind, GroupState, NewGroup, Post, PostOutcome, SealedWelcome, Who,
};
use qpq_proto::ids::{Epoch, GroupId};
use qpq_proto::keys::{DeviceRecord, X_WING_PUBLIC};
use qpq_trust::credential::LeafId;
use qpq_trust::identity::{IdentityKeys, device_id};
use qpq_trust::opaque::{OpaqueSuite, Stretch, identifiers};
use qpq_trust::proof;
use qpq_trust::suite::{Suite, capabilities, create_config, join_config};
use tls_codec::{DeserializeBytes as _, Serialize as _};

use crate::service::auth::DeviceProof;
use crate::service::opaque::SystemRandom;
use crate::service::{Caller, Service};

pub const EXPORTER: [u8; 32] = [5; 32];
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SUITE: Ciphersuite = Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519;

pub struct Device {
    pub provider: OpenMlsRustCrypto,
    pub signer: SignatureKeyPair,
    seed: [u8; 32],
    pub keys: IdentityKeys,
    pub caller: Caller,
    pub manifest: Vec<u8>,
}

impl Device {
    pub fn new(name: &str) -> Self {
        Self::with_siblings(name, 0)
    }

    /// The first device of an account that lists so many more.
    pub fn with_siblings(name: &str, siblings: u8) -> Self {
        let keys = IdentityKeys::generate().unwrap();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let signature_key = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        let signer = SignatureKeyPair::from_raw(SignatureScheme::ED25519, seed.to_vec(), signature_key.to_vec());
        let record =
            |signature_key| DeviceRecord { signature_key, envelope_key: vec![1; X_WING_PUBLIC], name: "device".into() };
        let mut records = vec![record(signature_key)];
        records.extend((0..siblings).map(|number| record([number; 32])));
        let caller =
            Caller { identity: keys.public().id(), device: device_id(&signature_key), name: name.parse().unwrap() };
        Self {
            provider: OpenMlsRustCrypto::default(),
            signer,
            seed,
            caller,
            manifest: keys.sign_manifest(1, None, records).encode(),
            keys,
        }
    }

    /// Another device of the same identity, which nobody lists yet.
    pub fn sibling(&self) -> Self {
        let other = Self::new(self.caller.name.as_str());
        let caller = Caller { identity: self.caller.identity, ..other.caller };
        Self { keys: IdentityKeys::from_bytes(&self.keys.to_bytes()), caller, manifest: self.manifest.clone(), ..other }
    }

    /// What a manifest says of it.
    pub fn record(&self) -> DeviceRecord {
        let signature_key = ed25519_dalek::SigningKey::from_bytes(&self.seed).verifying_key().to_bytes();
        DeviceRecord { signature_key, envelope_key: vec![1; X_WING_PUBLIC], name: "device".into() }
    }

    pub fn proof(&self) -> [u8; 64] {
        self.proof_for(&EXPORTER)
    }

    pub fn proof_for(&self, exporter: &[u8; 32]) -> [u8; 64] {
        proof::sign(&self.seed, exporter)
    }

    pub async fn register(&self, service: &Arc<Service>) -> Result<Caller, Refusal> {
        self.register_with(service, "", "password").await
    }

    pub async fn register_with(&self, service: &Arc<Service>, invite: &str, password: &str) -> Result<Caller, Refusal> {
        let name = self.caller.name.clone();
        let start = ClientRegistration::<OpaqueSuite>::start(&mut SystemRandom, password.as_bytes()).unwrap();
        let (response, started) = service.register(HERE, name.clone(), invite, &start.message.serialize()).await?;
        let finish = start
            .state
            .finish(
                &mut SystemRandom,
                password.as_bytes(),
                RegistrationResponse::deserialize(&response).unwrap(),
                ClientRegistrationFinishParameters::new(identifiers(name.as_str()), Some(&Stretch)),
            )
            .unwrap();
        let proof = self.proof();
        let proof = DeviceProof { device: self.caller.device, exporter: &EXPORTER, proof: &proof };
        let upload = finish.message.serialize();
        service.finish_registration(started, &upload, self.manifest.clone(), proof).await
    }

    /// None: this client notices by itself that the password is wrong, or that the server knows nobody of that name.
    pub async fn log_in(&self, service: &Arc<Service>, password: &str) -> Option<Result<Caller, Refusal>> {
        let name = self.caller.name.clone();
        let start = ClientLogin::<OpaqueSuite>::start(&mut SystemRandom, password.as_bytes()).unwrap();
        let (response, started) = match service.login(HERE, name.clone(), &start.message.serialize()).await {
            Ok(answer) => answer,
            Err(refusal) => return Some(Err(refusal)),
        };
        let finish = start
            .state
            .finish(
                &mut SystemRandom,
                password.as_bytes(),
                CredentialResponse::deserialize(&response).unwrap(),
                ClientLoginFinishParameters::new(None, identifiers(name.as_str()), Some(&Stretch)),
            )
            .ok()?;
        let proof = self.proof();
        let proof = DeviceProof { device: self.caller.device, exporter: &EXPORTER, proof: &proof };
        Some(service.finish_login(started, &finish.message.serialize(), proof).await)
    }

    pub fn key_package(&self, last_resort: bool) -> Vec<u8> {
        let mut builder = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .key_package_lifetime(openmls::prelude::Lifetime::new(10 * 24 * 3600));
        if last_resort {
            builder = builder.mark_as_last_resort();
        }
        let bundle = builder.build(SUITE, &self.provider, &self.signer, self.credential()).unwrap();
        bundle.key_package().tls_serialize_detached().unwrap()
    }

    pub async fn publish(&self, service: &Arc<Service>, count: usize) {
        let one_time = (0..count).map(|_| self.key_package(false)).collect();
        service.publish(&self.caller, one_time, vec![self.key_package(true)]).await.unwrap();
    }

    pub fn group(&self, id: u8, kind: GroupKind) -> Group<'_> {
        let state = GroupState {
            kind,
            admins: if kind == GroupKind::Group { vec![self.caller.identity] } else { vec![] },
            add: Who::Members,
            remove: Who::Admins,
            rename: Who::Admins,
            name: vec![],
            name_key: vec![],
            expires_after: None,
        };
        let mls = MlsGroup::new_with_group_id(
            &self.provider,
            &self.signer,
            &create_config(Suite::Hybrid, &state).unwrap(),
            MlsGroupId::from_slice(&[id; 16]),
            self.credential(),
        )
        .unwrap();
        Group { device: self, id: GroupId([id; 16]), mls }
    }

    fn credential(&self) -> CredentialWithKey {
        let id = LeafId { identity: self.caller.identity, device: self.caller.device };
        CredentialWithKey { credential: id.credential(), signature_key: self.signer.public().into() }
    }
}

/// A group as one device has it.
pub struct Group<'d> {
    pub device: &'d Device,
    pub id: GroupId,
    pub mls: MlsGroup,
}

impl<'d> Group<'d> {
    pub fn epoch(&self) -> Epoch {
        Epoch(self.mls.epoch().as_u64())
    }

    /// Creation, with a commit that adds these if there are any.
    pub async fn creation(&mut self, service: &Arc<Service>, others: &[&Device]) -> NewGroup {
        let group_info = self.info();
        let ratchet_tree = self.mls.export_ratchet_tree().tls_serialize_detached().unwrap();
        let first = match others {
            [] => None,
            others => Some(self.add(service, others).await),
        };
        NewGroup { group_info, ratchet_tree, first }
    }

    /// A pending commit that adds these, with key packages from the server.
    pub async fn add(&mut self, service: &Arc<Service>, others: &[&Device]) -> Commit {
        let mut packages = Vec::new();
        for other in others {
            let claimed = service.claim(&self.device.caller, other.caller.identity, SUITE.into()).await.unwrap();
            let package = KeyPackageIn::tls_deserialize_exact_bytes(&claimed[0]).unwrap();
            packages.push(package.validate(self.device.provider.crypto(), ProtocolVersion::Mls10).unwrap());
        }
        let (commit, welcome) = self.build(packages, vec![], false);
        let envelope = welcome.unwrap();
        let welcome = |other: &&Device| SealedWelcome { device: other.caller.device, envelope: envelope.clone() };
        Commit { welcomes: others.iter().map(welcome).collect(), ..commit }
    }

    fn build(&mut self, add: Vec<KeyPackage>, remove: Vec<LeafNodeIndex>, refresh: bool) -> (Commit, Option<Vec<u8>>) {
        let Device { provider, signer, .. } = self.device;
        let expected_epoch = self.epoch();
        let stage = self.mls.commit_builder().propose_adds(add).propose_removals(remove).force_self_update(refresh);
        let stage = stage.load_psks(provider.storage()).unwrap().create_group_info(true);
        let stage = stage.build(provider.rand(), provider.crypto(), signer, |_| true).unwrap();
        let (commit, welcome, info) = stage.stage_commit(provider).unwrap().into_messages();
        let bytes = |message: MlsMessageOut| message.tls_serialize_detached().unwrap();
        let (commit, group_info) = (bytes(commit), info.map(bytes).unwrap());
        (Commit { expected_epoch, commit, group_info, welcomes: vec![], leaving: vec![] }, welcome.map(bytes))
    }

    pub fn update(&mut self) -> Commit {
        self.build(vec![], vec![], true).0
    }

    pub fn remove(&mut self, other: &Device) -> Commit {
        let index = self.mls.members().find(|member| member.signature_key == other.signer.public()).unwrap().index;
        self.build(vec![], vec![index], false).0
    }

    /// Comes back by an external commit; the group is merged already.
    pub async fn outside(world: &Arc<Service>, device: &'d Device, id: GroupId) -> (Self, Commit) {
        let way = world.rejoin_info(&device.caller, id).await.unwrap();
        let group_info = qpq_trust::group::read_group_info(&way.group_info).unwrap();
        let expected_epoch = Epoch(group_info.epoch().as_u64());
        let tree = RatchetTreeIn::tls_deserialize_exact_bytes(&way.ratchet_tree).unwrap();
        let leaf = LeafNodeParameters::builder().with_capabilities(capabilities()).build();
        let (mls, bundle) = MlsGroup::external_commit_builder()
            .with_ratchet_tree(tree)
            .with_config(join_config())
            .build_group(&device.provider, group_info, device.credential())
            .unwrap()
            .leaf_node_parameters(leaf)
            .load_psks(device.provider.storage())
            .unwrap()
            .create_group_info(true)
            .build(device.provider.rand(), device.provider.crypto(), &device.signer, |_| true)
            .unwrap()
            .finalize(&device.provider)
            .unwrap();
        let (commit, _, info) = bundle.into_messages();
        let bytes = |message: MlsMessageOut| message.tls_serialize_detached().unwrap();
        let (commit, group_info) = (bytes(commit), info.map(bytes).unwrap());
        let commit = Commit { expected_epoch, commit, group_info, welcomes: vec![], leaving: way.leaving };
        (Self { device, id, mls }, commit)
    }

    pub fn merge(&mut self) {
        self.mls.merge_pending_commit(&self.device.provider).unwrap();
    }

    pub async fn submit(&mut self, service: &Arc<Service>, commit: Commit) -> Result<CommitOutcome, Refusal> {
        let outcome = service.commit(&self.device.caller, self.id, commit).await;
        if let Ok(CommitOutcome::Accepted(_)) = outcome {
            self.merge();
        }
        outcome
    }

    pub async fn post(&mut self, service: &Arc<Service>, text: &str) -> Result<PostOutcome, Refusal> {
        let message = self.mls.create_message(&self.device.provider, &self.device.signer, text.as_bytes()).unwrap();
        let payload = message.tls_serialize_detached().unwrap();
        service
            .post(&self.device.caller, self.id, Post { epoch: self.epoch(), payload, expires_at: None, blobs: vec![] })
            .await
    }

    fn info(&self) -> Vec<u8> {
        let info = self.mls.export_group_info(self.device.provider.crypto(), &self.device.signer, false).unwrap();
        info.tls_serialize_detached().unwrap()
    }
}
