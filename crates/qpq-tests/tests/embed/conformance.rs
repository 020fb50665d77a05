//! The scenarios of `sdks/conformance`, through the C functions.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use qpq_ffi::testing::Handle;
use qpq_tests::world::{PASSWORD, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn register() -> Result<()> {
    play("register")
}

#[test]
fn direct_message() -> Result<()> {
    play("direct-message")
}

#[test]
fn group_life_cycle() -> Result<()> {
    play("group-life-cycle")
}

#[test]
fn offline_catch_up() -> Result<()> {
    play("offline-catch-up")
}

#[test]
fn trust() -> Result<()> {
    play("trust")
}

#[test]
fn rich_messages() -> Result<()> {
    play("rich-messages")
}

#[test]
fn files() -> Result<()> {
    play("files")
}

#[test]
fn devices() -> Result<()> {
    play("devices")
}

#[test]
fn link() -> Result<()> {
    play("link")
}

#[test]
fn account() -> Result<()> {
    play("account")
}

/// Somebody added a file and forgot the test of it.
#[test]
fn every_scenario_is_played() -> Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(scenarios())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            names.push(path.file_stem().context("a name")?.to_string_lossy().replace('-', "_"));
        }
    }
    let here = include_str!("conformance.rs");
    for name in names {
        ensure!(here.contains(&format!("fn {name}()")), "{name} is not played");
    }
    Ok(())
}

fn scenarios() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdks/conformance")
}

fn play(name: &str) -> Result<()> {
    let scenario: Value = serde_json::from_slice(&std::fs::read(scenarios().join(format!("{name}.json")))?)?;
    let mut stage = Stage::new()?;
    for (number, step) in (1..).zip(scenario["steps"].as_array().context("steps")?) {
        stage.step(step).with_context(|| format!("{name}, step {number}: {step}"))?;
    }
    Ok(())
}

/// A server, and whoever has come on.
struct Stage {
    folder: TempDir,
    data: TempDir,
    address: String,
    server: Option<Server>,
    handles: BTreeMap<String, Handle>,
    saved: BTreeMap<String, Value>,
}

impl Stage {
    fn new() -> Result<Self> {
        let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let server = Server::start(data.path())?;
        let address = server.address.clone();
        let (handles, saved) = Default::default();
        Ok(Self { folder, data, address, server: Some(server), handles, saved })
    }

    fn step(&mut self, step: &Value) -> Result<()> {
        if let Some(what) = step["server"].as_str() {
            return self.server(what);
        }
        if let Some(name) = step["file"].as_str() {
            return self.file(name, step);
        }
        if let Some(names) = step["same_file"].as_array() {
            let read = |index: usize| std::fs::read(self.path(names[index].as_str().unwrap_or_default()));
            ensure!(read(0)? == read(1)?, "the files differ");
            return Ok(());
        }
        if let Some(steps) = step["together"].as_array() {
            return self.together(steps);
        }
        let outcome = self.act(step)?;
        self.compare(step, outcome)
    }

    /// Requests that wait for each other.
    fn together(&mut self, steps: &[Value]) -> Result<()> {
        let request = |step: &Value| -> Result<_> {
            let who = step["as"].as_str().context("who")?;
            Ok((*self.handles.get(who).context("not here")?, self.filled_in(&step["request"])?))
        };
        let requests = steps.iter().map(request).collect::<Result<Vec<_>>>()?;
        let calls: Vec<_> =
            requests.into_iter().map(|(handle, request)| thread::spawn(move || handle.request(&request))).collect();
        let outcomes: Vec<_> = calls.into_iter().map(thread::JoinHandle::join).collect();
        for (step, outcome) in steps.iter().zip(outcomes) {
            let outcome = outcome.map_err(|_| anyhow::anyhow!("a panic"))?;
            self.compare(step, outcome).with_context(|| step.to_string())?;
        }
        Ok(())
    }

    fn compare(&mut self, step: &Value, outcome: Result<Value, Value>) -> Result<()> {
        if let Some(code) = step["error"].as_str() {
            let Err(error) = &outcome else { bail!("no error, but {outcome:?}") };
            ensure!(error["code"] == code, "{error}");
            return Ok(());
        }
        let value = outcome.map_err(|error| anyhow::anyhow!("{error}"))?;
        for expected in [&step["reply"], &step["event"]] {
            let expected = self.filled_in(expected)?;
            ensure!(expected.is_null() || looks_like(&value, &expected), "{value}");
        }
        for (name, pointer) in step["save"].as_object().into_iter().flatten() {
            let pointer = pointer.as_str().context("a JSON pointer")?;
            self.saved.insert(name.clone(), value.pointer(pointer).context("nothing to save")?.clone());
        }
        Ok(())
    }

    /// What one person does: a value, or an error object.
    fn act(&mut self, step: &Value) -> Result<Result<Value, Value>> {
        let who = step["as"].as_str().context("who")?;
        if let Some(what) = step["do"].as_str() {
            return self.come_or_go(who, what, &step["with"]);
        }
        let handle = *self.handles.get(who).context("not here")?;
        if !step["request"].is_null() {
            return Ok(handle.request(&self.filled_in(&step["request"])?));
        }
        if let Some(kind) = step["event"]["type"].as_str() {
            return next_of(handle, kind, PATIENCE).and_then(|event| Ok(Ok(event.context("nothing came")?)));
        }
        let kind = step["quiet"].as_str().context("no such step")?;
        if let Err(error) = handle.request(&json!({"op": "sync"})) {
            return Ok(Err(error));
        }
        match next_of(handle, kind, Duration::ZERO)? {
            None => Ok(Ok(Value::Null)),
            Some(event) => bail!("not quiet: {event}"),
        }
    }

    fn come_or_go(&mut self, who: &str, what: &str, with: &Value) -> Result<Result<Value, Value>> {
        let mut config = json!({"home": self.path(who), "password": PASSWORD, "server": self.address});
        if matches!(what, "register" | "login") {
            config["name"] = json!(who);
        }
        for (field, value) in with.as_object().into_iter().flatten() {
            config[field] = self.filled_in(value)?;
        }
        let opened = match what {
            "register" => Handle::register(&config),
            "login" => Handle::login(&config),
            "open" => Handle::open(&config),
            "link" => {
                return Ok(Handle::link(&config).map(|(handle, code)| {
                    self.handles.insert(who.to_owned(), handle);
                    code
                }));
            }
            // The handle is kept: that it is stale is to be seen.
            "close" => return Ok(self.handles.get(who).context("not here")?.close().map(|()| Value::Null)),
            _ => bail!("nobody can {what}"),
        };
        Ok(opened.and_then(|handle| {
            handle.connect()?;
            self.handles.insert(who.to_owned(), handle);
            Ok(Value::Null)
        }))
    }

    fn server(&mut self, what: &str) -> Result<()> {
        match what {
            "kill" => self.server.take().context("no server")?.kill(),
            "start" => {
                self.server = Some(Server::start_with(self.data.path(), &self.address, &[])?);
                Ok(())
            }
            _ => bail!("a server cannot {what}"),
        }
    }

    fn file(&self, name: &str, step: &Value) -> Result<()> {
        let content = match (step["text"].as_str(), step["size"].as_u64()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(size)) => (0..size).map(|index| (index * 31 % 251) as u8).collect(),
            (None, None) => bail!("a file without content"),
        };
        Ok(std::fs::write(self.path(name), content)?)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// With what was saved in the place of its names.
    fn filled_in(&self, value: &Value) -> Result<Value> {
        Ok(match value {
            Value::String(text) => match text.strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(name) => self.saved.get(name).with_context(|| format!("{name} was not saved"))?.clone(),
                None => json!(text.replace("${dir}", &self.folder.path().to_string_lossy())),
            },
            Value::Array(items) => Value::Array(items.iter().map(|item| self.filled_in(item)).collect::<Result<_>>()?),
            Value::Object(fields) => {
                let filled = fields.iter().map(|(name, value)| Ok((name.clone(), self.filled_in(value)?)));
                Value::Object(filled.collect::<Result<_>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for handle in self.handles.values() {
            let _ = handle.close();
        }
    }
}

/// The next event of this type; others are passed over. Acknowledged.
fn next_of(handle: Handle, kind: &str, patience: Duration) -> Result<Option<Value>> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = handle.next_event("conformance", left).map_err(|error| anyhow::anyhow!("{error}"))?;
        let Some(event) = event else { return Ok(None) };
        let position = event["position"].as_u64().context("a position")?;
        handle.acknowledge("conformance", position).map_err(|error| anyhow::anyhow!("{error}"))?;
        if event["type"] == kind {
            return Ok(Some(event));
        }
    }
}

fn looks_like(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::Object(value), Value::Object(expected)) => {
            expected.iter().all(|(name, expected)| value.get(name).is_some_and(|value| looks_like(value, expected)))
        }
        (Value::Array(value), Value::Array(expected)) => {
            value.len() == expected.len()
                && value.iter().zip(expected).all(|(value, expected)| looks_like(value, expected))
        }
        (value, expected) => value == expected,
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
