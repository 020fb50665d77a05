//! The MLS working group's test vectors, through our provider: storage, cipher suites and wire formats of others.
//!
//! `message-protection` is about single messages under given epoch secrets. OpenMLS lets nobody in with those (a group comes
//! into being by creation, Welcome or external commit), so that its framing is decoded and encoded again, and what protects
//! it is covered by the passive clients, whose commits and proposals are protected in both ways.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use openmls::group::{MlsGroup, MlsGroupJoinConfig};
use openmls::prelude::{
    Ciphersuite, KeyPackageBundle, MIXED_PLAINTEXT_WIRE_FORMAT_POLICY, MlsMessageBodyIn, MlsMessageIn,
    OpenMlsProvider as _, ProcessedMessageContent, RatchetTreeIn, StagedWelcome,
};
use openmls::schedule::PreSharedKeyId;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::storage::StorageProvider as _;
use openmls_traits::types::HpkePrivateKey;
use qpq_trust::suite::Suite;
use serde::{Deserialize, Deserializer, Serialize};
use tls_codec::{DeserializeBytes as _, Serialize as _};

use super::Provider;
use crate::store::memory::MemoryStore;
use crate::store::{decode, encode};

/// The cases of a file that are for a suite of ours; the others are named.
fn cases<T: serde::de::DeserializeOwned>(name: &str) -> Vec<(Ciphersuite, T)> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/mls");
    let folder = std::env::var_os("QPQ_MLS_VECTORS").map_or_else(|| PathBuf::from(own), PathBuf::from);
    let file = std::fs::read(folder.join(name).with_extension("json")).unwrap();
    let all: Vec<serde_json::Value> = serde_json::from_slice(&file).unwrap();
    let (mut cases, mut skipped) = (Vec::new(), BTreeMap::<String, usize>::new());
    for case in all {
        let suite = Ciphersuite::try_from(case["cipher_suite"].as_u64().unwrap() as u16).unwrap();
        match Suite::try_from(suite) {
            Ok(_) => cases.push((suite, serde_json::from_value(case).unwrap())),
            Err(_) => *skipped.entry(format!("{suite:?}")).or_default() += 1,
        }
    }
    for (suite, count) in skipped {
        println!("{name}: {count} cases skipped, {suite} is not offered");
    }
    println!("{name}: {} cases", cases.len());
    assert!(!cases.is_empty(), "{name}");
    cases
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(hex::decode(text).map_err(serde::de::Error::custom)?))
    }
}

#[derive(Deserialize)]
struct PassiveClient {
    external_psks: Vec<ExternalPsk>,
    key_package: Hex,
    encryption_priv: Hex,
    init_priv: Hex,
    welcome: Hex,
    ratchet_tree: Option<Hex>,
    initial_epoch_authenticator: Hex,
    epochs: Vec<Epoch>,
}

#[derive(Deserialize)]
struct ExternalPsk {
    psk_id: Hex,
    psk: Hex,
}

#[derive(Deserialize)]
struct Epoch {
    proposals: Vec<Hex>,
    commit: Hex,
    epoch_authenticator: Hex,
}

/// A key package with its private keys, as OpenMLS stores it. It makes such bundles itself only, so that one with foreign keys
/// has to come through the storage's encoding.
#[derive(Serialize)]
struct Bundle<K> {
    key_package: K,
    private_init_key: HpkePrivateKey,
    private_encryption_key: EncryptionKey,
}

#[derive(Serialize)]
struct EncryptionKey {
    key: HpkePrivateKey,
}

fn message(bytes: &Hex) -> MlsMessageIn {
    MlsMessageIn::tls_deserialize_exact_bytes(&bytes.0).unwrap()
}

fn store_key_package(provider: &Provider<'_>, key_package: &Hex, init: &Hex, encryption: &Hex) -> KeyPackageBundle {
    let MlsMessageBodyIn::KeyPackage(key_package) = message(key_package).extract() else { panic!("no key package") };
    let bundle = Bundle {
        // Not validated: some of them have expired.
        key_package,
        private_init_key: init.0.clone().into(),
        private_encryption_key: EncryptionKey { key: encryption.0.clone().into() },
    };
    let bundle: KeyPackageBundle = decode(&encode(&bundle).unwrap()).unwrap();
    let reference = bundle.key_package().hash_ref(provider.crypto()).unwrap();
    provider.storage().write_key_package(&reference, &bundle).unwrap();
    bundle
}

/// Groups of others may have private handshakes, which ours have not.
fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
        .number_of_resumption_psks(16)
        .build()
}

fn join(provider: &Provider<'_>, client: &PassiveClient) -> MlsGroup {
    for external in &client.external_psks {
        PreSharedKeyId::external(external.psk_id.0.clone(), vec![]).store(provider, &external.psk.0).unwrap();
    }
    store_key_package(provider, &client.key_package, &client.init_priv, &client.encryption_priv);
    let MlsMessageBodyIn::Welcome(welcome) = message(&client.welcome).extract() else { panic!("no Welcome") };
    let mut builder = StagedWelcome::build_from_welcome(provider, &join_config(), welcome).unwrap();
    if let Some(tree) = &client.ratchet_tree {
        builder = builder.with_ratchet_tree(RatchetTreeIn::tls_deserialize_exact_bytes(&tree.0).unwrap());
    }
    builder.skip_lifetime_validation().build().unwrap().into_group(provider).unwrap()
}

fn process(provider: &Provider<'_>, group: &mut MlsGroup, bytes: &Hex) {
    let message = message(bytes).try_into_protocol_message().unwrap();
    match group.process_message(provider, message).unwrap().into_content() {
        ProcessedMessageContent::ProposalMessage(proposal) => {
            group.store_pending_proposal(provider.storage(), *proposal).unwrap();
        }
        ProcessedMessageContent::StagedCommitMessage(staged) => group.merge_staged_commit(provider, *staged).unwrap(),
        _ => panic!("neither a proposal nor a commit"),
    }
}

/// Every epoch is read back from the storage, as after a restart.
fn run_passive_client(client: &PassiveClient) {
    let (crypto, mut store) = (RustCrypto::default(), MemoryStore::default());
    let provider = Provider::new(&crypto, &mut store);
    let group = join(&provider, client);
    let id = group.group_id().clone();
    assert_eq!(group.epoch_authenticator().as_slice(), client.initial_epoch_authenticator.0);
    drop(group);
    for (number, epoch) in client.epochs.iter().enumerate() {
        let mut group = MlsGroup::load(provider.storage(), &id).unwrap().unwrap();
        for proposal in &epoch.proposals {
            process(&provider, &mut group, proposal);
        }
        process(&provider, &mut group, &epoch.commit);
        assert_eq!(group.epoch_authenticator().as_slice(), epoch.epoch_authenticator.0, "epoch {number}");
    }
}

#[test]
fn passive_clients_join_and_follow() {
    for name in ["passive-client-welcome", "passive-client-handling-commit", "passive-client-random"] {
        for (number, (_, client)) in cases::<PassiveClient>(name).iter().enumerate() {
            println!("{name}, our case {number}: {} epochs", client.epochs.len());
            run_passive_client(client);
        }
    }
}

#[derive(Deserialize)]
struct WelcomeCase {
    init_priv: Hex,
    key_package: Hex,
    welcome: Hex,
}

/// Their group info has no tree, so that nobody can join; it is decrypted and shown.
#[test]
fn welcomes_are_opened() {
    for (suite, case) in cases::<WelcomeCase>("welcome") {
        let (crypto, mut store) = (RustCrypto::default(), MemoryStore::default());
        let provider = Provider::new(&crypto, &mut store);
        store_key_package(&provider, &case.key_package, &case.init_priv, &case.init_priv);
        let MlsMessageBodyIn::Welcome(welcome) = message(&case.welcome).extract() else { panic!("no Welcome") };
        let opened = openmls::group::ProcessedWelcome::new_from_welcome(&provider, &join_config(), welcome).unwrap();
        assert_eq!(opened.unverified_group_info().ciphersuite(), suite);
    }
}

#[derive(Deserialize)]
struct MessageProtection {
    group_id: Hex,
    epoch: u64,
    proposal_pub: Hex,
    proposal_priv: Hex,
    commit_pub: Hex,
    commit_priv: Hex,
    application_priv: Hex,
}

#[test]
fn framed_messages_are_read_as_they_were_written() {
    for (_, case) in cases::<MessageProtection>("message-protection") {
        let all =
            [&case.proposal_pub, &case.proposal_priv, &case.commit_pub, &case.commit_priv, &case.application_priv];
        for bytes in all {
            assert_eq!(message(bytes).tls_serialize_detached().unwrap(), bytes.0);
            let framed = message(bytes).try_into_protocol_message().unwrap();
            assert_eq!((framed.group_id().as_slice(), framed.epoch().as_u64()), (&case.group_id.0[..], case.epoch));
        }
    }
}
