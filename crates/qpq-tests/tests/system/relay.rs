//! The network between the real programs: black holes, changes of address, bad weather.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qpq_tests::dice::Dice;
use qpq_tests::relay::{Hole, Relay, Weather};
use qpq_tests::world::{Person, Server, finish_child, texts};
use tempfile::tempdir;

/// `qpq --json recv --follow` with what it has said so far.
struct Follower {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Follower {
    fn start(person: &Person) -> Result<Self> {
        let mut child = person.command(&["--json", "recv", "--follow"]).stdin(Stdio::null()).spawn()?;
        let stdout = collect(child.stdout.take().context("piped")?);
        let stderr = collect(child.stderr.take().context("piped")?);
        Ok(Self { child, stdout, stderr })
    }

    /// The texts that it has shown.
    fn shown(&self) -> Result<Vec<String>> {
        let printed = self.stdout.lock().unwrap().clone();
        let lines = printed.lines().map(serde_json::from_str).collect::<Result<Vec<_>, _>>()?;
        Ok(texts(&lines))
    }

    fn has_said(&self, words: &str) -> bool {
        self.stderr.lock().unwrap().contains(words)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let said = Arc::<Mutex<String>>::default();
    let whole_lines = said.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            *whole_lines.lock().unwrap() += &(line + "\n");
        }
    });
    said
}

/// Waits until it holds; answers how long that took.
fn until(what: &str, condition: impl Fn() -> Result<bool>) -> Result<Duration> {
    let began = Instant::now();
    while !condition()? {
        ensure!(began.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(began.elapsed())
}

/// A number among the server's metrics.
fn metric(server: &Server, name: &str) -> Result<u64> {
    let (_, text) = server.http("/metrics")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).context(name.to_owned())?;
    Ok(value.parse()?)
}

fn black_hole(hole: Hole) -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let relay = Relay::start(&server.address, 0)?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &relay.address)?;
    alice.run(&["send", "@bob", "before"])?.success()?;
    let follower = Follower::start(&bob)?;
    until("the first message", || Ok(follower.shown()? == ["before"]))?;
    // The one that has registered and the commands that have ended said goodbye.
    until("one session", || Ok(metric(&server, "qpq_sessions")? == 1))?;
    let connections = metric(&server, "qpq_connections_total")?;

    relay.set_hole(hole);
    let began = Instant::now();
    until("the server notices", || Ok(metric(&server, "qpq_sessions")? == 0))?;
    let server_noticed = began.elapsed();
    until("the client notices", || Ok(follower.has_said("offline: ")))?;
    let client_noticed = began.elapsed();
    println!("{hole:?}: the server noticed after {server_noticed:?}, the client after {client_noticed:?}");
    for noticed in [server_noticed, client_noticed] {
        assert!(noticed < NOTICED, "{noticed:?}");
    }
    alice.run(&["send", "@bob", "meanwhile"])?.success()?;
    assert_eq!(follower.shown()?, ["before"]);

    relay.set_hole(Hole::Closed);
    until("the client catches up", || Ok(follower.shown()?.len() >= 2))?;
    alice.run(&["send", "@bob", "after"])?.success()?;
    until("the last message", || Ok(follower.shown()?.len() >= 3))?;
    assert_eq!(follower.shown()?, ["before", "meanwhile", "after"]);
    assert!(follower.has_said("online again"));
    assert!(metric(&server, "qpq_connections_total")? > connections);
    assert!(relay.lost() > 0);
    Ok(())
}

#[test]
fn black_holes_are_noticed_at_both_ends_and_nothing_is_lost_in_them() -> Result<()> {
    // At the same time, because all of them mostly wait.
    std::thread::scope(|scope| {
        let running = [Hole::Both, Hole::ToServer, Hole::ToClient].map(|hole| scope.spawn(move || black_hole(hole)));
        running.into_iter().try_for_each(|thread| thread.join().expect("a thread of the test"))
    })
}

#[test]
fn a_client_whose_address_changes_keeps_its_connection() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let relay = Relay::start(&server.address, 0)?;
    let alice = Person::registered(&folder, "alice", &relay.address)?;
    let bob = Person::registered(&folder, "bob", &relay.address)?;
    let follower = Follower::start(&bob)?;
    alice.run(&["send", "@bob", "0"])?.success()?;
    until("the first message", || Ok(follower.shown()? == ["0"]))?;

    // Alice types without end while the addresses change under both of them.
    let mut repl = alice.command(&["--json", "repl"]).stdin(Stdio::piped()).spawn()?;
    let mut stdin = repl.stdin.take().context("piped")?;
    let printed = collect(repl.stdout.take().context("piped")?);
    use std::io::Write as _;
    writeln!(stdin, "/dm @bob")?;
    let mut expected = vec!["0".to_owned()];
    writeln!(stdin, "1")?;
    expected.push("1".into());
    until("the writer is connected", || Ok(follower.shown()?.len() >= 2))?;
    until("commands have said goodbye", || Ok(metric(&server, "qpq_sessions")? == 2))?;
    let connections = metric(&server, "qpq_connections_total")?;
    for change in 0..2 {
        relay.change_addresses();
        for line in 0..10 {
            let text = format!("{change}.{line}");
            writeln!(stdin, "{text}")?;
            expected.push(text);
        }
        // Bob only listens, so that the server learns his new address with his next keep-alive.
        until("what was written after a change", || Ok(follower.shown()?.len() >= expected.len()))?;
    }
    drop(stdin);
    finish_child(repl)?.success()?;
    assert_eq!(follower.shown()?, expected);
    assert_eq!(metric(&server, "qpq_connections_total")?, connections, "nobody had to connect again");
    let sent = printed.lock().unwrap().matches(r#""type":"sent""#).count();
    assert_eq!(sent, expected.len() - 1);
    Ok(())
}

#[test]
fn a_conversation_in_bad_weather_stays_whole() -> Result<()> {
    let seed = Dice::fresh_seed();
    println!("seed {seed}");
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let relay = Relay::start(&server.address, seed)?;
    relay.set_weather(Weather { loss: 15, duplication: 10, delay: Duration::ZERO..Duration::from_millis(20) });
    let alice = Person::registered(&folder, "alice", &relay.address)?;
    let bob = Person::registered(&folder, "bob", &relay.address)?;
    alice.run(&["send", "--timeout", "60s", "@bob", "hello"])?.success()?;
    bob.run(&["send", "--timeout", "60s", "@alice", "hello yourself"])?.success()?;
    let lines = |to: &str, from: &str| -> Vec<String> {
        let open = std::iter::once(format!("/dm @{to}"));
        open.chain((0..100).map(|number| format!("{from} {number}"))).collect()
    };
    let (from_alice, from_bob) = (lines("bob", "alice"), lines("alice", "bob"));
    std::thread::scope(|scope| {
        let running = [(&alice, &from_alice), (&bob, &from_bob)].map(|(person, lines)| {
            scope.spawn(move || -> Result<()> {
                let done = person.repl(lines)?;
                ensure!(done.code == 0 || done.code == 3, "{}: {}", done.code, done.stderr);
                // What did not make it in time goes out now.
                until("everything is sent", || Ok(person.json(&["sync", "--timeout", "60s"])?[0]["waiting"] == 0))?;
                Ok(())
            })
        });
        running.into_iter().try_for_each(|thread| thread.join().expect("a writing thread"))
    })?;
    for (person, other, sent) in [(&alice, "@bob", &from_bob), (&bob, "@alice", &from_alice)] {
        person.run(&["sync", "--timeout", "60s"])?.success()?;
        let history = texts(&person.json(&["history", other, "--limit", "1000"])?);
        assert_eq!(history.len(), 202);
        let received: Vec<_> = history.iter().filter(|text| sent.contains(text)).collect();
        assert_eq!(received, sent[1..].iter().collect::<Vec<_>>(), "complete, once, in order");
    }
    assert!(relay.lost() > 0);
    Ok(())
}

/// The product promises 30 s; a busy machine may need a little longer to look.
const NOTICED: Duration = Duration::from_secs(45);

const PATIENCE: Duration = Duration::from_secs(120);
