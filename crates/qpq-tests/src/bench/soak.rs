//! Many idle and some active devices for a long time: how late messages come, whether any is lost or comes twice, and whether
//! the server's memory grows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qpq_io::rpc::connect::ServerAddress;
use qpq_proto::generated::stream_capnp::{event_sink, stream};
use qpq_proto::ids::{GroupId, Seq};
use qpq_proto::stream::{LogId, Position};

use super::post::{notepad, post, private_message};
use super::probe::resident_kib;
use super::session::{Session, block_on, register};
use super::sink::Sink;
use super::{Axis, Figure, Line, Measured, Options, Plot, Target, percentile};
use crate::world::Server;

/// Active devices post once a second into a group of their own, which comes back to them like anybody's message.
pub fn run(options: &Options) -> Result<Measured> {
    let data = tempfile::tempdir()?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let memory = block_on(soak(&server, options, &tally))?;
    let tally = tally.take();
    let duration = options.soak.as_secs_f64();

    let mut latencies: Vec<f64> = tally.arrived.iter().map(|(_, latency)| *latency).collect();
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| percentile(&mut latencies, share));
    // What is loaded and cached at first belongs to every server.
    let warm: Vec<_> = memory.iter().copied().filter(|(at, _)| *at >= duration / 3.0).collect();
    let (early, late) = warm.split_at(warm.len() / 2);
    let (early, late) = (mean(early), mean(late));
    let lost = tally.waiting.len();
    let figures = vec![
        Figure {
            name: "soak: lost or twice".into(),
            measured: format!("{lost} lost, {} twice", tally.twice),
            limit: format!("{} messages in {duration:.0} s", latencies.len()),
            ratio: f64::from(tally.twice) + lost as f64,
            target: Target::AtMost(0.0),
        },
        Figure {
            name: "soak: delivery p99".into(),
            measured: format!("p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms"),
            limit: format!("{LATE} ms, {} idle and {} active devices", options.idle, options.active),
            ratio: p99 / LATE,
            target: Target::AtMost(1.0),
        },
        Figure {
            name: "soak: memory after warm-up".into(),
            measured: format!("{late:.0} KiB in the last third"),
            limit: format!("{early:.0} KiB in the second"),
            ratio: late / early,
            target: Target::AtMost(1.02),
        },
    ];
    let line = |name: &str, points| Line { name: name.into(), points };
    let windows = (0..WINDOWS).map(|window| {
        let (from, to) = (duration / WINDOWS as f64 * window as f64, duration / WINDOWS as f64 * (window + 1) as f64);
        let inside = tally.arrived.iter().filter(|(at, _)| *at >= from && *at < to);
        (to, inside.map(|(_, latency)| *latency).collect::<Vec<f64>>())
    });
    let windows: Vec<_> = windows.filter(|(_, latencies)| !latencies.is_empty()).collect();
    let over_time =
        |share| windows.iter().map(|(at, latencies)| (*at, percentile(&mut latencies.clone(), share))).collect();
    let plots = vec![
        Plot {
            title: "soak: delivery over time".into(),
            x: Axis::linear("seconds"),
            y: Axis::linear("ms"),
            lines: vec![line("p50", over_time(0.5)), line("p99", over_time(0.99))],
        },
        Plot {
            title: "soak: the server's memory".into(),
            x: Axis::linear("seconds"),
            y: Axis::linear("MiB"),
            lines: vec![line("resident", memory.iter().map(|(at, kib)| (*at, kib / 1024.0)).collect())],
        },
        Plot::distribution("soak: delivery", &mut latencies),
    ];
    Ok(Measured { figures, plots })
}

/// What was sent and has come back.
#[derive(Default)]
struct Tally {
    waiting: HashMap<(u32, u32), Instant>,
    /// Seconds since the start, and how long it took, in milliseconds.
    arrived: Vec<(f64, f64)>,
    twice: u32,
    start: Option<Instant>,
}

/// Answers samples of the server's memory: seconds and KiB.
async fn soak(server: &Server, options: &Options, tally: &Rc<RefCell<Tally>>) -> Result<Vec<(f64, f64)>> {
    let address: ServerAddress = server.address.parse()?;
    let mut idle = Vec::new();
    for number in 0..options.idle {
        let session = register(&address, &format!("idle-{number}")).await?;
        let stream = session.listen(Sink::silent(), &[LogId::Inbox]).await?;
        idle.push((session, stream));
    }
    let mut active = Vec::new();
    for number in 0..options.active {
        let session = register(&address, &format!("active-{number}")).await?;
        let group = notepad(&session).await?;
        let handle = Rc::new(RefCell::new(None));
        let sink = Counting { number, group, tally: tally.clone(), stream: handle.clone() };
        let stream = session.listen(capnp_rpc::new_client(sink), &[LogId::Group(group)]).await?;
        *handle.borrow_mut() = Some(stream);
        active.push((number, session, group));
    }

    let start = Instant::now();
    tally.borrow_mut().start = Some(start);
    let mut senders = Vec::new();
    let count = active.len() as u32;
    for (number, session, group) in active {
        // Spread over the second.
        let first = start + PERIOD * number / count.max(1);
        let sending = send(number, session, group, first, start + options.soak, tally.clone());
        senders.push(tokio::task::spawn_local(sending));
    }
    let mut memory = Vec::new();
    let samples = options.soak / SAMPLES;
    for sample in 0..SAMPLES {
        tokio::time::sleep_until((start + samples * (sample + 1)).into()).await;
        memory.push((start.elapsed().as_secs_f64(), resident_kib(server.pid())?));
    }
    let mut sessions = Vec::new();
    for sender in senders {
        sessions.push(sender.await??);
    }
    // The last ones may still be on their way.
    let deadline = Instant::now() + PATIENCE;
    while !tally.borrow().waiting.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(sessions.len() as u32 == count && idle.len() as u32 == options.idle, "somebody is missing");
    Ok(memory)
}

async fn send(
    number: u32,
    session: Session,
    group: GroupId,
    first: Instant,
    end: Instant,
    tally: Rc<RefCell<Tally>>,
) -> Result<Session> {
    let mut payload = private_message(group)?;
    for round in 0.. {
        let at = first + PERIOD * round;
        if at >= end {
            break;
        }
        tokio::time::sleep_until(at.into()).await;
        *payload.last_chunk_mut::<4>().context("a payload")? = round.to_le_bytes();
        tally.borrow_mut().waiting.insert((number, round), Instant::now());
        post(&session, group, payload.clone()).await?;
    }
    Ok(session)
}

/// Counts what comes, and acknowledges it, so that the server can forget it.
struct Counting {
    number: u32,
    group: GroupId,
    tally: Rc<RefCell<Tally>>,
    stream: Rc<RefCell<Option<stream::Client>>>,
}

impl event_sink::Server for Counting {
    async fn push(self: Rc<Self>, params: event_sink::PushParams) -> Result<(), capnp::Error> {
        let mut newest = 0;
        for entry in params.get()?.get_entries()? {
            newest = entry.get_seq();
            let Some(end) = entry.get_payload()?.last_chunk::<4>() else { continue };
            let key = (self.number, u32::from_le_bytes(*end));
            let mut tally = self.tally.borrow_mut();
            match (tally.waiting.remove(&key), tally.start) {
                (Some(sent), Some(start)) => {
                    tally.arrived.push((start.elapsed().as_secs_f64(), sent.elapsed().as_secs_f64() * 1000.0));
                }
                (_, _) => tally.twice += 1,
            }
        }
        let stream = self.stream.borrow().clone();
        if let Some(stream) = stream {
            let mut request = stream.acknowledge_request();
            let position = Position { log: LogId::Group(self.group), seq: Seq(newest) };
            Position::write_list(&[position], request.get().init_positions(1));
            request.send().promise.await?;
        }
        Ok(())
    }

    async fn caught_up(
        self: Rc<Self>,
        _: event_sink::CaughtUpParams,
        _: event_sink::CaughtUpResults,
    ) -> Result<(), capnp::Error> {
        Ok(())
    }

    async fn heartbeat(
        self: Rc<Self>,
        _: event_sink::HeartbeatParams,
        _: event_sink::HeartbeatResults,
    ) -> Result<(), capnp::Error> {
        Ok(())
    }

    async fn key_packages_low(
        self: Rc<Self>,
        _: event_sink::KeyPackagesLowParams,
        _: event_sink::KeyPackagesLowResults,
    ) -> Result<(), capnp::Error> {
        Ok(())
    }
}

fn mean(samples: &[(f64, f64)]) -> f64 {
    samples.iter().map(|(_, value)| value).sum::<f64>() / samples.len().max(1) as f64
}

const PERIOD: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);
const SAMPLES: u32 = 60;
const WINDOWS: usize = 30;

/// Milliseconds that nobody notices.
const LATE: f64 = 100.0;
