//! Several engines against one delivery service, over a network that delays, loses and repeats, with machines that
//! crash between a step and its commit, or between the commit and its effects. Everything comes from one seed.

use std::collections::{BTreeMap, VecDeque};

use qpq_proto::account::{Account, ServerHello};
use qpq_proto::code::Refusal;
use qpq_proto::content::Body;
use qpq_proto::ids::{IdentityId, MessageId, Seq};
use qpq_proto::link::LinkBundle;
use qpq_proto::stream::{LogId, Mark};
use qpq_proto::time::Timestamp;

use super::delivery::{Delivery, name};
use crate::account::generate;
use crate::engine::{Answer, Command, Effect, Engine, Input, Query, bundle, take_over};
use crate::link::{Host, Newcomer};
use crate::request::{Reply, Request};
use crate::store::memory::MemoryStore;
use crate::store::rows::{AccountRow, DeviceChange, Row as _, WishKind};
use crate::view::{ConversationId, Event, EventKind};

pub struct World {
    pub nodes: Vec<Node>,
    pub delivery: Delivery,
    random: u64,
    now: u64,
    /// How many of a hundred steps meet a fault.
    pub faults: u64,
}

pub struct Node {
    pub store: MemoryStore,
    /// By how many milliseconds the device's clock is wrong.
    pub skew: i64,
    engine: Engine,
    pub identity: IdentityId,
    device: qpq_proto::ids::DeviceId,
    online: bool,
    outgoing: VecDeque<(u64, Request)>,
    replies: VecDeque<(u64, Result<Reply, Refusal>)>,
    /// What is new in its logs does not reach it.
    pub is_deaf: bool,
    /// Answers to the question for its memberships are kept back, as long as there is a place for them.
    pub late: Option<Vec<(u64, Result<Reply, Refusal>)>>,
    /// Subscriptions that the server has not answered.
    asking: VecDeque<(LogId, Seq, Vec<Mark>)>,
    positions: BTreeMap<LogId, Seq>,
    has_caught_up: bool,
    answer: Option<Answer>,
    pub settled: BTreeMap<u64, Result<(), String>>,
}

impl Node {
    fn new(store: MemoryStore, account: &AccountRow) -> Self {
        Self {
            store,
            skew: 0,
            engine: Engine::new(),
            identity: account.identity,
            device: account.device,
            online: false,
            outgoing: VecDeque::new(),
            replies: VecDeque::new(),
            is_deaf: false,
            late: None,
            asking: VecDeque::new(),
            positions: BTreeMap::new(),
            has_caught_up: false,
            answer: None,
            settled: BTreeMap::new(),
        }
    }
}

impl World {
    /// A new device, taken in by this one; it is online.
    pub fn link(&mut self, host: usize, device_name: &str) -> usize {
        self.link_with(host, device_name, |_| {})
    }

    /// The same, with something else in the bundle.
    pub fn link_with(&mut self, host: usize, device_name: &str, change: impl FnOnce(&mut LinkBundle)) -> usize {
        let newcomer = Newcomer::new(device_name).expect("random numbers");
        let account = AccountRow::load(&self.nodes[host].store, &()).expect("memory").expect("an account");
        let offer = newcomer.offer().expect("sealed");
        let host_side = Host::new(newcomer.code().clone(), &offer, &account).expect("its offer");
        let heard = newcomer.hear(&host_side.hello().expect("sealed")).expect("a device");
        let compared = host_side.compare(&heard.reveal().expect("sealed")).expect("its nonce");
        assert_eq!(heard.comparison(), compared.comparison());
        self.command(host, Command::Devices(DeviceChange::Add(compared.device().clone())));
        self.quiesce();
        let (account, mut content) = bundle(&self.nodes[host].store).expect("memory");
        change(&mut content);
        let (account, content) = heard.accept(&compared.seal(&account, content).expect("sealed")).expect("the bundle");
        let mut store = MemoryStore::default();
        take_over(&mut store, &account, &content).expect("memory");
        self.nodes.push(Node::new(store, &account));
        let node = self.nodes.len() - 1;
        self.connect(node);
        self.quiesce();
        node
    }

    /// The time that everybody agrees on.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.now)
    }

    /// The id of a node's device.
    pub fn device(&self, node: usize) -> qpq_proto::ids::DeviceId {
        self.nodes[node].device
    }

    pub fn new(seed: u64, names: &[&str]) -> Self {
        let mut delivery = Delivery::default();
        let nodes = names
            .iter()
            .map(|text| {
                let account = generate(&name(text), "device").expect("random numbers");
                let manifest = account.manifest.clone();
                delivery.accounts.push((Account { name: name(text), manifest }, account.identity, account.device));
                let mut store = MemoryStore::default();
                account.save(&mut store).expect("memory");
                Node::new(store, &account)
            })
            .collect();
        let now = today();
        let mut world = Self { nodes, delivery, random: seed.wrapping_mul(2).wrapping_add(1), now, faults: 0 };
        for node in 0..names.len() {
            world.connect(node);
        }
        world.quiesce();
        for node in 0..names.len() {
            for text in names {
                world.command(node, Command::LookUp(name(text)));
            }
        }
        world.quiesce();
        world
    }

    /// A number below `limit` (SplitMix64).
    pub fn random(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    pub fn command(&mut self, node: usize, command: Command) -> Answer {
        self.input(node, Input::Command(command));
        self.nodes[node].answer.take().expect("every command is answered")
    }

    pub fn send(&mut self, node: usize, conversation: ConversationId, text: &str) -> MessageId {
        let (body, fallback) = (Body::Text(text.into()), String::new());
        match self.command(node, Command::Send { conversation, body, fallback, in_reply_to: None, key: None }) {
            Answer::Message { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    pub fn change(&mut self, node: usize, conversation: ConversationId, kind: WishKind) -> u64 {
        match self.command(node, Command::Change { conversation, kind }) {
            Answer::Wish(wish) => wish,
            other => panic!("{other:?}"),
        }
    }

    pub fn create_group(&mut self, node: usize, title: &str, members: &[usize]) -> ConversationId {
        let members = members.iter().map(|member| self.nodes[*member].identity).collect();
        let suite = qpq_trust::suite::Suite::Hybrid.number();
        match self.command(node, Command::CreateGroup { name: title.into(), members, suite }) {
            Answer::Conversation { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    pub fn connect(&mut self, node: usize) {
        self.nodes[node].online = true;
        self.input(
            node,
            Input::Connected(ServerHello {
                protocol: 1,
                domain: "test".into(),
                software: String::new(),
                incarnation: 1,
                now: Timestamp(self.now),
            }),
        );
    }

    pub fn disconnect(&mut self, node: usize) {
        let machine = &mut self.nodes[node];
        machine.online = false;
        machine.outgoing.clear();
        machine.replies.clear();
        machine.positions.clear();
        machine.asking.clear();
        machine.has_caught_up = false;
        self.input(node, Input::Disconnected);
    }

    /// One step, perhaps with a crash before or after its commit.
    fn input(&mut self, node: usize, input: Input) {
        let is_command = matches!(input, Input::Command(_));
        let crash = if is_command || self.random(100) >= self.faults { None } else { Some(self.random(2)) };
        let now = Timestamp(self.now.saturating_add_signed(self.nodes[node].skew));
        let machine = &mut self.nodes[node];
        let before = machine.store.clone();
        let effects = match machine.engine.handle(&mut machine.store, now, input) {
            Ok(effects) => effects,
            Err(error) => panic!("node {node}: {error}"),
        };
        match crash {
            // Before the commit: nothing happened.
            Some(0) => {
                machine.store = before;
                machine.engine.rolled_back();
                self.restart(node);
            }
            // After the commit, before the effects: they must come again.
            Some(_) => self.restart(node),
            None => self.carry_out(node, effects),
        }
    }

    /// A device that was away starts with another store, or with what is left of its own.
    pub fn restore(&mut self, node: usize, backup: Option<MemoryStore>) {
        self.disconnect(node);
        let machine = &mut self.nodes[node];
        machine.engine = Engine::new();
        if let Some(backup) = backup {
            machine.store = backup;
        }
    }

    fn restart(&mut self, node: usize) {
        self.nodes[node].engine = Engine::new();
        let faults = std::mem::take(&mut self.faults);
        self.disconnect(node);
        self.connect(node);
        self.faults = faults;
    }

    fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        let machine = &mut self.nodes[node];
        for effect in effects {
            match effect {
                Effect::Request { id, request } => machine.outgoing.push_back((id, request)),
                Effect::Subscribe { log, after, known } => {
                    machine.asking.push_back((log, after, known));
                    machine.has_caught_up = false;
                }
                Effect::Acknowledge(positions) => self.delivery.acknowledge(machine.device, &positions),
                Effect::Answer(answer) => machine.answer = Some(answer),
                Effect::Settled { wish, result } => drop(machine.settled.insert(wish, result)),
                Effect::Sent { .. }
                | Effect::LookedUp { .. }
                | Effect::Whisper { .. }
                | Effect::Typing { .. }
                | Effect::NewEvents => {}
            }
        }
    }

    /// Somebody at this node waits until nothing is under way.
    pub fn hurry(&mut self, node: usize) {
        self.input(node, Input::Hurry);
    }

    /// The answers that were kept back arrive.
    pub fn let_late_answers_in(&mut self, node: usize) {
        let machine = &mut self.nodes[node];
        machine.replies.extend(machine.late.take().into_iter().flatten());
    }

    /// Something that can happen in the network happens. False when nothing can.
    pub fn step(&mut self) -> bool {
        let mut possible = Vec::new();
        for (node, machine) in self.nodes.iter().enumerate().filter(|(_, machine)| machine.online) {
            if !machine.outgoing.is_empty() {
                possible.push((node, 0));
            }
            if !machine.replies.is_empty() {
                possible.push((node, 1));
            }
            if !machine.asking.is_empty() {
                possible.push((node, 3));
            }
            let waiting = |(log, after): (&LogId, &Seq)| !self.delivery.read(machine.device, *log, *after).is_empty();
            if !machine.is_deaf && machine.positions.iter().any(waiting) {
                possible.push((node, 2));
            } else if machine.asking.is_empty() && !machine.has_caught_up {
                possible.push((node, 4));
            }
        }
        if possible.is_empty() {
            return false;
        }
        let (node, kind) = possible[self.random(possible.len() as u64) as usize];
        if self.random(100) < self.faults {
            self.disconnect(node);
            self.connect(node);
            return true;
        }
        match kind {
            0 => {
                let (id, request) = self.nodes[node].outgoing.pop_front().expect("checked");
                let device = self.nodes[node].device;
                self.delivery.clock = self.delivery.clock.max(self.now);
                if self.random(100) < self.faults {
                    // Delivered twice.
                    let _ = self.delivery.call(device, request.clone());
                }
                let is_about_memberships = matches!(request, Request::Memberships);
                let reply = self.delivery.call(device, request);
                match &mut self.nodes[node].late {
                    Some(late) if is_about_memberships => late.push((id, reply)),
                    _ => self.nodes[node].replies.push_back((id, reply)),
                }
            }
            1 => {
                let (request, result) = self.nodes[node].replies.pop_front().expect("checked");
                self.input(node, Input::Reply { request, result });
            }
            2 => self.push(node),
            3 => {
                let (log, after, known) = self.nodes[node].asking.pop_front().expect("checked");
                let result = self.delivery.subscribe(self.nodes[node].device, log, after, &known);
                if let Ok(subscribed) = &result {
                    self.nodes[node].positions.insert(log, subscribed.from);
                }
                self.input(node, Input::Subscribed { log, after, result });
            }
            _ => {
                self.nodes[node].has_caught_up = true;
                self.input(node, Input::CaughtUp);
            }
        }
        true
    }

    fn push(&mut self, node: usize) {
        let mut entries = Vec::new();
        let logs: Vec<_> = self.nodes[node].positions.iter().map(|(log, after)| (*log, *after)).collect();
        for (log, after) in logs {
            let waiting = self.delivery.read(self.nodes[node].device, log, after);
            let count = 1 + self.random(3) as usize;
            entries.extend(waiting.into_iter().take(count));
        }
        for entry in &entries {
            self.nodes[node].positions.insert(entry.log, entry.seq);
        }
        self.input(node, Input::Entries(entries));
    }

    /// Until nothing more happens, time included.
    pub fn quiesce(&mut self) {
        self.run(20);
    }

    /// Until nothing more happens, and half a minute passes so many times.
    pub fn run(&mut self, rounds: u64) {
        let faults = self.faults;
        for round in 0..rounds {
            let mut steps = 0;
            while self.step() {
                steps += 1;
                assert!(steps < 100_000, "the network never comes to rest");
                // Enough harm done: every run must be able to end.
                if steps > 400 {
                    self.faults = 0;
                }
            }
            self.now += 30_000;
            let faults = std::mem::take(&mut self.faults);
            for node in 0..self.nodes.len() {
                if self.nodes[node].online {
                    self.input(node, Input::Tick);
                }
            }
            self.faults = if round > 10 { 0 } else { faults };
        }
        self.faults = faults;
    }

    pub fn events(&mut self, node: usize) -> Vec<Event> {
        Query::new(&mut self.nodes[node].store).events(0, 100_000).expect("memory")
    }

    /// The texts of all messages that were announced to this node, in order.
    pub fn texts(&mut self, node: usize) -> Vec<String> {
        let message = |event: Event| match event.kind {
            EventKind::Message(message) => Some(message.content.text().to_owned()),
            _ => None,
        };
        self.events(node).into_iter().filter_map(message).collect()
    }

    /// Everything in a conversation, in the order it is shown.
    pub fn history(&mut self, node: usize, conversation: ConversationId) -> Vec<String> {
        let history = Query::new(&mut self.nodes[node].store).history(conversation, None, 100_000, None);
        history.expect("memory").iter().map(|message| message.content.text().to_owned()).collect()
    }

    /// Title, epoch and members: what all members must agree on.
    pub fn facts(&mut self, node: usize, conversation: ConversationId) -> (String, u64, Vec<IdentityId>) {
        let info = Query::new(&mut self.nodes[node].store).group_info(conversation);
        let info = info.expect("memory").expect("a conversation");
        let mut members: Vec<_> = info.members.iter().map(|member| member.contact.identity).collect();
        members.sort_unstable();
        (info.conversation.title, info.epoch.0, members)
    }
}

/// OpenMLS dates key packages by the real clock, so virtual time begins there.
#[allow(clippy::disallowed_methods)]
fn today() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    since_epoch.expect("a clock after 1970").as_millis() as u64
}
