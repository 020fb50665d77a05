//! Groups of two to a thousand: what creating, changing and joining one costs, against the same OpenMLS calls without us.

mod without_us;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use openmls::prelude::tls_codec::Serialize as _;
use qpq_client::{Client, ConversationId, IdentityId, Options, Suite};
use tempfile::tempdir;

use super::mls::Device;
use super::people::{self, PATIENCE, member, person_at};
use super::probe::{Cpu, relay_seconds};
use super::session::block_on;
use super::{Axis, Figure, Line, Measured, Plot, Target, median};
use crate::relay::Relay;
use crate::world::Server;
use without_us::without_us;

/// Somebody makes groups of others who have key packages and are not there, and one who comes to join.
pub fn run() -> Result<Measured> {
    let (data, folder) = (tempdir()?, tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let address = server.address.parse()?;
    let most = SIZES[SIZES.len() - 1];
    block_on(async {
        for number in 1..most {
            member(&address, &format!("member-{number}")).await?;
        }
        Ok(())
    })?;
    let relay = Relay::start(&server.address, 1)?;
    let alice = person_at(&relay.address, folder.path(), "alice")?;
    person_at(&relay.address, folder.path(), "bob")?.close();
    let bob = people::options(&relay.address, folder.path(), "bob")?;
    let names = std::iter::once("bob".to_owned()).chain((1..most).map(|number| format!("member-{number}")));
    let identities =
        names.map(|name| Ok(alice.resolve(&name.parse()?, PATIENCE)?.identity)).collect::<Result<Vec<_>>>()?;
    let bench = Bench { server, relay, alice, bob, identities };
    let packages =
        (1..most).map(|_| Ok(Device::new()?.package(true)?.tls_serialize_detached()?)).collect::<Result<Vec<_>>>()?;

    let mut sizes = Vec::new();
    for size in SIZES {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        let begin = Instant::now();
        while ours.is_empty() || (ours.len() < REPETITIONS && begin.elapsed() < LONG) {
            ours.push(bench.round(size)?);
            bare.push(without_us(&packages[..size - 1])?);
        }
        sizes.push(Size { members: size, ours: medians(&ours), bare: medians(&bare) });
    }
    Ok(Measured { figures: figures(&sizes), plots: plots(&sizes) })
}

/// What is done, in this order.
const STEPS: [&str; 4] = ["create", "update a leaf", "add one", "join"];

/// What a step took.
#[derive(Clone, Copy, Default)]
struct Work {
    /// Milliseconds of CPU, of the client and of the server.
    client: f64,
    server: f64,
    /// On the wire, both ways.
    bytes: f64,
}

struct Bench {
    server: Server,
    relay: Relay,
    alice: Client,
    bob: Options,
    /// Bob, and those who are never there.
    identities: Vec<IdentityId>,
}

impl Bench {
    fn round(&self, size: usize) -> Result<[Work; 4]> {
        let alice = &self.alice;
        let mut group = None;
        let create = self.measured(|| {
            let (id, wish) = alice.create_group("bench", &self.identities[1..size], Suite::Hybrid)?;
            group = Some(id);
            alice.wait(wish, PATIENCE)?;
            Ok(alice.wait_settled(PATIENCE)?)
        })?;
        let group = group.context("it was made")?;
        let update = self.measured(|| {
            alice.wait(alice.update_key(group)?, PATIENCE)?;
            Ok(alice.wait_settled(PATIENCE)?)
        })?;
        // What it takes bob to connect although nothing waits for him.
        let alone = self.come()?.1;
        let add = self.measured(|| {
            alice.wait(alice.invite(group, &self.identities[..1])?, PATIENCE)?;
            Ok(alice.wait_settled(PATIENCE)?)
        })?;
        let (groups, join) = self.come()?;
        ensure!(groups.contains(&group), "bob did not get into the group");
        let join = Work {
            client: (join.client - alone.client).max(0.0),
            server: (join.server - alone.server).max(0.0),
            bytes: (join.bytes - alone.bytes).max(0.0),
        };
        Ok([create, update, add, join])
    }

    /// Bob connects, takes what waits, and goes.
    fn come(&self) -> Result<(Vec<ConversationId>, Work)> {
        let bob = people::open(&self.bob)?;
        let work = self.measured(|| {
            bob.connect();
            Ok(bob.wait_settled(PATIENCE)?)
        })?;
        let groups = bob.conversations()?.iter().map(|conversation| conversation.id).collect();
        bob.close();
        Ok((groups, work))
    }

    fn measured(&self, step: impl FnOnce() -> Result<()>) -> Result<Work> {
        let (cpu, bytes) = (Cpu::start(self.server.pid())?, self.relay.passed());
        // What the relay does in this process is not the client's.
        let relay = relay_seconds()?;
        step()?;
        let (server, own) = cpu.micros_each(1000.0)?;
        let relay = (relay_seconds()? - relay) * 1000.0;
        Ok(Work { client: own - relay, server, bytes: (self.relay.passed() - bytes) as f64 })
    }
}

/// What the steps took in groups of one size.
struct Size {
    members: usize,
    ours: [Work; 4],
    bare: [Work; 4],
}

fn medians(rounds: &[[Work; 4]]) -> [Work; 4] {
    std::array::from_fn(|step| {
        let of =
            |what: fn(&Work) -> f64| median(&mut rounds.iter().map(|round| what(&round[step])).collect::<Vec<_>>());
        Work { client: of(|work| work.client), server: of(|work| work.server), bytes: of(|work| work.bytes) }
    })
}

fn figures(sizes: &[Size]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for Size { members, ours, bare } in sizes {
        for (step, (ours, bare)) in STEPS.iter().zip(ours.iter().zip(bare)) {
            figures.push(Figure {
                name: format!("group of {members}: {step}"),
                measured: format!("{:.2} ms CPU (server {:.2} ms)", ours.client, ours.server),
                limit: format!("{:.2} ms of OpenMLS", bare.client),
                ratio: ours.client / bare.client,
                target: Target::AtMost(1.3),
            });
            figures.push(Figure {
                name: format!("group of {members}: {step}, wire"),
                measured: format!("{:.1} KiB", ours.bytes / 1024.0),
                limit: format!("{:.1} KiB of MLS", bare.bytes / 1024.0),
                ratio: ours.bytes / bare.bytes,
                target: Target::AtMost(1.05),
            });
        }
    }
    figures
}

fn plots(sizes: &[Size]) -> Vec<Plot> {
    let plot = |step: usize, what: &str, unit: &str, of: fn(&Work) -> f64| Plot {
        title: format!("group: {}, {what}", STEPS[step]),
        x: Axis::logarithmic("devices"),
        y: Axis::linear(unit),
        lines: vec![
            Line { name: "ours".into(), points: points(sizes, |size| of(&size.ours[step])) },
            Line { name: "OpenMLS".into(), points: points(sizes, |size| of(&size.bare[step])) },
        ],
    };
    let of_a_step = |step| {
        [
            plot(step, "CPU of the client", "ms", |work| work.client),
            plot(step, "on the wire", "KiB", |work| work.bytes / 1024.0),
        ]
    };
    (0..STEPS.len()).flat_map(of_a_step).collect()
}

fn points(sizes: &[Size], of: impl Fn(&Size) -> f64) -> Vec<(f64, f64)> {
    sizes.iter().map(|size| (size.members as f64, of(size))).collect()
}

const SIZES: [usize; 4] = [2, 10, 100, 1000];
const REPETITIONS: usize = 5;
/// No other repetition begins after it.
const LONG: Duration = Duration::from_secs(20);
