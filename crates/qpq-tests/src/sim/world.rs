//! One run: a server, some devices, a network between them, and what happens to them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use qpq_core::engine::SILENT;
use qpq_core::store::rows::set_number;
use qpq_proto::code::{Code, Refusal};

use super::agenda::{Agenda, Event, MILLISECOND, SECOND};
use super::calls::{Sessions, call, serve};
use super::device::Device;
use super::disaster::Snapshot;
use super::network::{Down, LinkId, Network, Up};
use super::oracle::Oracle;
use super::plan::{Options, Plan};
use super::random::Random;
use super::server::Server;
use super::settle::Phase;
use super::store::Pace;
use super::tasks::Tasks;
use super::template::Template;
use super::trace::Trace;
use super::user::NextGroup;

/// Everything there is.
pub struct World {
    pub(super) options: Options,
    pub(super) agenda: Agenda,
    pub(super) plan: Plan,
    pub(super) random: Random,
    pub(super) network: Rc<RefCell<Network>>,
    pub(super) devices: Vec<Device>,
    pub(super) server: Server,
    /// A copy of the server's files from some time ago.
    pub(super) snapshot: Option<Snapshot>,
    pace: Pace,
    tasks: Tasks,
    pub(super) sessions: Sessions,
    pub(super) oracle: Oracle,
    pub(super) trace: Trace,
    pub(super) phase: Phase,
    /// How often each has happened.
    pub(super) actions: u64,
    pub(super) transactions: u64,
    pub(super) texts: u64,
    pub(super) groups: u64,
    pub(super) next_group: Option<NextGroup>,
}

impl World {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, options: Options) -> Result<Self> {
        let template = Template::shared();
        let mut plan = Plan::new(&options, &mut Random::new(seed, 1));
        plan.receipts = Random::new(seed, 5).chance(400);
        let agenda = Agenda::new(template.now);
        let pace = Pace::new(agenda.clone(), Random::new(seed, 2));
        let network = Network::new(agenda.clone(), Random::new(seed, 3), plan.clone());
        let mut server = Server::new(agenda.clone(), &template.database)?;
        server.start(Some(pace.clone()))?;
        let mut devices: Vec<_> = template.people.iter().take(plan.people).map(Device::new).collect();
        for device in &mut devices {
            set_number(&mut device.store, SILENT, u64::from(!plan.receipts))?;
        }
        let oracle = Oracle::new(devices.iter().map(|device| device.account.device).collect());
        let world = Self {
            options,
            agenda,
            random: Random::new(seed, 4),
            network: Rc::new(RefCell::new(network)),
            devices,
            server,
            snapshot: None,
            pace,
            tasks: Tasks::default(),
            sessions: Sessions::default(),
            oracle,
            trace: Trace::new(options.trace),
            phase: Phase::Storm,
            actions: 0,
            transactions: 0,
            texts: 0,
            groups: 0,
            next_group: None,
            plan,
        };
        world.begin();
        Ok(world)
    }

    fn begin(&self) {
        for index in 0..self.devices.len() {
            self.agenda.after(index as u64 * 10 * MILLISECOND, Event::Start(index));
            self.agenda.after(self.plan.tick + index as u64 * SECOND / 10, Event::Tick(index));
        }
        self.agenda.after(SECOND, Event::Act);
        self.agenda.after(FLUSH, Event::ServerFlush);
        self.agenda.after(TIDY, Event::ServerTidy);
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn run(&mut self) -> Result<()> {
        while self.phase != Phase::Over {
            let event = self.agenda.next().context("nothing will ever happen again")?;
            self.happen(event)?;
            self.tasks.run();
            let changes = self.server.take_changes();
            if let (false, Some(running)) = (changes.is_empty(), &self.server.running) {
                self.oracle.follow(&running.store, &changes)?;
            }
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Act => self.act()?,
            Event::Look => self.look()?,
            Event::Tick(index) => {
                if self.devices[index].link.is_some() && self.devices[index].engine.is_online() {
                    self.step(index, qpq_core::Input::Tick)?;
                }
                self.agenda.after(self.plan.tick, Event::Tick(index));
            }
            Event::Start(index) => self.start_device(index),
            Event::Turn(index) => self.turn(index)?,
            Event::AtServer(link, what) => self.arrived_at_server(link, what)?,
            Event::AtDevice(link, what) => self.arrived(link, what),
            Event::CutAtDevice(link) => self.cut_at_device(link),
            Event::CutAtServer(link) => self.cut_at_server(link),
            Event::ServerCrash => self.crash_server(),
            Event::ServerStart if self.server.running.is_some() => {}
            Event::ServerStart => {
                self.server.start(Some(self.pace.clone()))?;
                self.tell(format_args!("the server runs again"));
            }
            Event::ServerTidy => self.regularly(Event::ServerTidy, TIDY),
            Event::ServerFlush => self.regularly(Event::ServerFlush, FLUSH),
            Event::Wake(waker) => waker.wake(),
        }
        Ok(())
    }

    fn arrived_at_server(&mut self, link: LinkId, what: Up) -> Result<()> {
        let Some(running) = &self.server.running else {
            // Nobody answers there.
            let late = self.random.below(2 * SECOND);
            self.agenda.after(late, Event::CutAtDevice(link));
            return Ok(());
        };
        let service = running.service.clone();
        let network = self.network.clone();
        let Some(index) = network.borrow().device_of(link) else { return Ok(()) };
        let session = self.sessions.borrow().get(&link).cloned();
        match (what, session) {
            (Up::Hello, _) => {
                let account = self.devices[index].account.clone();
                self.tasks.spawn(Some(link), serve(link, account, service, self.sessions.clone(), network));
            }
            (_, None) => {}
            (Up::Request { id, .. }, Some(_)) if self.random.chance(self.plan.refusals) => {
                let moment = Duration::from_millis(self.random.below(3000));
                let result = Err(Refusal::later(Code::Overloaded, "too much to do", moment));
                network.borrow_mut().send_down(link, Down::Reply { request: id, result });
            }
            (Up::Request { id, request }, Some(session)) => self.tasks.spawn(Some(link), async move {
                let result = call(&service, &session.caller, *request).await;
                network.borrow_mut().send_down(link, Down::Reply { request: id, result });
            }),
            (Up::Subscribe { log, after, known }, Some(session)) => self.tasks.spawn(Some(link), async move {
                let result = session.stream.subscribe(log, after, known).await;
                network.borrow_mut().send_down(link, Down::Subscribed { log, after, result });
            }),
            (Up::Acknowledge(positions), Some(session)) => {
                self.oracle.check_acknowledgement(index, &self.devices[index].store, &positions)?;
                session.stream.acknowledge(&positions);
            }
        }
        Ok(())
    }

    fn cut_at_server(&mut self, link: LinkId) {
        self.network.borrow_mut().closed_at_server(link);
        self.sessions.borrow_mut().remove(&link);
        self.tasks.end(link);
    }

    /// The process is killed: what is committed stays, and nothing else.
    fn crash_server(&mut self) {
        if self.server.running.is_none() {
            return;
        }
        self.tell(format_args!("the server is killed"));
        self.stop_server();
        let down = self.random.below(20 * SECOND);
        self.agenda.after(down, Event::ServerStart);
    }

    pub(super) fn stop_server(&mut self) {
        self.tasks.clear();
        self.sessions.borrow_mut().clear();
        self.server.running = None;
        self.network.borrow_mut().server_gone();
    }

    fn regularly(&mut self, event: Event, period: u64) {
        if let Some(running) = &self.server.running {
            let service = running.service.clone();
            match event {
                Event::ServerTidy => self.tasks.spawn(None, async move {
                    let _ = service.tidy().await;
                }),
                _ => self.tasks.spawn(None, async move {
                    let _ = service.flush_acknowledgements().await;
                }),
            }
        }
        self.agenda.after(period, event);
    }

    pub(super) fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.agenda.micros(), what);
    }

    pub(super) fn tell_of(&mut self, index: usize, what: std::fmt::Arguments<'_>) {
        let name = self.devices[index].name();
        self.trace.line(self.agenda.micros(), format_args!("{name} {what}"));
    }

    /// What the run has decided, in one number.
    pub fn fingerprint(&self) -> u64 {
        self.trace.fingerprint()
    }
}

/// More often than in earnest, so that what is swept too early is missed within a run.
const TIDY: u64 = 15 * SECOND;
const FLUSH: u64 = 2 * SECOND;
