//! One person, and the program that person runs at the moment.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;
use super::ledger::{Ledger, Queue};
use super::plan::Role;
use crate::world::{Person, wait};

/// A member of the group.
pub struct Member {
    pub index: usize,
    pub person: Person,
    /// `#` and the group's id.
    pub group: String,
    program: Option<Program>,
    log: std::path::PathBuf,
}

/// A program that runs.
struct Program {
    role: Role,
    child: Child,
    stdin: Option<ChildStdin>,
    /// Texts that were typed and not confirmed yet.
    typed: Typed,
    reader: Option<JoinHandle<()>>,
    /// What a one-shot sends.
    text: String,
}

type Typed = Arc<Mutex<VecDeque<String>>>;

impl Member {
    pub fn registered(folder: &TempDir, index: usize, name: &str, server: &str) -> Result<Self> {
        let person = Person::registered(folder, name, server)?;
        let log = folder.path().join(format!("{name}.log"));
        Ok(Self { index, person, group: String::new(), program: None, log })
    }

    /// Starts the program of this role unless it runs.
    pub fn begin(&mut self, role: Role, ledger: &Arc<Ledger>) -> Result<()> {
        if self.program.as_ref().is_some_and(|program| program.role == role) {
            return Ok(());
        }
        self.end()?;
        let (arguments, queue): (&[&str], _) = match role {
            Role::Writer => (&["--json", "repl"], Queue::Repl),
            Role::Follower => (&["--json", "recv", "--follow"], Queue::Recv),
            Role::OneShots => return Ok(()),
        };
        let mut child = self.spawn(arguments)?;
        let typed = Typed::default();
        ledger.begins(self.index, queue);
        let reader = read(child.stdout.take().context("piped")?, self.index, queue, typed.clone(), ledger.clone());
        let mut program =
            Program { role, stdin: child.stdin.take(), child, typed, reader: Some(reader), text: String::new() };
        if role == Role::Writer {
            program.write(&format!("/switch {}", self.group));
        }
        self.program = Some(program);
        Ok(())
    }

    /// Types a message, if the program is one that can be typed into.
    pub fn say(&mut self, text: &str) {
        if let Some(program) = self.program.as_mut().filter(|program| program.role == Role::Writer) {
            program.typed.lock().unwrap_or_else(PoisonError::into_inner).push_back(text.to_owned());
            program.write(text);
        }
    }

    /// Types a command.
    pub fn command(&mut self, line: &str) {
        if let Some(program) = &mut self.program {
            program.write(line);
        }
    }

    /// Looks after `qpq send`: takes its result, and starts the next one if there is a text.
    pub fn one_shot(&mut self, text: Option<String>, ledger: &Ledger) -> Result<()> {
        if let Some(program) = self.program.as_mut().filter(|program| program.role == Role::OneShots) {
            let Some(status) = program.child.try_wait()? else { return Ok(()) };
            let mut printed = String::new();
            program.child.stdout.take().context("piped")?.read_to_string(&mut printed)?;
            let line: Value = serde_json::from_str(printed.trim()).unwrap_or_default();
            let id = line["id"].as_str().unwrap_or_default();
            match status.code() {
                Some(0) => {
                    ledger.accepted(&program.text, id);
                    ledger.acknowledged(self.index, id);
                }
                // The server was away for longer than the command waits: it goes out later.
                Some(3) => ledger.accepted(&program.text, id),
                other => ledger.problem(format!("`qpq send` of {} ended with {other:?}", self.person.name)),
            }
            self.program = None;
        }
        if let (None, Some(text)) = (&self.program, text) {
            let child = self.spawn(&["--json", "send", &self.group, &text])?;
            let (typed, stdin) = (Typed::default(), None);
            self.program = Some(Program { role: Role::OneShots, child, stdin, typed, reader: None, text });
        }
        Ok(())
    }

    /// Whether a program runs.
    pub fn is_busy(&self) -> bool {
        self.program.is_some()
    }

    /// `kill -9`. Whether there was something to kill.
    pub fn kill(&mut self) -> Result<bool> {
        let Some(mut program) = self.program.take() else { return Ok(false) };
        program.child.kill()?;
        program.child.wait()?;
        if let Some(reader) = program.reader.take() {
            ensure!(reader.join().is_ok(), "the reading thread panicked");
        }
        Ok(true)
    }

    /// Ends the program in order if it can be told to; what it has printed is taken.
    pub fn end(&mut self) -> Result<()> {
        let Some(program) = self.program.as_mut() else { return Ok(()) };
        program.stdin = None;
        match program.role {
            Role::Writer | Role::OneShots => {
                wait(&mut program.child, PATIENCE).with_context(|| self.person.name.clone())?;
            }
            Role::Follower => {}
        }
        self.kill().map(drop)
    }

    /// What its programs have complained of.
    pub fn complaints(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log).unwrap_or_default())
    }

    fn spawn(&self, arguments: &[&str]) -> Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        Ok(self.person.command(arguments).stdin(Stdio::piped()).stderr(log).spawn()?)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

impl Program {
    fn write(&mut self, line: &str) {
        // A program that has ended by itself is found out about by what is missing.
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(format!("{line}\n").as_bytes());
        }
    }
}

fn read(stdout: ChildStdout, index: usize, queue: Queue, typed: Typed, ledger: Arc<Ledger>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut torn = None;
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Only the last line of a program that was killed may be torn.
            if let Some(torn) = torn.take() {
                ledger.problem(format!("not JSON: {torn}"));
            }
            let Ok(line) = serde_json::from_str::<Value>(&line) else {
                torn = Some(line);
                continue;
            };
            if line["type"] == "send" {
                let text = typed.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_default();
                ledger.accepted(&text, line["id"].as_str().unwrap_or_default());
            }
            ledger.printed(index, queue, &line);
        }
    })
}
