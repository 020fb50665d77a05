//! A device: the engine over its store, and what production code does around it. One input is one transaction; what leaves
//! leaves after the commit; and the device may be killed around any of them.

use std::collections::VecDeque;

use anyhow::{Result, bail};
use qpq_core::engine::{Answer, Effect, Engine, Input};
use qpq_core::error::Error;
use qpq_core::request::{Reply, Request};
use qpq_core::store::memory::MemoryStore;
use qpq_core::store::rows::AccountRow;
use qpq_proto::account::ServerHello;
use qpq_proto::code::Refusal;
use qpq_proto::ids::Seq;
use qpq_proto::mutation::{Mutation, is_on};
use qpq_proto::stream::{Entry, LogId, Subscribed};

use super::agenda::{Event, MILLISECOND, SECOND};
use super::disaster::Backup;
use super::network::{Down, LinkId, Up};
use super::plan::Moment;
use super::template::Person;
use super::world::World;

/// One device of one person.
pub struct Device {
    pub account: AccountRow,
    /// The disk.
    pub store: MemoryStore,
    pub engine: Engine,
    /// Whether the program runs.
    pub is_up: bool,
    /// The user is on a plane until then.
    pub away_until: u64,
    pub link: Option<LinkId>,
    /// The connection that orders go to: the one that the owner of the engine knows of. What it says to an earlier one is void.
    known_link: Option<LinkId>,
    /// What has come in and was not yet dealt with.
    pub news: VecDeque<News>,
    is_turn_planned: bool,
    /// Before the next attempt to connect.
    pause: u64,
    /// Logs that were subscribed to over this connection, and how many of those have nothing more waiting.
    pub subscriptions: u32,
    pub caught_up: u32,
    has_caught_up: bool,
    /// Subscriptions that the server has not answered, and what has come before those answers.
    asking: u32,
    held: VecDeque<Down>,
    /// A copy of the disk from some time ago.
    pub backup: Option<Backup>,
}

/// What the connection tells the owner of the engine.
pub enum News {
    Connected { link: LinkId, hello: ServerHello },
    Disconnected,
    Reply { request: u64, result: Result<Reply, Refusal> },
    Subscribed { log: LogId, after: Seq, result: Result<Subscribed, Refusal> },
    Entries(Vec<Entry>),
    CaughtUp(u32),
    KeyPackagesLow(u32),
}

impl Device {
    pub fn new(person: &Person) -> Self {
        Self {
            account: person.account.clone(),
            store: person.store.clone(),
            engine: Engine::new(),
            is_up: false,
            away_until: 0,
            link: None,
            known_link: None,
            news: VecDeque::new(),
            is_turn_planned: false,
            pause: FIRST_PAUSE,
            subscriptions: 0,
            caught_up: 0,
            has_caught_up: false,
            asking: 0,
            held: VecDeque::new(),
            backup: None,
        }
    }

    pub fn name(&self) -> &str {
        self.account.name.as_str()
    }
}

impl World {
    /// Switched on, or the pause before the next attempt is over.
    pub(super) fn start_device(&mut self, index: usize) {
        let device = &mut self.devices[index];
        if self.agenda.micros() < device.away_until {
            return self.agenda.at(device.away_until, Event::Start(index));
        }
        device.is_up = true;
        if device.link.is_none() {
            device.link = Some(self.network.borrow_mut().open(index));
        }
    }

    /// The connection is gone, and the device has noticed.
    pub(super) fn cut_at_device(&mut self, link: LinkId) {
        self.network.borrow_mut().closed_at_device(link);
        let Some(index) = self.devices.iter().position(|device| device.link == Some(link)) else { return };
        self.tell_of(index, format_args!("lost the connection"));
        let device = &mut self.devices[index];
        device.link = None;
        device.asking = 0;
        device.held.clear();
        device.news.push_back(News::Disconnected);
        let pause = device.pause / 2 + self.random.below(device.pause / 2);
        device.pause = (device.pause * 2).min(LONGEST_PAUSE);
        self.agenda.after(pause, Event::Start(index));
        self.plan_turn(index);
    }

    /// Something has come in.
    pub(super) fn arrived(&mut self, link: LinkId, what: Down) {
        // Of a connection that the device has given up.
        let Some(index) = self.devices.iter().position(|device| device.link == Some(link)) else { return };
        let device = &mut self.devices[index];
        if let Down::Subscribed { log, after, result } = what {
            device.asking = device.asking.saturating_sub(1);
            device.news.push_back(News::Subscribed { log, after, result });
            let held = if device.asking == 0 { std::mem::take(&mut device.held) } else { VecDeque::new() };
            held.into_iter().for_each(|held| self.heard(index, link, held));
            return self.plan_turn(index);
        }
        let is_stream = matches!(what, Down::Push(_) | Down::CaughtUp(_) | Down::KeyPackagesLow(_));
        if is_stream && device.asking > 0 {
            return device.held.push_back(what);
        }
        if let Down::Close = what {
            return self.cut_at_device(link);
        }
        self.heard(index, link, what);
        self.plan_turn(index);
    }

    fn heard(&mut self, index: usize, link: LinkId, what: Down) {
        let news = match what {
            Down::Welcome { hello } => News::Connected { link, hello },
            Down::Reply { request, result } => News::Reply { request, result },
            Down::Push(entries) => News::Entries(entries),
            Down::CaughtUp(subscriptions) => News::CaughtUp(subscriptions),
            Down::KeyPackagesLow(left) => News::KeyPackagesLow(left),
            Down::Subscribed { .. } | Down::Close => return,
        };
        self.devices[index].news.push_back(news);
    }

    /// The owner of the engine is at times busy with something else.
    fn plan_turn(&mut self, index: usize) {
        let device = &mut self.devices[index];
        if !device.is_turn_planned {
            device.is_turn_planned = true;
            let busy = if self.random.chance(200) { self.random.below(200 * MILLISECOND) } else { 0 };
            self.agenda.after(busy, Event::Turn(index));
        }
    }

    /// Works through everything that has come in.
    pub(super) fn turn(&mut self, index: usize) -> Result<()> {
        self.devices[index].is_turn_planned = false;
        while let Some(news) = self.devices[index].news.pop_front() {
            match news {
                News::Connected { link, hello } => {
                    let device = &mut self.devices[index];
                    device.known_link = Some(link);
                    (device.subscriptions, device.caught_up, device.pause) = (0, 0, FIRST_PAUSE);
                    self.step(index, Input::Connected(hello))?;
                }
                News::Disconnected => {
                    let device = &mut self.devices[index];
                    device.known_link = None;
                    (device.subscriptions, device.caught_up) = (0, 0);
                    self.step(index, Input::Disconnected)?;
                }
                News::Reply { request, result } => {
                    self.step(index, Input::Reply { request, result })?;
                }
                News::Entries(mut entries) => {
                    // Everything that has queued up goes into one transaction.
                    while let Some(News::Entries(_)) = self.devices[index].news.front() {
                        let Some(News::Entries(more)) = self.devices[index].news.pop_front() else { break };
                        entries.extend(more);
                    }
                    self.step(index, Input::Entries(entries))?;
                }
                News::Subscribed { log, after, result } => {
                    self.step(index, Input::Subscribed { log, after, result })?;
                }
                News::CaughtUp(subscriptions) => {
                    let device = &mut self.devices[index];
                    device.caught_up = subscriptions;
                    if subscriptions == device.subscriptions && !std::mem::replace(&mut device.has_caught_up, true) {
                        self.step(index, Input::CaughtUp)?;
                    }
                }
                News::KeyPackagesLow(left) => {
                    self.step(index, Input::KeyPackagesLow(left))?;
                }
            }
        }
        Ok(())
    }

    /// One input, one transaction. None: it was refused, or the device was killed.
    pub(super) fn step(&mut self, index: usize, input: Input) -> Result<Option<Answer>> {
        self.transactions += 1;
        let fate = self.fate();
        let is_command = matches!(input, Input::Command(_));
        self.tell_input(index, &input, fate);
        let now = self.agenda.now();
        let device = &mut self.devices[index];
        let needs_backup = is_command || fate == Some(Moment::BeforeCommit);
        let backup = needs_backup.then(|| device.store.clone());
        let mut outcome = device.engine.handle(&mut device.store, now, input);
        while let (Some(next), Some(backup), Ok(effects)) = (&self.next_group, &backup, &outcome)
            && !next.fits(effects)
        {
            device.store = backup.clone();
            device.engine.rolled_back();
            outcome = device.engine.handle(&mut device.store, now, Input::Command(next.command()));
        }
        let effects = match (outcome, backup) {
            (Ok(effects), Some(backup)) if fate == Some(Moment::BeforeCommit) => {
                device.store = backup;
                self.carry_out(index, effects.into_iter().filter(leaves_too_early).collect());
                self.kill(index);
                return Ok(None);
            }
            (Ok(effects), _) => effects,
            (Err(Error::BadInput(reason)), Some(backup)) if is_command => {
                device.store = backup;
                device.engine.rolled_back();
                self.tell(format_args!("  refused: {reason}"));
                return Ok(None);
            }
            (Err(error), _) => bail!("a step of {} failed: {error}", self.devices[index].name()),
        };
        self.committed(index, &effects)?;
        let answer = effects.iter().find_map(|effect| match effect {
            Effect::Answer(answer) => Some(answer.clone()),
            _ => None,
        });
        match fate {
            None => {
                self.carry_out(index, effects);
                Ok(answer)
            }
            Some(moment) => {
                if moment == Moment::BetweenEffects {
                    let some = self.random.below(effects.len() as u64 + 1) as usize;
                    self.carry_out(index, effects.into_iter().take(some).collect());
                }
                self.kill(index);
                Ok(None)
            }
        }
    }

    fn fate(&mut self) -> Option<Moment> {
        if let Some(kill) = self.options.kill {
            return (kill.transaction == self.transactions).then_some(kill.moment);
        }
        if !self.random.chance(self.plan.kills) {
            return None;
        }
        Some(Moment::ALL[self.random.below(3) as usize])
    }

    /// The program is gone, and what it had in memory. The server notices sooner or later.
    pub(super) fn kill(&mut self, index: usize) {
        let device = &mut self.devices[index];
        device.engine = Engine::new();
        device.is_up = false;
        device.news.clear();
        device.known_link = None;
        device.asking = 0;
        device.held.clear();
        (device.subscriptions, device.caught_up, device.pause) = (0, 0, FIRST_PAUSE);
        if let Some(link) = device.link.take() {
            self.network.borrow_mut().closed_at_device(link);
            let notices = self.random.below(30 * SECOND);
            self.agenda.after(notices, Event::CutAtServer(link));
        }
        let down = self.random.below(20 * SECOND);
        self.agenda.after(down, Event::Start(index));
        self.tell_of(index, format_args!("was killed"));
    }

    /// What leaves after the commit.
    fn carry_out(&mut self, index: usize, effects: Vec<Effect>) {
        let mut subscriptions = Vec::new();
        for effect in effects {
            match effect {
                Effect::Request { id, mut request } => {
                    self.spoil(&mut request);
                    self.tell_of(index, format_args!("asks {id}: {}", describe(&request)));
                    self.order(index, Up::Request { id, request: Box::new(request) });
                }
                Effect::Subscribe { log, after, known } => {
                    subscriptions.push((self.oracle.log_number(log), log, after, known));
                }
                Effect::Acknowledge(positions) => {
                    self.order(index, Up::Acknowledge(positions));
                }
                Effect::Answer(_) | Effect::Settled { .. } | Effect::Sent { .. } => {}
                Effect::LookedUp { .. } | Effect::NewEvents | Effect::Whisper { .. } | Effect::Typing { .. } => {}
            }
        }
        // The engine goes through its groups in the order of their ids, which are random.
        subscriptions.sort_by_key(|(number, ..)| *number);
        for (_, log, after, known) in subscriptions {
            if self.order(index, Up::Subscribe { log, after, known }) {
                let device = &mut self.devices[index];
                device.subscriptions += 1;
                device.asking += 1;
                device.has_caught_up = false;
            }
        }
    }

    /// Void without a connection: the engine gives it anew when there is one.
    fn order(&mut self, index: usize, what: Up) -> bool {
        let Some(link) = self.devices[index].link.filter(|link| self.devices[index].known_link == Some(*link)) else {
            return false;
        };
        self.network.borrow_mut().send_up(link, what);
        true
    }

    fn tell_input(&mut self, index: usize, input: &Input, fate: Option<Moment>) {
        let fate = match fate {
            None => "",
            Some(Moment::BeforeCommit) => ", killed before the commit",
            Some(Moment::BeforeEffects) => ", killed after the commit",
            Some(Moment::BetweenEffects) => ", killed among the effects",
        };
        let name = self.devices[index].account.name.clone();
        match input {
            Input::Command(_) | Input::Whisper { .. } => {}
            Input::Connected(_) => self.tell(format_args!("{name} is connected{fate}")),
            Input::Disconnected => self.tell(format_args!("{name} is disconnected{fate}")),
            Input::Entries(entries) => {
                let list: Vec<_> = entries
                    .iter()
                    .map(|entry| format!("{}:{}", self.oracle.log_number(entry.log), entry.seq))
                    .collect();
                self.tell(format_args!("{name} takes {}{fate}", list.join(" ")));
            }
            Input::Reply { request, result } => match result {
                Ok(reply) => self.tell(format_args!("{name} hears {request}: {}{fate}", describe_reply(reply))),
                Err(refusal) => self.tell(format_args!("{name} hears {request}: {refusal}{fate}")),
            },
            Input::Subscribed { log, after, result } => {
                let log = self.oracle.log_number(*log);
                match result {
                    Ok(answer) => self.tell(format_args!(
                        "{name} follows {log} after {after}: from {}, {} known, ends at {}{fate}",
                        answer.from, answer.acknowledged, answer.head
                    )),
                    Err(refusal) => self.tell(format_args!("{name} cannot follow {log}: {refusal}{fate}")),
                }
            }
            Input::CaughtUp => self.tell(format_args!("{name} has caught up{fate}")),
            Input::KeyPackagesLow(left) => self.tell(format_args!("{name} has {left} key packages left{fate}")),
            Input::Tick | Input::Hurry => {
                if !fate.is_empty() {
                    self.tell(format_args!("{name} ticks{fate}"));
                }
            }
        }
    }
}

/// Never, in a device without a defect.
fn leaves_too_early(effect: &Effect) -> bool {
    match effect {
        Effect::Request { .. } => is_on(Mutation::EffectsBeforeCommit),
        Effect::Acknowledge(_) => is_on(Mutation::AcknowledgeBeforeCommit),
        _ => false,
    }
}

fn describe(request: &Request) -> String {
    match request {
        Request::ByName(name) => format!("who is {name}"),
        Request::ByIdentity(_) => "who is somebody".into(),
        Request::PublishKeys { one_time, .. } => format!("publish {}", one_time.len()),
        Request::Claim { .. } => "claim".into(),
        Request::Create(_) => "create".into(),
        Request::Commit { commit, .. } => format!("commit to end epoch {}", commit.expected_epoch),
        Request::Post { post, .. } => format!("post in epoch {}", post.epoch),
        Request::Leave { epoch, .. } => format!("leave in epoch {epoch}"),
        Request::Tree { epoch, .. } => format!("tree of epoch {epoch}"),
        Request::RejoinInfo(_) => "a way back".into(),
        Request::Memberships => "memberships".into(),
        Request::UpdateManifest(_) => "other devices".into(),
    }
}

fn describe_reply(reply: &Reply) -> String {
    match reply {
        Reply::Account(account) => format!("that is {}", account.name),
        Reply::Stock(stock) => format!("{stock} in stock"),
        Reply::Packages(packages) => format!("{} key packages", packages.len()),
        Reply::Created(qpq_proto::groups::CreateOutcome::Exists(_)) => "exists".into(),
        Reply::Created(other) => format!("{other:?}"),
        Reply::Committed(outcome) => format!("{outcome:?}"),
        Reply::Posted(outcome) | Reply::Left(outcome) => format!("{outcome:?}"),
        Reply::Tree(_) => "a tree".into(),
        Reply::RejoinInfo(_) => "a way back".into(),
        Reply::ManifestUpdated { is_superseded } => format!("superseded: {is_superseded}"),
        Reply::Memberships(groups) => format!("{} groups", groups.len()),
    }
}

const FIRST_PAUSE: u64 = 250 * MILLISECOND;
const LONGEST_PAUSE: u64 = 30 * SECOND;
