//! Durable posts per second, against SQLite with one insert per transaction.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use openmls::group::MlsGroup;
use openmls::prelude::tls_codec::Serialize as _;
use qpq_core::store::rows::AccountRow;
use qpq_proto::generated::groups_capnp::{create_reply, post_reply};
use qpq_proto::groups::{GroupKind, GroupState, NewGroup, Post, Who};
use qpq_proto::ids::{Epoch, GroupId, IdentityId};
use qpq_trust::credential::LeafId;

use super::probe::{cpu_seconds, single_inserts_per_second};
use super::session::{Session, block_on, register, resume};
use super::{Axis, Figure, Line, Measured, Plot, Target};
use crate::world::Server;

/// Limits that are out of the way.
pub const GENEROUS: &[(&str, &str)] = &[
    ("QPQ_SERVER__LIMITS__POSTS_PER_MINUTE", "100000000"),
    ("QPQ_SERVER__LIMITS__MAX_CONNECTIONS", "10000"),
    ("QPQ_SERVER__LIMITS__CONNECTIONS_PER_ADDRESS", "10000"),
    ("QPQ_SERVER__LIMITS__REGISTRATIONS_PER_HOUR_PER_ADDRESS", "1000000"),
    ("QPQ_SERVER__LIMITS__LOG_ENTRIES_PER_GROUP", "10000000"),
    ("QPQ_SERVER__LIMITS__CLAIMS_PER_MINUTE", "1000000"),
];

/// 1, 8, 64 and 256 senders of 1 KiB messages.
pub fn run() -> Result<Measured> {
    let mut figures = Vec::new();
    let (mut rates, mut singles) = (Vec::new(), Vec::new());
    let data = tempfile::tempdir()?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", GENEROUS)?;
    for senders in [1, 8, 64, 256] {
        // Disks drift within minutes: the peer is measured before and after.
        let before = single_inserts_per_second(data.path(), 300)?;
        let posts = block_on(post_all(&server, senders))?;
        let after = single_inserts_per_second(data.path(), 300)?;
        let single = f64::midpoint(before, after);
        rates.push((f64::from(senders), posts.rate));
        singles.push((f64::from(senders), single));
        figures.push(Figure {
            name: format!("post: {senders} senders"),
            measured: format!(
                "{:.0} posts/s (CPU µs: server {:.0}, clients {:.0})",
                posts.rate, posts.server_micros, posts.client_micros
            ),
            limit: format!("{single:.0} single inserts/s"),
            ratio: posts.rate / single,
            target: match senders {
                64 => Target::AtLeast(5.0),
                256 => Target::AtLeast(8.0),
                _ => Target::AtLeast(0.3),
            },
        });
    }
    let line = |name: &str, points| Line { name: name.into(), points };
    let plots = vec![Plot {
        title: "post: throughput against senders".into(),
        x: Axis::logarithmic("senders"),
        y: Axis::linear("posts/s"),
        lines: vec![line("durable posts", rates), line("SQLite, single inserts", singles)],
    }];
    Ok(Measured { figures, plots })
}

/// What came of posting for a while.
struct Posts {
    rate: f64,
    /// CPU time per post, user and system. Both sides share this machine, so their sum bounds the rate.
    server_micros: f64,
    client_micros: f64,
}

/// Every sender has a connection of its own and waits for its acknowledgement before it posts again.
async fn post_all(server: &Server, senders: u32) -> Result<Posts> {
    let address = server.address.parse()?;
    let first = register(&address, &format!("poster-{senders}")).await?;
    let group = notepad(&first).await?;
    let mut sessions = Vec::new();
    for _ in 1..senders {
        sessions.push(resume(&address, &first.account).await?);
    }
    sessions.push(first);
    let (server_before, client_before) = (cpu_seconds(server.pid())?, cpu_seconds(std::process::id())?);
    let begin = Instant::now();
    let mut running = Vec::new();
    for session in sessions {
        running.push(tokio::task::spawn_local(async move {
            let mut accepted = 0u32;
            let mut payload = private_message(group)?;
            while begin.elapsed() < DURATION {
                // The ciphertext's end: random for each sender, and another one for each message.
                if let Some(end) = payload.last_chunk_mut::<4>() {
                    *end = accepted.to_le_bytes();
                }
                post(&session, group, payload.clone()).await?;
                accepted += 1;
            }
            anyhow::Ok(accepted)
        }));
    }
    let mut total = 0;
    for sender in running {
        total += sender.await??;
    }
    let total = f64::from(total);
    let rate = total / begin.elapsed().as_secs_f64();
    let micros = |seconds: f64| seconds * 1e6 / total;
    Ok(Posts {
        rate,
        server_micros: micros(cpu_seconds(server.pid())? - server_before),
        client_micros: micros(cpu_seconds(std::process::id())? - client_before),
    })
}

pub async fn post(session: &Session, group: GroupId, payload: Vec<u8>) -> Result<()> {
    let mut request = session.groups.post_request();
    request.get().set_group(&group.0);
    Post { epoch: Epoch(0), payload, expires_at: None, blobs: vec![] }.write(request.get().init_post());
    let response = request.send().promise.await?;
    match response.get()?.get_reply()?.which()? {
        post_reply::Accepted(_) => Ok(()),
        post_reply::StaleEpoch(_) => bail!("stale"),
        post_reply::Refused(refusal) => bail!("refused: {}", refusal?.get_detail()?.to_str()?),
    }
}

/// A PrivateMessage (RFC 9420, section 6.3) of epoch 0 with 1 KiB of noise: only members could tell that it is none.
pub fn private_message(group: GroupId) -> Result<Vec<u8>> {
    let mut noise = [0; 32 + 1024];
    getrandom::fill(&mut noise)?;
    let (sender_data, ciphertext) = noise.split_at(32);
    let version_and_wire_format = [0, 1, 0, 2];
    let epoch = [0; 8];
    let application_without_aad = [1, 0];
    let length_1024 = [0x44, 0x00];
    Ok([
        &version_and_wire_format[..],
        &[16],
        &group.0,
        &epoch,
        &application_without_aad,
        &[32],
        sender_data,
        &length_1024,
        ciphertext,
    ]
    .concat())
}

/// A group of one to post to.
pub async fn notepad(session: &Session) -> Result<GroupId> {
    let provider = openmls_rust_crypto::OpenMlsRustCrypto::default();
    let account = &session.account;
    let (signer, credential) = member(account);
    let mut id = GroupId([0; 16]);
    getrandom::fill(&mut id.0)?;
    let config = qpq_trust::suite::create_config(qpq_trust::suite::Suite::Hybrid, &state(account.identity))?;
    let group = MlsGroup::new_with_group_id(
        &provider,
        &signer,
        &config,
        openmls::group::GroupId::from_slice(&id.0),
        credential,
    )?;
    use openmls_traits::OpenMlsProvider as _;
    let group_info = group.export_group_info(provider.crypto(), &signer, false)?.tls_serialize_detached()?;
    let ratchet_tree = group.export_ratchet_tree().tls_serialize_detached()?;
    let mut request = session.groups.create_request();
    NewGroup { group_info, ratchet_tree, first: None }.write(request.get().init_group());
    let response = request.send().promise.await?;
    let created = matches!(response.get()?.get_reply()?.which()?, create_reply::Created(_));
    ensure!(created, "the group was refused");
    Ok(id)
}

/// The state of a new group.
pub fn state(admin: IdentityId) -> GroupState {
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

/// A device as a member of groups.
pub fn member(account: &AccountRow) -> (Signer, openmls::prelude::CredentialWithKey) {
    let signer = Signer(ed25519_dalek::SigningKey::from_bytes(&account.device_key));
    let leaf = LeafId { identity: account.identity, device: account.device };
    let signature_key = signer.0.verifying_key().to_bytes().to_vec().into();
    let credential = openmls::prelude::CredentialWithKey { credential: leaf.credential(), signature_key };
    (signer, credential)
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

const DURATION: Duration = Duration::from_secs(4);
