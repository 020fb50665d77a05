//! The people, the server, and one round after the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::ledger::Ledger;
use super::member::Member;
use super::plan::{PEOPLE, Plan, Role};
use super::server::Victim;
use super::{Faults, Options, PATIENCE, Report};
use crate::dice::Dice;

/// Everything that lives through the rounds.
pub struct Stage {
    // Dropped in this order: programs first, then what they work on.
    members: Vec<Member>,
    victim: Victim,
    ledger: Arc<Ledger>,
    folder: TempDir,
    report: Report,
    seed: u64,
    faults: Faults,
    /// For the load, which depends on the machine anyway.
    dice: Dice,
    texts: u64,
}

impl Stage {
    /// A server, four people, and their group.
    pub fn begin(options: &Options) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let victim = Victim::start(&folder, options.faults)?;
        let mut members = Vec::new();
        for member in at_once(PEOPLE.into_iter().enumerate(), |(index, name)| {
            let member = Member::registered(&folder, index, name, &victim.address)?;
            // Both queues begin before there is anything to miss.
            member.person.repl(&["/quit".to_owned()])?.success()?;
            Ok(member)
        }) {
            members.push(member?);
        }
        let first = &members[0].person;
        let created = first.json(&["group", "create", "Crash", "@bob", "@carol", "@dave"])?;
        let id = created.iter().find_map(|line| line["group"].as_str()).context("the group's id")?.to_owned();
        first.run(&["group", "role", &format!("#{id}"), "@bob", "@carol", "@dave", "admin"])?.success()?;
        for synced in at_once(members.iter(), |member| member.person.run(&["--timeout", "120s", "sync"])?.success()) {
            synced?;
        }
        for member in &mut members {
            member.group = format!("#{id}");
        }
        Ok(Self {
            members,
            victim,
            ledger: Arc::new(Ledger::new(&PEOPLE)),
            folder,
            report: Report::default(),
            seed: options.seed,
            faults: options.faults,
            dice: Dice::new(options.seed),
            texts: 0,
        })
    }

    /// Load, kills, and whether everything is as it must be.
    pub fn play(&mut self, number: u32) -> Result<()> {
        let plan = Plan::draw(self.seed, number, self.faults);
        self.assign(&plan)?;
        self.load(&plan, number)?;
        self.check(&plan, number)?;
        self.report.rounds += 1;
        Ok(())
    }

    pub fn report(&self) -> Report {
        Report { acknowledged: self.ledger.count(), ..self.report.clone() }
    }

    /// The folder stays after the end of this program, with what is on the server's disk if that is another one.
    pub fn keep(self) -> PathBuf {
        let Self { members, victim, folder, faults, .. } = self;
        drop(members);
        let kept = folder.keep();
        if let (Faults::PowerCuts, Ok(files)) = (faults, std::fs::read_dir(victim.data())) {
            let copy = kept.join("server");
            let _ = std::fs::create_dir(&copy);
            for file in files.flatten() {
                let _ = std::fs::copy(file.path(), copy.join(file.file_name()));
            }
        }
        kept
    }

    /// At the end: the databases have everything once, nothing is in quarantine, and nobody has panicked.
    pub fn look_back(&mut self) -> Result<()> {
        let ledger = &self.ledger;
        for checked in at_once(self.members.iter_mut(), |member| {
            member.end()?;
            let name = &member.person.name;
            let history = member.person.json(&["history", &member.group, "--limit", "100000"])?;
            ledger.compare(member.index, &history)?;
            let status = member.person.json(&["status"])?;
            let status = status.first().context("a status")?;
            ensure!(status["quarantined"] == 0 && status["waiting"] == 0, "{name}: {status}");
            ensure!(!member.complaints()?.contains("panicked"), "a program of {name} panicked");
            Ok(())
        }) {
            checked?;
        }
        ensure!(!self.victim.log()?.contains("panicked"), "the server panicked");
        Ok(())
    }

    fn assign(&mut self, plan: &Plan) -> Result<()> {
        for (member, role) in self.members.iter_mut().zip(plan.roles) {
            member.begin(role, &self.ledger)?;
        }
        Ok(())
    }

    fn load(&mut self, plan: &Plan, number: u32) -> Result<()> {
        let began = Instant::now();
        for person in &plan.renames {
            self.members[*person].command(&format!("/rename Round {number} by {}", PEOPLE[*person]));
        }
        let mut killed = false;
        while began.elapsed() < plan.load || !killed {
            for index in 0..self.members.len() {
                self.write(index, plan.roles[index])?;
            }
            if !killed && began.elapsed() >= plan.moment {
                killed = true;
                self.kill(plan)?;
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    fn write(&mut self, index: usize, role: Role) -> Result<()> {
        match role {
            Role::Writer if self.dice.chance(20) => {
                let text = self.next_text(index);
                self.members[index].say(&text);
                Ok(())
            }
            Role::Writer | Role::Follower => Ok(()),
            Role::OneShots => {
                let text = self.next_text(index);
                self.members[index].one_shot(Some(text), &self.ledger)
            }
        }
    }

    /// Kills what the plan says, and starts it again.
    fn kill(&mut self, plan: &Plan) -> Result<()> {
        if plan.server {
            let cut = self.victim.kill()?;
            self.report.server_kills += u32::from(!cut);
            self.report.power_cuts += u32::from(cut);
        }
        for index in &plan.clients {
            self.report.client_kills += u32::from(self.members[*index].kill()?);
        }
        if let Some(after) = plan.again {
            self.victim.start_and_kill(after)?;
            self.report.server_kills += 1;
            self.report.kills_of_starting_servers += 1;
        }
        if plan.server {
            self.victim.start_again()?;
        }
        self.assign(plan)
    }

    /// The group goes on, and nothing is missing.
    fn check(&mut self, plan: &Plan, number: u32) -> Result<()> {
        let mut texts = Vec::new();
        let mut renamer = None;
        for (index, role) in plan.roles.into_iter().enumerate() {
            match role {
                Role::Writer => {
                    let text = self.next_text(index);
                    self.members[index].say(&text);
                    renamer.get_or_insert(index);
                    texts.push((index, text));
                }
                Role::OneShots => {
                    self.finish_one_shot(index)?;
                    let text = self.next_text(index);
                    self.members[index].one_shot(Some(text.clone()), &self.ledger)?;
                    self.finish_one_shot(index)?;
                    texts.push((index, text));
                    self.members[index].begin(Role::Follower, &self.ledger)?;
                }
                Role::Follower => {}
            }
        }
        let name = format!("After round {number}");
        let renamer = renamer.context("there are writers")?;
        self.members[renamer].command(&format!("/rename {name}"));
        let settled = self.ledger.settle(&texts, Some((renamer, &name)), PATIENCE);
        // The one of the one-shots needs the profile for the next round.
        for (member, role) in self.members.iter_mut().zip(plan.roles) {
            if role == Role::OneShots {
                member.end()?;
            }
        }
        settled
    }

    fn finish_one_shot(&mut self, index: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.members[index].is_busy() {
            ensure!(Instant::now() < deadline, "`qpq send` does not end");
            std::thread::sleep(TICK);
            self.members[index].one_shot(None, &self.ledger)?;
        }
        Ok(())
    }

    fn next_text(&mut self, index: usize) -> String {
        self.texts += 1;
        format!("{} {}", PEOPLE[index], self.texts)
    }
}

/// Does the same for all of them at the same time.
fn at_once<T: Send, U: Send>(items: impl Iterator<Item = T>, act: impl Fn(T) -> Result<U> + Sync) -> Vec<Result<U>> {
    let act = &act;
    std::thread::scope(|scope| {
        let running: Vec<_> = items.map(|item| scope.spawn(move || act(item))).collect();
        let failed = || anyhow::anyhow!("a thread of the test panicked");
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(failed()))).collect()
    })
}

const TICK: Duration = Duration::from_millis(4);
