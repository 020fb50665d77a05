//! Durable posts per second, against SQLite with one insert per transaction, and with a hundred; and against bare QUIC, which
//! does nothing but carry the same bytes there and an answer back, and calls that do nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use futures::future::try_join_all;
use openmls::prelude::tls_codec::Serialize as _;
use openmls_traits::OpenMlsProvider as _;
use qpq_proto::generated::groups_capnp::{create_reply, post_reply};
use qpq_proto::groups::{NewGroup, Post};
use qpq_proto::ids::{Epoch, GroupId};
use quinn::{Connection, Endpoint};

use super::mls::Device;
use super::peer::{ANSWER, Peer, REQUEST, RESPONSE, stream};
use super::probe::{Cpu, FLUSHES, count, inserts_per_second};
use super::session::{Session, block_on, register, resume};
use super::{Axis, Figure, Line, Measured, Plot, Target, median};
use crate::world::Server;

/// Limits that are out of the way.
pub const GENEROUS: &[(&str, &str)] = &[
    ("QPQ_SERVER__LIMITS__POSTS_PER_MINUTE", "100000000"),
    ("QPQ_SERVER__LIMITS__MAX_CONNECTIONS", "10000"),
    ("QPQ_SERVER__LIMITS__CONNECTIONS_PER_ADDRESS", "10000"),
    ("QPQ_SERVER__LIMITS__REGISTRATIONS_PER_HOUR_PER_ADDRESS", "1000000"),
    ("QPQ_SERVER__LIMITS__LOG_ENTRIES_PER_GROUP", "10000000"),
    ("QPQ_SERVER__LIMITS__CLAIMS_PER_MINUTE", "1000000"),
    ("QPQ_SERVER__LIMITS__CLAIMS_PER_MINUTE_PER_TARGET", "1000000"),
    ("QPQ_SERVER__LIMITS__LOGINS_PER_MINUTE_PER_ACCOUNT", "1000000"),
    ("QPQ_SERVER__LIMITS__LOGINS_PER_MINUTE_PER_ADDRESS", "1000000"),
    ("QPQ_SERVER__LIMITS__FILE_PARTS_PER_MINUTE", "1000000"),
    ("QPQ_SERVER__LIMITS__MAX_FILE", "1GiB"),
    ("QPQ_SERVER__LIMITS__FILE_BYTES_PER_ACCOUNT", "100GiB"),
];

/// 1, 8, 64 and 256 senders of 1 KiB messages, five times each.
pub fn run() -> Result<Measured> {
    let data = tempfile::tempdir()?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", GENEROUS)?;
    let mut figures = Vec::new();
    let (mut rates, mut singles, mut carried) = (Vec::new(), Vec::new(), Vec::new());
    for senders in [1, 8, 64, 256] {
        let rounds = block_on(rounds(&server, data.path(), senders))?;
        let median_of = |of: fn(&Round) -> f64| median(&mut rounds.iter().map(of).collect::<Vec<_>>());
        let (rate, single) = (median_of(|round| round.posts.rate), median_of(|round| round.single));
        rates.push((f64::from(senders), rate));
        singles.push((f64::from(senders), single));
        let (server, client) = (median_of(|round| round.posts.server), median_of(|round| round.posts.client));
        figures.push(Figure {
            name: format!("post: {senders} senders"),
            measured: format!("{rate:.0} posts/s (CPU µs: server {server:.0}, clients {client:.0})"),
            limit: format!("{single:.0} single inserts/s"),
            ratio: median_of(|round| round.posts.rate / round.single),
            target: match senders {
                64 => Target::AtLeast(5.0),
                256 => Target::AtLeast(8.0),
                _ => Target::AtLeast(0.3),
            },
        });
        let echoes = median_of(|round| round.echoes.rate);
        carried.push((f64::from(senders), echoes));
        if senders >= 64 {
            let (called, client) = (median_of(|round| round.calls.rate), median_of(|round| round.calls.client));
            let server = median_of(|round| round.calls.server);
            figures.push(Figure {
                name: format!("post: {senders} senders, of empty calls"),
                measured: format!("{rate:.0} posts/s"),
                limit: format!("{called:.0} calls/s that do nothing (CPU µs: server {server:.0}, clients {client:.0})"),
                ratio: median_of(|round| round.posts.rate / round.calls.rate),
                target: Target::AtLeast(0.5),
            });
            let (peer, client) = (median_of(|round| round.echoes.server), median_of(|round| round.echoes.client));
            figures.push(Figure {
                name: format!("post: {senders} senders, of bare QUIC"),
                measured: format!("{rate:.0} posts/s"),
                limit: format!("{echoes:.0} answers/s without us (CPU µs: server {peer:.0}, clients {client:.0})"),
                ratio: median_of(|round| round.posts.rate / round.echoes.rate),
                target: Target::AtLeast(0.5),
            });
        }
        if senders == 256 {
            figures.push(Figure {
                name: "post: 256 senders, batched".into(),
                measured: format!("{rate:.0} posts/s"),
                limit: format!("{:.0} inserts/s in batches of 100", median_of(|round| round.batched)),
                ratio: median_of(|round| round.posts.rate / round.batched),
                target: Target::AtLeast(0.5),
            });
            let flushes = median_of(|round| round.posts.flushes);
            figures.push(Figure {
                name: "post: flushes per message".into(),
                measured: format!("{flushes:.4} with 256 senders"),
                limit: "1 of a message alone".into(),
                ratio: flushes,
                target: Target::AtMost(0.05),
            });
        }
    }
    let line = |name: &str, points| Line { name: name.into(), points };
    let plots = vec![Plot {
        title: "post: throughput against senders".into(),
        x: Axis::logarithmic("senders"),
        y: Axis::linear("posts/s"),
        lines: vec![line("durable posts", rates), line("SQLite, single inserts", singles), line("bare QUIC", carried)],
    }];
    Ok(Measured { figures, plots })
}

/// Posts, and what the disk does at the same time.
struct Round {
    posts: Posts,
    single: f64,
    batched: f64,
    echoes: Echoes,
    calls: Echoes,
}

/// What bare QUIC, or our RPC, does with as many connections.
struct Echoes {
    rate: f64,
    /// CPU time for each, as in [`Posts`].
    server: f64,
    client: f64,
}

impl Echoes {
    fn of(answers: Vec<u32>, begin: Instant, cpu: &Cpu) -> Result<Self> {
        let total = f64::from(answers.into_iter().sum::<u32>());
        let rate = total / begin.elapsed().as_secs_f64();
        let (server, client) = cpu.micros_each(total)?;
        Ok(Self { rate, server, client })
    }
}

/// Disks drift within minutes: what is compared alternates in seconds.
async fn rounds(server: &Server, data: &Path, senders: u32) -> Result<Vec<Round>> {
    let address = server.address.parse()?;
    let first = register(&address, &format!("poster-{senders}")).await?;
    let group = notepad(&first).await?;
    let mut sessions = Vec::new();
    for _ in 1..senders {
        sessions.push(resume(&address, &first.account).await?);
    }
    sessions.push(first);
    let peer = Peer::start()?;
    let mut connections = Vec::new();
    for _ in 0..senders {
        connections.push(peer.connect().await?);
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (single, batched) = (inserts_per_second(data, 200, 1)?, inserts_per_second(data, 2000, 100)?);
        let posts = post_all(server, &sessions, group, DURATION).await?;
        let (echoes, calls) = (echo_all(&peer, &connections).await?, call_all(server, &sessions).await?);
        rounds.push(Round { posts, single, batched, echoes, calls });
    }
    Ok(rounds)
}

/// What came of posting for a while.
pub struct Posts {
    pub rate: f64,
    /// CPU time per post in microseconds, user and system. Both sides share this machine, so their sum bounds the rate.
    pub server: f64,
    pub client: f64,
    /// Of the server's disk, per post.
    pub flushes: f64,
}

/// Every sender has a connection of its own and waits for its acknowledgement before it posts again.
pub async fn post_all(server: &Server, sessions: &[Session], group: GroupId, duration: Duration) -> Result<Posts> {
    let (cpu, flushes) = (Cpu::start(server.pid())?, count(server, FLUSHES)?);
    let begin = Instant::now();
    let senders = sessions.iter().map(|session| async move {
        let mut accepted = 0u32;
        let mut payload = private_message(group)?;
        while begin.elapsed() < duration {
            // The ciphertext's end: random for each sender, and another one for each message.
            if let Some(end) = payload.last_chunk_mut::<4>() {
                *end = accepted.to_le_bytes();
            }
            post(session, group, payload.clone()).await?;
            accepted += 1;
        }
        anyhow::Ok(accepted)
    });
    let total = f64::from(try_join_all(senders).await?.into_iter().sum::<u32>());
    let rate = total / begin.elapsed().as_secs_f64();
    let (server_micros, client) = cpu.micros_each(total)?;
    Ok(Posts { rate, server: server_micros, client, flushes: (count(server, FLUSHES)? - flushes) / total })
}

/// The same over bare QUIC: a stream each, as much there, a short answer back.
async fn echo_all(peer: &Peer, connections: &[(Endpoint, Connection)]) -> Result<Echoes> {
    let cpu = Cpu::start(peer.pid())?;
    let begin = Instant::now();
    let senders = connections.iter().map(|(_, connection)| async move {
        let (mut sender, mut receiver) = stream(connection, ANSWER).await?;
        let (mut answers, payload) = (0u32, [7; REQUEST]);
        while begin.elapsed() < DURATION / 3 {
            sender.write_all(&payload).await?;
            receiver.read_exact(&mut [0; RESPONSE]).await?;
            answers += 1;
        }
        anyhow::Ok(answers)
    });
    Echoes::of(try_join_all(senders).await?, begin, &cpu)
}

/// The same over our RPC: calls without content, to which the server says the same each time.
async fn call_all(server: &Server, sessions: &[Session]) -> Result<Echoes> {
    let cpu = Cpu::start(server.pid())?;
    let begin = Instant::now();
    let callers = sessions.iter().map(|session| async move {
        let mut answers = 0u32;
        while begin.elapsed() < DURATION / 3 {
            session.gateway.hello_request().send().promise.await?;
            answers += 1;
        }
        anyhow::Ok(answers)
    });
    Echoes::of(try_join_all(callers).await?, begin, &cpu)
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
    let mut id = GroupId([0; 16]);
    getrandom::fill(&mut id.0)?;
    let device = Device::of(&session.account);
    let group = device.group_with_id(&id.0)?;
    let group_info =
        group.export_group_info(device.provider.crypto(), &device.signer, false)?.tls_serialize_detached()?;
    let ratchet_tree = group.export_ratchet_tree().tls_serialize_detached()?;
    let mut request = session.groups.create_request();
    NewGroup { group_info, ratchet_tree, first: None }.write(request.get().init_group());
    let response = request.send().promise.await?;
    let created = matches!(response.get()?.get_reply()?.which()?, create_reply::Created(_));
    ensure!(created, "the group was refused");
    Ok(id)
}

const ROUNDS: u32 = 5;
const DURATION: Duration = Duration::from_millis(1500);
