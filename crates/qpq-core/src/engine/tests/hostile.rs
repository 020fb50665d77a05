//! A member that wants to stop its group: it commits what the server has to take, and what others cannot read.

use openmls::group::MlsGroup;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::OpenMlsProvider;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::types::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeCiphertext, HpkeConfig, HpkeKeyPair, KemOutput,
    SignatureScheme,
};
use qpq_proto::groups::{Commit, CommitOutcome};
use tls_codec::{SecretVLBytes, Serialize as _};

use crate::mls::storage::MlsStorage;
use crate::mls::{Myself, group, mls_id};
use crate::request::{Reply, Request};
use crate::store::rows::{AccountRow, Row as _, WishKind};
use crate::view::ConversationId;

use super::healing::{check_health, gaps, group_id};
use super::simulation::with_seeds;
use super::world::World;

/// What is wrong with the path secrets (RFC 9420, section 7.6) of a commit whose signature, tags, tree and group info all fit.
#[derive(Clone, Copy, Debug)]
enum Garbage {
    /// They cannot be decrypted.
    Ciphertext,
    /// They can, and lead to other keys than the tree has.
    Secret,
}

#[test]
fn garbage_path_secrets_do_not_stop_the_group() {
    with_seeds(
        |world| {
            let group = world.create_group(0, "plans", &[1, 2, 3]);
            world.quiesce();
            // Again and again, against everybody or against some.
            for round in 0..3 {
                world.send(0, group, &format!("before {round}"));
                world.quiesce();
                let garbage = if world.random(2) == 0 { Garbage::Ciphertext } else { Garbage::Secret };
                let victims = 1 + world.random(3) as usize;
                let before = world.facts(0, group).1;
                commit_garbage(world, 3, group, garbage, victims);
                world.send(1, group, &format!("after {round}"));
                world.quiesce();
                assert!(world.facts(0, group).1 > before + 1, "somebody had to come back in");
            }
            for node in 0..3 {
                let history = world.history(node, group);
                let shown = |text: String| history.iter().filter(|known| **known == text).count();
                for round in 0..3 {
                    assert_eq!(shown(format!("before {round}")), 1, "node {node}: round {round} in {history:?}");
                }
                // Said in an epoch that victims never had: what they miss is named.
                let missing: usize = (0..3).map(|round| 1 - shown(format!("after {round}"))).sum();
                assert!(missing as u64 <= gaps(world, node), "node {node}: {history:?}");
            }
            let hostile = world.nodes[3].identity;
            world.change(0, group, WishKind::Remove { who: hostile });
            world.quiesce();
            assert!(!world.facts(1, group).2.contains(&hostile));
            check_health(world, &[0, 1, 2], group);
        },
        &["alice", "bob", "carol", "mallory"],
    );
}

/// The client of this node refreshes its keys, but so many of the others cannot follow. Their server finds nothing wrong.
fn commit_garbage(world: &mut World, node: usize, conversation: ConversationId, garbage: Garbage, victims: usize) {
    // Its engine knows nothing about it.
    let mut store = world.nodes[node].store.clone();
    let account = AccountRow::load(&store, &()).unwrap().unwrap();
    let myself = Myself::new(&account);
    let provider = Hostile {
        crypto: HostileCrypto { honest: RustCrypto::default(), garbage, victims: victims.into() },
        storage: MlsStorage::new(&mut store),
    };
    let group = group_id(conversation);
    let mut mls = MlsGroup::load(provider.storage(), &mls_id(group)).unwrap().expect("a member");
    let expected_epoch = group::epoch(&mls);
    let bundle = mls
        .commit_builder()
        .force_self_update(true)
        .load_psks(provider.storage())
        .unwrap()
        .create_group_info(true)
        .build(provider.rand(), provider.crypto(), &myself, |_| true)
        .unwrap()
        .stage_commit(&provider)
        .unwrap();
    let (commit, _, group_info) = bundle.into_messages();
    let commit = Commit {
        expected_epoch,
        commit: commit.tls_serialize_detached().unwrap(),
        group_info: group_info.unwrap().tls_serialize_detached().unwrap(),
        welcomes: vec![],
        leaving: vec![],
    };
    let device = world.device(node);
    let reply = world.delivery.call(device, Request::Commit { group, commit }).expect("nothing that a server can see");
    assert!(matches!(reply, Reply::Committed(CommitOutcome::Accepted(_))), "{reply:?}");
}

struct Hostile<'a> {
    crypto: HostileCrypto,
    storage: MlsStorage<'a>,
}

impl<'a> OpenMlsProvider for Hostile<'a> {
    type CryptoProvider = HostileCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = MlsStorage<'a>;

    fn storage(&self) -> &MlsStorage<'a> {
        &self.storage
    }

    fn crypto(&self) -> &HostileCrypto {
        &self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        &self.crypto.honest
    }
}

/// Honest but for what it seals for the first few.
struct HostileCrypto {
    honest: RustCrypto,
    garbage: Garbage,
    victims: std::sync::atomic::AtomicUsize,
}

impl OpenMlsCrypto for HostileCrypto {
    fn hpke_seal(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        use std::sync::atomic::Ordering::Relaxed;
        let one_less = |left: usize| left.checked_sub(1);
        if self.victims.fetch_update(Relaxed, Relaxed, one_less).is_err() {
            return self.honest.hpke_seal(config, pk_r, info, aad, ptxt);
        }
        match self.garbage {
            Garbage::Ciphertext => {
                let mut sealed = self.honest.hpke_seal(config, pk_r, info, aad, ptxt)?;
                let mut ciphertext = sealed.ciphertext.as_slice().to_vec();
                ciphertext[0] ^= 1;
                sealed.ciphertext = ciphertext.into();
                Ok(sealed)
            }
            Garbage::Secret => {
                let mut other = ptxt.to_vec();
                *other.last_mut().expect("a secret") ^= 1;
                self.honest.hpke_seal(config, pk_r, info, aad, &other)
            }
        }
    }

    fn supports(&self, ciphersuite: Ciphersuite) -> Result<(), CryptoError> {
        self.honest.supports(ciphersuite)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        self.honest.supported_ciphersuites()
    }

    fn hkdf_extract(&self, hash: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        self.honest.hkdf_extract(hash, salt, ikm)
    }

    fn hmac(&self, hash: HashType, key: &[u8], message: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        self.honest.hmac(hash, key, message)
    }

    fn hkdf_expand(&self, hash: HashType, prk: &[u8], info: &[u8], len: usize) -> Result<SecretVLBytes, CryptoError> {
        self.honest.hkdf_expand(hash, prk, info, len)
    }

    fn hash(&self, hash: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.honest.hash(hash, data)
    }

    fn aead_encrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.honest.aead_encrypt(alg, key, data, nonce, aad)
    }

    fn aead_decrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        ct_tag: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.honest.aead_decrypt(alg, key, ct_tag, nonce, aad)
    }

    fn signature_key_gen(&self, alg: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        self.honest.signature_key_gen(alg)
    }

    fn verify_signature(
        &self,
        alg: SignatureScheme,
        data: &[u8],
        pk: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.honest.verify_signature(alg, data, pk, signature)
    }

    fn sign(&self, alg: SignatureScheme, data: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.honest.sign(alg, data, key)
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        sk_r: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.honest.hpke_open(config, input, sk_r, info, aad)
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        self.honest.hpke_setup_sender_and_export(config, pk_r, info, exporter_context, exporter_length)
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        enc: &[u8],
        sk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        self.honest.hpke_setup_receiver_and_export(config, enc, sk_r, info, exporter_context, exporter_length)
    }

    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        self.honest.derive_hpke_keypair(config, ikm)
    }
}
