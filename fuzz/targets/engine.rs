//! The client engine with a server that says whatever it likes. It may refuse, and what the server withholds is not there;
//! but it never panics, never fails in a way that would only repeat itself, never floods the server, and never loses what
//! it has stored.
#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use qpq_core::engine::{Answer, Command, Effect, Engine, Input, Query};
use qpq_core::request::{Reply, Request};
use qpq_core::store::memory::MemoryStore;
use qpq_core::store::rows::WishKind;
use qpq_core::view::{ConversationId, Trust};
use qpq_fuzz::edits::Edits;
use qpq_fuzz::history::{History, wake_up};
use qpq_fuzz::members::now;
use qpq_proto::account::{Account, ServerHello};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::content::Body;
use qpq_proto::groups::{CommitOutcome, CreateOutcome, Head, PostOutcome, RejoinInfo};
use qpq_proto::ids::{Epoch, GroupId, Seq};
use qpq_proto::stream::{Entry, EntryKind, Lineage, LogId, Subscribed};
use qpq_proto::time::Timestamp;

#[derive(Arbitrary, Debug)]
struct Script {
    state: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// The next entries of a real log.
    Real {
        log: u8,
        count: u8,
    },
    /// Entries that are not, or not there, or not so.
    Strange(Vec<StrangeEntry>),
    /// An own commit or message comes back in the log.
    Echo {
        request: u8,
        ahead: u8,
    },
    Answer {
        request: u8,
        how: How,
    },
    /// What the server says to following a log.
    Follow {
        log: u8,
        from: u8,
        acknowledged: u8,
        epoch: u8,
        context: Option<u64>,
    },
    CaughtUp,
    Low(u32),
    Pass {
        seconds: u32,
    },
    Reconnect,
    /// The transaction does not commit, or the process ends after it did.
    Crash {
        before_commit: bool,
    },
    Wish(Wish),
}

#[derive(Arbitrary, Debug)]
struct StrangeEntry {
    log: u8,
    seq: u64,
    ahead: bool,
    kind: u8,
    payload: Payload,
}

#[derive(Arbitrary, Debug)]
enum Payload {
    Raw(Vec<u8>),
    /// Of any log.
    Real(u8, u8, Option<Edits>),
}

#[derive(Arbitrary, Debug)]
enum How {
    Honest,
    Edited(Edits),
    Refused { code: u8, after: u32 },
    Accepted(u64),
    Behind { epoch: u64, seq: u64 },
    Other([u8; 16]),
}

#[derive(Arbitrary, Debug)]
enum Wish {
    Send(u8),
    Direct(u8),
    Group(Vec<u8>),
    Add(u8, Vec<u8>),
    Remove(u8, u8),
    Rename(u8, String),
    Admin(u8, u8, bool),
    Leave(u8),
    Update(u8),
    LookUp(u8),
    Reject(u8),
}

struct Run<'h> {
    history: &'h mut History,
    store: MemoryStore,
    engine: Engine,
    now: Timestamp,
    requests: BTreeMap<u64, Request>,
    cursors: BTreeMap<LogId, Seq>,
    /// How many messages each conversation shows, at least.
    shown: BTreeMap<ConversationId, usize>,
    sent: Vec<String>,
}

thread_local! {
    static HISTORY: RefCell<History> = RefCell::new(History::new());
}

fuzz_target!(|script: Script| {
    HISTORY.with_borrow_mut(|history| {
        let mut store = history.states[usize::from(script.state) % history.states.len()].clone();
        let (engine, effects) = wake_up(&mut store, now());
        let (requests, cursors, shown) = Default::default();
        let mut run = Run { history, store, engine, now: now(), requests, cursors, shown, sent: vec![] };
        run.carry_out(effects);
        for (number, step) in script.steps.into_iter().take(MOST_STEPS).enumerate() {
            run.step(number, step);
            run.check();
        }
        let (_, effects) = wake_up(&mut run.store, run.now);
        assert!(effects.len() < MOST_EFFECTS);
    });
});

impl Run<'_> {
    fn step(&mut self, number: usize, step: Step) {
        match step {
            Step::Real { log, count } => {
                let (log, entries) = &self.history.logs[usize::from(log) % self.history.logs.len()];
                let after = self.cursors.get(log).copied().unwrap_or_default();
                let next = entries.iter().filter(|entry| entry.seq > after).take(usize::from(count % 16) + 1);
                let next: Vec<_> = next.cloned().collect();
                if let Some(last) = next.last() {
                    self.cursors.insert(*log, last.seq);
                }
                self.handle(Input::Entries(next));
            }
            Step::Strange(entries) => {
                let entries = entries.iter().take(8).map(|entry| self.strange(entry)).collect();
                self.handle(Input::Entries(entries));
            }
            Step::Echo { request, ahead } => {
                let (group, kind, payload) = match self.request(request) {
                    Some((_, Request::Commit { group, commit })) => (group, EntryKind::Commit, commit.commit),
                    Some((_, Request::Post { group, post })) => (group, EntryKind::Message, post.payload),
                    Some((_, Request::Leave { group, proposal, .. })) => (group, EntryKind::Proposal, proposal),
                    _ => return,
                };
                let log = LogId::Group(group);
                let seq = Seq(self.cursors.get(&log).copied().unwrap_or_default().0 + 1 + u64::from(ahead));
                self.cursors.insert(log, seq);
                self.handle(Input::Entries(vec![Entry { log, seq, at: self.now, kind, payload }]));
            }
            Step::Answer { request, how } => {
                let Some((id, request)) = self.request(request) else { return };
                let result = self.answer(&request, how);
                self.requests.remove(&id);
                self.handle(Input::Reply { request: id, result });
            }
            Step::Follow { log, from, acknowledged, epoch, context } => {
                let (log, _) = self.history.logs[usize::from(log) % self.history.logs.len()];
                let after = self.cursors.get(&log).copied().unwrap_or_default();
                let (head, from) = (Seq(after.0 + 10), Seq(u64::from(from)));
                let lineage = context.map(|context| Lineage { epoch: Epoch(u64::from(epoch)), context });
                let subscribed =
                    Subscribed { head, from, acknowledged: Seq(u64::from(acknowledged)), joined: Seq(0), lineage };
                let result = match epoch {
                    u8::MAX => Err(Refusal::new(Code::NotFound, "no such group")),
                    _ => Ok(subscribed),
                };
                self.handle(Input::Subscribed { log, after, result });
            }
            Step::CaughtUp => self.handle(Input::CaughtUp),
            Step::Low(left) => self.handle(Input::KeyPackagesLow(left)),
            Step::Pass { seconds } => {
                self.now.0 = self.now.0.saturating_add(u64::from(seconds) * 1000);
                self.handle(Input::Tick);
            }
            Step::Reconnect => {
                self.handle(Input::Disconnected);
                self.requests.clear();
                self.handle(Input::Connected(ServerHello {
                    protocol: 1,
                    domain: "test".into(),
                    software: String::new(),
                    incarnation: 1,
                    now: self.now,
                }));
            }
            Step::Crash { before_commit } => {
                if before_commit {
                    let before = self.store.clone();
                    let _ = self.engine.handle(&mut self.store, self.now, Input::Tick);
                    self.store = before;
                    self.engine.rolled_back();
                } else {
                    self.requests.clear();
                    let (engine, effects) = wake_up(&mut self.store, self.now);
                    self.engine = engine;
                    self.carry_out(effects);
                }
            }
            Step::Wish(wish) => self.wish(number, wish),
        }
    }

    fn strange(&self, entry: &StrangeEntry) -> Entry {
        let logs = &self.history.logs;
        let (log, _) = logs[usize::from(entry.log) % logs.len()];
        let known = self.cursors.get(&log).copied().unwrap_or_default();
        let seq = if entry.ahead { Seq(known.0.saturating_add(entry.seq % 4)) } else { Seq(entry.seq) };
        let kinds = [EntryKind::Message, EntryKind::Commit, EntryKind::Proposal, EntryKind::Welcome];
        let payload = match &entry.payload {
            Payload::Raw(bytes) => bytes.clone(),
            Payload::Real(log, index, edits) => {
                let (_, entries) = &logs[usize::from(*log) % logs.len()];
                let original = entries.get(usize::from(*index) % entries.len().max(1));
                let original = original.map_or(&[][..], |entry| &entry.payload);
                edits.as_ref().map_or(original.to_vec(), |edits| edits.apply(original))
            }
        };
        Entry { log, seq, at: self.now, kind: kinds[usize::from(entry.kind) % kinds.len()], payload }
    }

    fn request(&self, which: u8) -> Option<(u64, Request)> {
        let index = usize::from(which) % self.requests.len().max(1);
        self.requests.iter().nth(index).map(|(id, request)| (*id, request.clone()))
    }

    fn answer(&mut self, request: &Request, how: How) -> Result<Reply, Refusal> {
        let honest = self.history.answer(request);
        let head = |epoch, seq| Head { epoch: Epoch(epoch), seq: Seq(seq) };
        let outcome = match &how {
            How::Refused { code, after } => {
                let codes = [Code::Internal, Code::RateLimited, Code::NotFound, Code::Forbidden, Code::Invalid];
                let after = std::time::Duration::from_millis(u64::from(*after));
                return Err(Refusal::later(codes[usize::from(*code) % codes.len()], "no", after));
            }
            How::Behind { epoch, seq } => PostOutcome::StaleEpoch(head(*epoch, *seq)),
            How::Accepted(seq) => PostOutcome::Accepted(Seq(*seq)),
            How::Honest | How::Edited(_) | How::Other(_) => PostOutcome::Accepted(Seq(1)),
        };
        let edit = |bytes: Vec<u8>| match &how {
            How::Edited(edits) => edits.apply(&bytes),
            _ => bytes,
        };
        match (request, honest) {
            (Request::Commit { .. }, _) => Ok(Reply::Committed(match outcome {
                PostOutcome::Accepted(seq) => CommitOutcome::Accepted(seq),
                PostOutcome::StaleEpoch(head) => CommitOutcome::Superseded(head),
            })),
            (Request::Create(_), _) => Ok(Reply::Created(match how {
                How::Other(id) => CreateOutcome::Exists(GroupId(id)),
                _ => CreateOutcome::Created { first: Seq(1) },
            })),
            (Request::Post { .. }, _) => Ok(Reply::Posted(outcome)),
            (Request::Leave { .. }, _) => Ok(Reply::Left(outcome)),
            (Request::PublishKeys { .. }, _) => Ok(Reply::Stock(30)),
            (Request::UpdateManifest(_), _) => {
                Ok(Reply::ManifestUpdated { is_superseded: !matches!(how, How::Honest) })
            }
            (_, Some(Ok(Reply::Account(account)))) => {
                Ok(Reply::Account(Account { name: account.name, manifest: edit(account.manifest) }))
            }
            (_, Some(Ok(Reply::Packages(packages)))) => Ok(Reply::Packages(packages.into_iter().map(edit).collect())),
            (_, Some(Ok(Reply::Tree(tree)))) => Ok(Reply::Tree(edit(tree))),
            (_, Some(Ok(Reply::RejoinInfo(info)))) => {
                Ok(Reply::RejoinInfo(RejoinInfo { group_info: edit(info.group_info), ..info }))
            }
            (_, Some(answer)) => answer,
            (_, None) => Err(Refusal::new(Code::Internal, "no")),
        }
    }

    fn wish(&mut self, number: usize, wish: Wish) {
        let conversation =
            |which: u8| self.history.conversations[usize::from(which) % self.history.conversations.len()];
        let person = |which: u8| self.history.others[usize::from(which) % self.history.others.len()];
        let change = |which, kind| Command::Change { conversation: conversation(which), kind };
        let names = ["alice", "bob", "carol", "dave", "nobody"];
        let mut text = None;
        let command = match wish {
            Wish::Send(which) => {
                let own = format!("own {number}");
                text = Some(own.clone());
                let (body, fallback) = (Body::Text(own), String::new());
                Command::Send { conversation: conversation(which), body, fallback, in_reply_to: None, key: None }
            }
            Wish::Direct(who) => Command::Direct(person(who)),
            Wish::Group(who) => {
                let members = who.into_iter().take(4).map(person).collect();
                Command::CreateGroup { name: "new".into(), members, suite: 0x4e }
            }
            Wish::Add(which, who) => {
                change(which, WishKind::Add { who: who.into_iter().take(4).map(person).collect() })
            }
            Wish::Remove(which, who) => change(which, WishKind::Remove { who: person(who) }),
            Wish::Rename(which, name) => change(which, WishKind::Rename { name }),
            Wish::Admin(which, who, is_admin) => change(which, WishKind::SetAdmin { who: person(who), is_admin }),
            Wish::Leave(which) => change(which, WishKind::Leave),
            Wish::Update(which) => change(which, WishKind::UpdateKey),
            Wish::LookUp(which) => Command::LookUp(names[usize::from(which) % names.len()].parse().expect("a name")),
            Wish::Reject(who) => Command::SetTrust { identity: person(who), trust: Trust::Rejected },
        };
        let before = self.store.clone();
        // A wish may be refused; then nothing has happened.
        match self.engine.handle(&mut self.store, self.now, Input::Command(command)) {
            Ok(effects) => {
                if effects.iter().any(|effect| matches!(effect, Effect::Answer(Answer::Message { .. }))) {
                    self.sent.extend(text);
                }
                self.carry_out(effects);
            }
            Err(_) => {
                self.store = before;
                self.engine.rolled_back();
            }
        }
    }

    /// What comes from the network must be dealt with: an error would end the connection, and come again with the next.
    fn handle(&mut self, input: Input) {
        match self.engine.handle(&mut self.store, self.now, input) {
            Ok(effects) => self.carry_out(effects),
            Err(error) => panic!("{error}"),
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        assert!(effects.len() < MOST_EFFECTS, "{} effects of one input", effects.len());
        for effect in effects {
            if let Effect::Request { id, request } = effect {
                self.requests.insert(id, request);
            }
        }
    }

    fn check(&mut self) {
        let query = &mut Query::new(&mut self.store);
        let mut texts = Vec::new();
        for conversation in query.conversations().expect("readable") {
            query.group_info(conversation.id).expect("readable");
            let history = query.history(conversation.id, None, 10_000, None).expect("readable");
            let shown = self.shown.entry(conversation.id).or_default();
            assert!(history.len() >= *shown, "messages are gone");
            *shown = history.len();
            texts.extend(history.into_iter().map(|message| message.content.text().to_owned()));
        }
        for sent in &self.sent {
            assert!(texts.contains(sent), "an own message is gone");
        }
        query.events(0, 100_000).expect("readable");
    }
}

const MOST_STEPS: usize = 24;
const MOST_EFFECTS: usize = 500;
