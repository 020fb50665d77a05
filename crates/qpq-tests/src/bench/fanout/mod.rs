//! One message to many devices that are online: how long until the last one has it, and what each costs the server.

mod bare;
mod roster;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use qpq_core::store::rows::AccountRow;
use qpq_proto::generated::stream_capnp;
use qpq_proto::ids::GroupId;
use qpq_proto::stream::LogId;
use tempfile::tempdir;
use tokio::sync::Notify;

use super::post::{GENEROUS, post, private_message};
use super::probe::Cpu;
use super::session::{Session, block_on, resume};
use super::sink::Sink;
use super::{Axis, Figure, Line, Measured, Plot, Target, percentile};
use crate::world::Server;

/// The same devices are in groups of several sizes. They are written into the server's database between two of its lives,
/// because nothing here depends on MLS, and 1000 key packages do take their time.
pub fn run() -> Result<Measured> {
    let data = tempdir()?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", GENEROUS)?;
    let (accounts, groups) = block_on(roster::prepared(&server.address.parse()?, &SIZES))?;
    server.terminate()?;
    roster::enrol(data.path(), &accounts, &groups)?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", GENEROUS)?;
    let sizes = block_on(measured(&server, &accounts, &groups))?;
    server.terminate()?;
    let (messages, bytes) = roster::stored(data.path())?;
    ensure!(messages as usize == WARM_UP + ROUNDS + BURSTS * BURST, "{messages} messages are stored");

    let bare = block_on(bare::bare(MOST))?;
    let Some(Spread { p50, burst, server_cpu, .. }) = sizes.last() else { unreachable!("there are sizes") };
    let mut figures: Vec<Figure> = sizes.iter().map(Spread::latency).collect();
    figures.push(Figure {
        name: "fanout: deliveries per second".into(),
        measured: format!("{burst:.0}/s to {MOST} devices"),
        limit: format!("{DELIVERIES:.0}/s, clients on the same machine"),
        ratio: burst / DELIVERIES,
        target: Target::AtLeast(1.0),
    });
    figures.push(Figure {
        name: "fanout: server CPU a device".into(),
        measured: format!("{server_cpu:.1} µs"),
        limit: format!("{CPU_MICROS} µs"),
        ratio: server_cpu / CPU_MICROS,
        target: Target::AtMost(1.0),
    });
    let beside = |name: &str, measured: f64, limit: f64, unit: &str| Figure {
        name: format!("fanout: {name}, bare QUIC"),
        measured: format!("{measured:.1} {unit}"),
        limit: format!("{limit:.1} {unit}, written to {MOST} bare connections"),
        ratio: measured / limit,
        target: Target::Orientation,
    };
    figures.push(beside("last device", *p50, bare.p50, "ms"));
    figures.push(beside("server CPU a device", *server_cpu, bare.server_cpu, "µs"));
    figures.push(Figure {
        name: "fanout: stored per message".into(),
        measured: format!("{:.0} bytes of payload", bytes / messages),
        limit: format!("{} bytes posted, whatever the size", payload_length()?),
        ratio: bytes / messages / payload_length()? as f64,
        target: Target::AtMost(1.0),
    });
    let points = |of: fn(&Spread) -> f64| sizes.iter().map(|spread| (spread.devices as f64, of(spread))).collect();
    let line = |name: &str, points| Line { name: name.into(), points };
    let plot = |title: &str, unit: &str, lines| Plot {
        title: title.into(),
        x: Axis::logarithmic("devices"),
        y: Axis::linear(unit),
        lines,
    };
    let plots = vec![
        plot(
            "fanout: until the last device has it",
            "ms",
            vec![line("p50", points(|spread| spread.p50)), line("p99", points(|spread| spread.p99))],
        ),
        plot(
            "fanout: CPU of a delivery",
            "µs",
            vec![
                line("server", points(|spread| spread.server_cpu)),
                line("client", points(|spread| spread.client_cpu)),
            ],
        ),
    ];
    Ok(Measured { figures, plots })
}

/// What a message cost with so many devices.
struct Spread {
    devices: usize,
    /// Milliseconds until the last one had it.
    p50: f64,
    p99: f64,
    /// Microseconds for each device.
    server_cpu: f64,
    client_cpu: f64,
    /// Deliveries per second when many messages come at once.
    burst: f64,
}

impl Spread {
    fn latency(&self) -> Figure {
        let Self { devices, p50, p99, server_cpu, client_cpu, .. } = self;
        Figure {
            name: format!("fanout: to {devices} devices"),
            measured: format!(
                "p50 {p50:.2} ms, p99 {p99:.2} ms (CPU µs a device: server {server_cpu:.1}, client {client_cpu:.1})"
            ),
            limit: format!("{LATE} ms"),
            ratio: p50 / LATE,
            target: Target::AtMost(1.0),
        }
    }
}

/// Counts what all devices get.
#[derive(Default)]
struct Arrivals {
    awaited: Cell<usize>,
    all: Notify,
}

impl Arrivals {
    fn one(&self) {
        self.awaited.set(self.awaited.get().saturating_sub(1));
        if self.awaited.get() == 0 {
            self.all.notify_one();
        }
    }
}

async fn measured(server: &Server, accounts: &[AccountRow], groups: &[(usize, GroupId)]) -> Result<Vec<Spread>> {
    let address = server.address.parse()?;
    let arrivals = Rc::new(Arrivals::default());
    let mut devices: Vec<(Session, stream_capnp::stream::Client)> = Vec::new();
    for (number, account) in accounts.iter().enumerate() {
        let session = resume(&address, account).await?;
        let arrivals = arrivals.clone();
        let logs = groups.iter().filter(|(size, _)| number < *size).map(|(_, group)| LogId::Group(*group));
        let sink = Sink::client(move |_| arrivals.one(), || {});
        let stream = session.listen(sink, &logs.collect::<Vec<_>>()).await?;
        devices.push((session, stream));
    }
    let poster = &devices.first().context("a poster")?.0;
    let mut sizes = Vec::new();
    for (size, group) in groups {
        let mut times = Vec::new();
        let send = async |messages: usize| -> Result<f64> {
            arrivals.awaited.set(messages * size);
            let payloads = (0..messages).map(|_| private_message(*group)).collect::<Result<Vec<_>>>()?;
            let begin = Instant::now();
            try_join_all(payloads.into_iter().map(|payload| post(poster, *group, payload))).await?;
            arrivals.all.notified().await;
            Ok(begin.elapsed().as_secs_f64())
        };
        send(WARM_UP).await?;
        let cpu = Cpu::start(server.pid())?;
        let rounds = if *size < MOST { ROUNDS * 4 } else { ROUNDS };
        for _ in 0..rounds {
            times.push(send(1).await? * 1000.0);
        }
        let (server_cpu, client_cpu) = cpu.micros_each((rounds * size) as f64)?;
        let mut bursts = Vec::new();
        for _ in 0..BURSTS {
            bursts.push((BURST * size) as f64 / send(BURST).await?);
        }
        let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
        sizes.push(Spread { devices: *size, p50, p99, server_cpu, client_cpu, burst: percentile(&mut bursts, 0.5) });
    }
    Ok(sizes)
}

fn payload_length() -> Result<usize> {
    Ok(private_message(GroupId([0; 16]))?.len())
}

const SIZES: [usize; 4] = [1, 10, 100, MOST];
const MOST: usize = 1000;
const WARM_UP: usize = 5;
const ROUNDS: usize = 50;
const BURSTS: usize = 5;
const BURST: usize = 30;

/// Milliseconds, of 1000 devices.
const LATE: f64 = 25.0;
const DELIVERIES: f64 = 40_000.0;
const CPU_MICROS: f64 = 15.0;
