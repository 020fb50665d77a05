//! All members of a group change it at once, until all of them have: what the collisions cost.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use qpq_client::{Client, ConversationId, Epoch, Suite};
use tempfile::tempdir;

use super::people::{PATIENCE, person};
use super::probe::{Cpu, count_with};
use super::{Figure, Measured, Options, Target, median};
use crate::world::Server;

/// In turns: some of them one after the other, and everybody at once. Each time all have to see what all have changed.
pub fn run(options: &Options) -> Result<Measured> {
    let (data, folder) = (tempdir()?, tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    let group = Group::new(&server, folder.path(), options.members)?;
    // The first commits in a new group carry a key for every member (RFC 9420, section 7.6): everybody has made one then.
    group.at_once()?;
    let (mut alone, mut together, mut superseded) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(group.measured(IN_TURNS.min(options.members), || group.in_turns())?);
        let before = count_with(&server, "qpq_commits_total", "superseded")?;
        together.push(group.measured(options.members, || group.at_once())?);
        let refused = count_with(&server, "qpq_commits_total", "superseded")? - before;
        superseded.push(refused / f64::from(options.members));
    }
    let of = |rounds: &[Commits], what: fn(&Commits) -> f64| median(&mut rounds.iter().map(what).collect::<Vec<_>>());
    let mut ratios: Vec<_> = together.iter().zip(&alone).map(|(one, other)| one.work() / other.work()).collect();
    Ok(vec![Figure {
        name: format!("commits: {} members at once", options.members),
        measured: format!(
            "{:.1} ms CPU a commit (server {:.1} ms; {:.1} s until all are done, {:.1} refused a commit)",
            of(&together, Commits::work),
            of(&together, |commits| commits.server),
            of(&together, |commits| commits.seconds),
            median(&mut superseded)
        ),
        limit: format!(
            "{:.1} ms one after the other (server {:.1})",
            of(&alone, Commits::work),
            of(&alone, |c| c.server)
        ),
        ratio: median(&mut ratios),
        target: Target::AtMost(3.0),
    }]
    .into())
}

/// What commits cost, each of them with everybody who takes it.
struct Commits {
    /// Milliseconds of CPU, of the server and of all members.
    server: f64,
    clients: f64,
    /// Of all of them.
    seconds: f64,
}

impl Commits {
    fn work(&self) -> f64 {
        self.server + self.clients
    }
}

struct Group<'a> {
    server: &'a Server,
    members: Vec<Client>,
    id: ConversationId,
}

impl<'a> Group<'a> {
    /// Everybody is a profile of its own, connected.
    fn new(server: &'a Server, folder: &Path, size: u32) -> Result<Self> {
        let names: Vec<_> = (0..size).map(|number| format!("member-{number}")).collect();
        let mut members = Vec::new();
        // Registering is stretching passwords: two at a time.
        for pair in names.chunks(2) {
            members.extend(everybody(pair, |name| person(server, folder, name))?);
        }
        let creator = members.first().context("members")?;
        let others = names.iter().skip(1).map(|name| Ok(creator.resolve(&name.parse()?, PATIENCE)?.identity));
        let others = others.collect::<Result<Vec<_>>>()?;
        let (id, wish) = creator.create_group("bench", &others, Suite::Hybrid)?;
        creator.wait(wish, PATIENCE)?;
        let group = Self { server, members, id };
        group.agree(group.epoch(0)?)?;
        // Nothing leaves a device for what a stranger began.
        for member in group.members.iter().skip(1) {
            member.accept(id)?;
        }
        Ok(group)
    }

    fn measured(&self, commits: u32, step: impl FnOnce() -> Result<()>) -> Result<Commits> {
        let (cpu, begin) = (Cpu::start(self.server.pid())?, Instant::now());
        step()?;
        let (server, clients) = cpu.micros_each(f64::from(commits) * 1000.0)?;
        Ok(Commits { server, clients, seconds: begin.elapsed().as_secs_f64() })
    }

    /// The first few, each when everybody has the commit of the one before.
    fn in_turns(&self) -> Result<()> {
        for member in self.members.iter().take(IN_TURNS as usize) {
            let before = self.epoch(0)?;
            member.wait(member.update_key(self.id)?, PATIENCE)?;
            self.agree(Epoch(before.0 + 1))?;
        }
        Ok(())
    }

    fn at_once(&self) -> Result<()> {
        let before = self.epoch(0)?;
        let wishes = everybody(&self.members, |member| Ok(member.update_key(self.id)?))?;
        for (member, wish) in self.members.iter().zip(wishes) {
            member.wait(wish, LONG)?;
        }
        self.agree(Epoch(before.0 + self.members.len() as u64))
    }

    /// Waits until everybody is in this epoch or a later one.
    fn agree(&self, epoch: Epoch) -> Result<()> {
        let deadline = Instant::now() + LONG;
        for (number, member) in self.members.iter().enumerate() {
            while self.epoch(number)? < epoch {
                ensure!(Instant::now() < deadline, "member {number} does not get to epoch {}", epoch.0);
                let (generation, interrupts) = (member.generation(), member.interrupts());
                if self.epoch(number)? < epoch {
                    member.wait_for_events(generation, interrupts, STEP)?;
                }
            }
        }
        Ok(())
    }

    /// Zero before a member has come in.
    fn epoch(&self, number: usize) -> Result<Epoch> {
        let member = self.members.get(number).context("a member")?;
        match member.group_info(self.id) {
            Ok(info) => Ok(info.epoch),
            Err(qpq_client::Error::UnknownConversation(_)) => Ok(Epoch(0)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Does something with all of them at the same time.
fn everybody<T: Sync, R: Send>(all: &[T], what: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    thread::scope(|scope| {
        let what = &what;
        let threads: Vec<_> = all.iter().map(|one| scope.spawn(move || what(one))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?).collect()
    })
}

const ROUNDS: u32 = 1;
/// One after the other takes long; what each of them costs is the same.
const IN_TURNS: u32 = 10;
const LONG: Duration = Duration::from_secs(600);
const STEP: Duration = Duration::from_millis(20);
