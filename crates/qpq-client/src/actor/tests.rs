use qpq_proto::account::ServerHello;

use super::*;
use crate::waiter::waiter;
use qpq_io::db::DbKey;

/// An owner of a profile without an account: no step of the engine works.
fn owner(folder: &std::path::Path) -> Actor {
    let options = crate::Options { home: folder.to_owned(), server: None, ca_cert: None, fingerprint: None };
    let account = qpq_core::account::generate(&"alice".parse().expect("a name"), "laptop").expect("an account");
    Actor {
        profile: Arc::new(Profile::open(&options).expect("a profile directory")),
        device: Arc::new(DeviceKey::of(&account)),
        database: Database::open(&folder.join("qpq.db"), &DbKey::generate()).expect("a database"),
        engine: Engine::new(),
        shared: Arc::default(),
        link: None,
        stream: None,
        turns: channel().0,
        subscriptions: 0,
        caught_up: 0,
        has_caught_up: false,
        run: FIRST_RUN,
        waiting: VecDeque::new(),
        wishes: HashMap::new(),
        messages: HashMap::new(),
        lookups: HashMap::new(),
        settled: Vec::new(),
    }
}

#[test]
fn a_connection_is_given_up_when_a_step_fails() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut owner = owner(folder.path());
    let inputs: [fn() -> News; 3] = [
        || News::Reply { request: 1, result: Err(Refusal::new(qpq_proto::code::Code::Internal, "")) },
        || News::Entries(vec![], oneshot::channel().0),
        || News::KeyPackagesLow(1),
    ];
    for input in inputs {
        let (orders, mut given) = mpsc::unbounded_channel();
        owner.stream = Some(orders);
        owner.news(input());
        assert!(given.is_closed() && given.try_recv().is_err());
        let connection = owner.shared.connection();
        assert!(!connection.online && matches!(connection.trouble.as_deref(), Some(Error::BadInput(_))));
    }
    let (orders, given) = mpsc::unbounded_channel();
    let software = String::new();
    let hello = ServerHello { protocol: 1, domain: String::new(), software, incarnation: 1, now: Timestamp(0) };
    owner.news(News::Connected { hello, orders });
    assert!(given.is_closed() && !owner.shared.connection().online);
    owner.news(News::Disconnected(None));
    assert!(owner.shared.connection().trouble.is_some(), "the link knows no better reason");
}

#[test]
fn replies_that_have_queued_up_are_taken_together_and_fail_as_one_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut owner = owner(folder.path());
    let (orders, given) = mpsc::unbounded_channel();
    owner.stream = Some(orders);
    let (turns, queue) = channel();
    let reply = |request| News::Reply { request, result: Err(Refusal::new(qpq_proto::code::Code::Internal, "")) };
    for request in 2..5 {
        turns.send(Turn::News(reply(request))).expect("the queue is there");
    }
    turns.send(Turn::Close).expect("the queue is there");
    owner.replies(&queue, 1, Err(Refusal::new(qpq_proto::code::Code::Internal, "")));
    assert!(given.is_closed() && queue.try_recv().is_err());
    assert!(matches!(owner.waiting.pop_front(), Some(Turn::Close)), "what is not a reply waits its turn");
}

#[test]
fn only_orders_that_reach_a_connection_count_as_subscriptions() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut owner = owner(folder.path());
    let subscribe = || {
        vec![Effect::Subscribe { log: qpq_proto::stream::LogId::Inbox, after: qpq_proto::ids::Seq(0), known: vec![] }]
    };
    owner.carry_out(subscribe());
    let (orders, given) = mpsc::unbounded_channel();
    owner.stream = Some(orders);
    owner.carry_out(subscribe());
    assert_eq!((owner.subscriptions, given.len()), (1, 1));
    drop(given);
    owner.carry_out(subscribe());
    assert_eq!(owner.subscriptions, 1, "lost, and its end is not processed yet");
}

#[test]
fn who_stopped_waiting_is_forgotten_and_who_comes_late_is_answered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut owner = owner(folder.path());
    let (settled, stays) = waiter();
    owner.settled.push(settled);
    owner.settled.push(waiter().0);
    owner.messages.entry(MessageId([1; 16])).or_default().push(waiter().0);
    owner.tick();
    assert_eq!((owner.settled.len(), owner.messages.len()), (1, 0));
    drop(stays);
    let (answer, sent) = waiter();
    owner.turn(Turn::AwaitMessage(MessageId([2; 16]), answer));
    assert_eq!(sent.recv_timeout(Duration::ZERO), Ok(Ok(())));
}

#[test]
fn ticks_come_however_much_else_there_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut owner = owner(folder.path());
    let (orders, _given) = mpsc::unbounded_channel();
    owner.stream = Some(orders);
    let (turns_tx, turns) = channel();
    let ended = Instant::now() + TICK * 3;
    let asking = std::thread::spawn(move || {
        while Instant::now() < ended {
            let _ = turns_tx.send(Turn::Look(Box::new(|_| ())));
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    owner.run(&turns);
    asking.join().expect("the asking thread");
    assert!(owner.stream.is_none(), "a tick came, and failed");
}
