//! What an idle connected client costs the server in memory.

use anyhow::Result;
use qpq_core::store::rows::AccountRow;
use qpq_io::rpc::connect::ServerAddress;
use qpq_proto::generated::stream_capnp::stream;
use qpq_proto::ids::Seq;
use qpq_proto::stream::LogId;

use super::probe::resident_kib;
use super::session::{NullSink, Session, block_on, register, resume};
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
    Ok(vec![Figure {
        name: "idle: memory per client".into(),
        measured: format!("{per_client:.1} KiB of {CLIENTS} clients"),
        limit: "64 KiB".into(),
        ratio: per_client / 64.0,
        target: Target::AtMost(1.0),
    }]
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

async fn connected(address: &ServerAddress, account: &AccountRow) -> Result<(Session, stream::Client)> {
    let session = resume(address, account).await?;
    let mut request = session.delivery.open_request();
    request.get().set_sink(capnp_rpc::new_client(NullSink));
    let stream = request.send().pipeline.get_stream();
    let mut request = stream.subscribe_request();
    LogId::Inbox.write(request.get().init_log());
    request.get().set_after(Seq(0).0);
    request.send().promise.await?;
    Ok((session, stream))
}

const WARM_UP: u32 = 100;
const CLIENTS: u32 = 2000;
const ROUNDS: u32 = 8;
const IN_FLIGHT: usize = 32;
