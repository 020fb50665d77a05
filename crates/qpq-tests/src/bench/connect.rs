//! From nothing to `caughtUp`: handshake, the device's proof, the stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use qpq_client::EventKind;
use qpq_core::store::rows::AccountRow;
use qpq_io::rpc::connect::ServerAddress;
use qpq_proto::stream::LogId;
use tempfile::tempdir;
use tokio::sync::Notify;

use super::peer::Peer;
use super::people::{self, PATIENCE};
use super::probe::Cpu;
use super::session::{block_on, resume};
use super::sink::Sink;
use super::{Figure, Measured, Plot, Target, median, percentile};
use crate::relay::{Relay, Weather};
use crate::world::Server;

/// CPU time of both ends against bare handshakes in turns, and round trips over a slow network.
pub fn run() -> Result<Measured> {
    let data = tempdir()?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let Measured { mut figures, plots } = block_on(work(&server))?;
    figures.push(round_trips(&server)?);
    Ok(Measured { figures, plots })
}

async fn work(server: &Server) -> Result<Measured> {
    let address: ServerAddress = server.address.parse()?;
    // Enough that the server does not ask for more.
    let account = people::stocked(&address, "somebody", 50).await?.account;
    let peer = Peer::start()?;
    let (mut ours, mut bare, mut ratios, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let cpu = Cpu::start(server.pid())?;
        for _ in 0..IN_A_ROUND {
            let begin = Instant::now();
            caught_up(&address, &account).await?;
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        ours.push(cpu.micros_each(f64::from(IN_A_ROUND))?);
        let cpu = Cpu::start(peer.pid())?;
        for _ in 0..IN_A_ROUND {
            peer.connect().await?;
        }
        bare.push(cpu.micros_each(f64::from(IN_A_ROUND))?);
    }
    for (ours, bare) in ours.iter().zip(&bare) {
        ratios.push((ours.0 + ours.1) / (bare.0 + bare.1));
    }
    let medians = |sides: &[(f64, f64)]| {
        let server = median(&mut sides.iter().map(|(server, _)| *server).collect::<Vec<_>>());
        (server, median(&mut sides.iter().map(|(_, client)| *client).collect::<Vec<_>>()))
    };
    let (ours, bare) = (medians(&ours), medians(&bare));
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    let figures = vec![Figure {
        name: "connect: CPU to caughtUp".into(),
        measured: format!("server {:.0} + client {:.0} µs (p50 {p50:.2}, p99 {p99:.2} ms)", ours.0, ours.1),
        limit: format!("bare handshake, server {:.0} + client {:.0} µs", bare.0, bare.1),
        ratio: median(&mut ratios),
        target: Target::AtMost(1.5),
    }];
    Ok(Measured { figures, plots: vec![Plot::distribution("connect: to caughtUp", &mut times)] })
}

async fn caught_up(address: &ServerAddress, account: &AccountRow) -> Result<()> {
    let session = resume(address, account).await?;
    let notice = Arc::new(Notify::new());
    let told = notice.clone();
    let _stream = session.listen(Sink::client(|_| {}, move || told.notify_one()), &[LogId::Inbox]).await?;
    notice.notified().await;
    Ok(())
}

/// What our own client needs until it shows what has been waiting, over a network that delays everything.
fn round_trips(server: &Server) -> Result<Figure> {
    let folder = tempdir()?;
    let relay = Relay::start(&server.address, 1)?;
    let traveller = people::person_at(&relay.address, folder.path(), "traveller")?;
    let friend = people::person(server, folder.path(), "friend")?;
    let conversation = friend.direct(friend.resolve(&"traveller".parse()?, PATIENCE)?.identity)?;
    friend.send_text(conversation, "are you there?")?;
    traveller.wait_settled(PATIENCE)?;
    friend.wait_settled(PATIENCE)?;
    traveller.close();
    let options = people::options(&relay.address, folder.path(), "traveller")?;
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..TRIPS {
        for (delay, times) in [(Duration::ZERO, &mut near), (ONE_WAY, &mut far)] {
            relay.set_weather(Weather { delay: delay..delay, ..Weather::default() });
            let waiting = friend.send_text(conversation, "and now?")?;
            friend.wait_settled(PATIENCE)?;
            let traveller = people::open(&options)?;
            let mut events = traveller.events("bench")?;
            let begin = Instant::now();
            traveller.connect();
            loop {
                let event = events.next(PATIENCE)?.context("the message never came")?;
                if matches!(&event.kind, EventKind::Message(shown) if shown.id == waiting) {
                    break;
                }
            }
            times.push(begin.elapsed().as_secs_f64());
            traveller.wait_settled(PATIENCE)?;
            traveller.close();
        }
    }
    let (near, far) = (median(&mut near), median(&mut far));
    let trips = (far - near) / (2.0 * ONE_WAY.as_secs_f64());
    Ok(Figure {
        name: "connect: round trips".into(),
        measured: format!("{trips:.1} until what has been waiting is shown"),
        limit: format!("3 ({:.0} ms at 100 ms each, {:.0} ms at none)", far * 1000.0, near * 1000.0),
        ratio: trips / 3.0,
        target: Target::AtMost(1.05),
    })
}

const ROUNDS: u32 = 5;
const IN_A_ROUND: u32 = 200;
const TRIPS: u32 = 5;
const ONE_WAY: Duration = Duration::from_millis(50);
