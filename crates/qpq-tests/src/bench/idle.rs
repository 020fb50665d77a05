//! What an idle connected client costs the server in memory.

use anyhow::Result;
use qpq_core::store::rows::AccountRow;
use qpq_io::rpc::connect::ServerAddress;
use qpq_proto::generated::stream_capnp;
use qpq_proto::stream::LogId;

use super::peer::{ECHO, Peer, stream};
use super::probe::resident_kib;
use super::session::{Session, block_on, register, resume};
use super::sink::Sink;
use super::{Figure, Measured, Target};
use crate::world::Server;

/// 2,000 connected devices, each with an open stream. What is measured is what connections cost: the accounts are there
/// when the server starts, and the page caches of its database, which are bounded, have been filled with them before.
pub fn run() -> Result<Measured> {
    let data = tempfile::tempdir()?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let accounts = block_on(registered(server.address.parse()?))?;
    server.terminate()?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let address = server.address.parse()?;
    let per_client = block_on(async {
        let (warm_up, accounts) = accounts.split_at(WARM_UP as usize);
        let mut sessions = Vec::new();
        for account in warm_up {
            sessions.push(connected(&address, account).await?);
        }
        look_up(&sessions[0].0, accounts).await?;
        let before = resident_kib(server.pid())?;
        for account in accounts {
            sessions.push(connected(&address, account).await?);
        }
        let after = resident_kib(server.pid())?;
        Ok((after - before) / f64::from(CLIENTS))
    })?;
    drop(server);
    let bare = block_on(bare())?;
    let figure = |name: &str, limit: f64, what: &str, target| Figure {
        name: name.into(),
        measured: format!("{per_client:.1} KiB of {CLIENTS} clients"),
        limit: format!("{limit:.1} KiB{what}"),
        ratio: per_client / limit,
        target: Target::AtMost(target),
    };
    Ok(vec![
        figure("idle: memory per client", 64.0, "", 1.0),
        figure("idle: against bare QUIC", bare, ", a bare connection with a stream", 2.0),
    ]
    .into())
}

async fn registered(address: ServerAddress) -> Result<Vec<AccountRow>> {
    let mut accounts = Vec::new();
    for number in 0..WARM_UP + CLIENTS {
        accounts.push(register(&address, &format!("idle-{number}")).await?.account);
    }
    Ok(accounts)
}

/// Reads all accounts, so often that every reading thread has come across nearly each of them.
async fn look_up(session: &Session, accounts: &[AccountRow]) -> Result<()> {
    for _ in 0..ROUNDS {
        for some in accounts.chunks(IN_FLIGHT) {
            let answers: Vec<_> = some
                .iter()
                .map(|account| {
                    let mut request = session.directory.by_identity_request();
                    request.get().set_identity(&account.identity.0);
                    request.send().promise
                })
                .collect();
            for answer in answers {
                answer.await?;
            }
        }
    }
    Ok(())
}

async fn connected(address: &ServerAddress, account: &AccountRow) -> Result<(Session, stream_capnp::stream::Client)> {
    let session = resume(address, account).await?;
    let stream = session.listen(Sink::silent(), &[LogId::Inbox]).await?;
    Ok((session, stream))
}

/// The same connections, each with a stream, without us.
async fn bare() -> Result<f64> {
    let peer = Peer::start()?;
    let mut connections = Vec::new();
    let mut before = 0.0;
    for number in 0..WARM_UP + CLIENTS {
        if number == WARM_UP {
            before = resident_kib(peer.pid())?;
        }
        let connected = peer.connect().await?;
        let (mut sender, mut receiver) = stream(&connected.1, ECHO).await?;
        sender.write_all(&[0; 100]).await?;
        receiver.read_exact(&mut [0; 100]).await?;
        connections.push((connected, sender, receiver));
    }
    Ok((resident_kib(peer.pid())? - before) / f64::from(CLIENTS))
}

const WARM_UP: u32 = 100;
const CLIENTS: u32 = 2000;
const ROUNDS: u32 = 8;
const IN_FLIGHT: usize = 32;
