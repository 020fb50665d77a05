//! The same messages over bare QUIC: written to as many connections, with nothing above the streams.

use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;
use quinn::{Connection, Endpoint, SendStream};

use super::{Arrivals, ROUNDS, WARM_UP};
use crate::bench::peer::{LISTEN, Peer, REQUEST, SPREAD, stream};
use crate::bench::percentile;
use crate::bench::probe::Cpu;

/// What a message costs with so many listeners.
pub struct Bare {
    /// Milliseconds until the last one had it.
    pub p50: f64,
    /// Microseconds for each listener.
    pub server_cpu: f64,
}

/// Must run inside a `LocalSet`.
pub async fn bare(listeners: usize) -> Result<Bare> {
    let peer = Peer::start()?;
    let arrivals = Rc::new(Arrivals::default());
    let mut connections: Vec<(Endpoint, Connection, SendStream)> = Vec::new();
    for _ in 0..listeners {
        let (endpoint, connection) = peer.connect().await?;
        let (sender, mut receiver) = stream(&connection, LISTEN).await?;
        receiver.read_exact(&mut [0]).await?;
        let arrivals = arrivals.clone();
        tokio::task::spawn_local(async move {
            while receiver.read_exact(&mut [0; REQUEST]).await.is_ok() {
                arrivals.one();
            }
        });
        connections.push((endpoint, connection, sender));
    }
    let (_endpoint, connection) = peer.connect().await?;
    let (mut sender, _receiver) = stream(&connection, SPREAD).await?;
    let mut send = async || -> Result<f64> {
        arrivals.awaited.set(listeners);
        let begin = Instant::now();
        sender.write_all(&[7; REQUEST]).await?;
        arrivals.all.notified().await;
        Ok(begin.elapsed().as_secs_f64() * 1000.0)
    };
    for _ in 0..WARM_UP {
        send().await?;
    }
    let cpu = Cpu::start(peer.pid())?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(send().await?);
    }
    let (server_cpu, _) = cpu.micros_each((ROUNDS * listeners) as f64)?;
    Ok(Bare { p50: percentile(&mut times, 0.5), server_cpu })
}
