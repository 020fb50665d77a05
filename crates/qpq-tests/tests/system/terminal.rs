//! The REPL at a real terminal.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use qpq_tests::world::{Person, Server, finish_child};
use tempfile::tempdir;

#[test]
fn a_repl_whose_terminal_is_closed_ends() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let repl = alice.command(&["repl"]);
    let words = std::iter::once(repl.get_program()).chain(repl.get_args());
    let line: Vec<_> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    // It has a terminal of its own, which is gone when it is killed.
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--command", &line.join(" "), "/dev/null"]);
    for (name, value) in repl.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = script.spawn().context("`script` is not there")?;
    let typed = terminal.stdin.take();
    let mut shown = BufReader::new(terminal.stdout.take().context("piped")?).lines();
    ensure!(shown.any(|line| line.is_ok_and(|line| line.contains("/help"))), "the REPL does not begin");
    // Somebody is using it.
    assert_eq!(alice.run(&["whoami"])?.code, 1);
    terminal.kill()?;
    terminal.wait()?;
    drop(typed);
    let deadline = Instant::now() + Duration::from_secs(60);
    while finish_child(alice.spawn(&["whoami"])?)?.code != 0 {
        ensure!(Instant::now() < deadline, "the REPL goes on without a terminal");
    }
    Ok(())
}
