//! A new device that is being linked. Its handle becomes that of the client.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use qpq_client::json::{self, LinkCodeLine, LinkCompareLine, LinkedLine};
use qpq_client::{Error, Introduced, LINK_PATIENCE, Linking, SecretString};
use serde::Deserialize;

use crate::config::Config;
use crate::handles;
use crate::instance::Instance;
use crate::request::Asked;
use crate::status::{Failure, QpqStatus};

pub struct Link {
    stage: Mutex<Stage>,
    password: SecretString,
    interrupts: AtomicU64,
    is_closed: AtomicBool,
}

enum Stage {
    Shown(Box<Linking>),
    Introduced(Box<Introduced>),
    Over,
}

/// What a handle can be asked while its device is not linked.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    LinkWait {},
    LinkAccept {},
}

impl Link {
    /// Has a code to show, in the object that goes with it.
    pub fn begin(config: Config) -> Result<(Self, String), Failure> {
        let (linking, password) = config.link()?;
        let code = json::line(&LinkCodeLine::of(&linking));
        let stage = Mutex::new(Stage::Shown(Box::new(linking)));
        Ok((Self { stage, password, interrupts: AtomicU64::new(0), is_closed: AtomicBool::new(false) }, code))
    }

    /// Carries a request out; the reply.
    pub fn perform(&self, handle: u64, json: &str) -> Result<String, Failure> {
        let interrupts = self.interrupts.load(Ordering::Relaxed);
        let is_interrupted =
            || self.is_closed.load(Ordering::Relaxed) || self.interrupts.load(Ordering::Relaxed) != interrupts;
        let (patience, request) = Asked::parse(json, LINK_PATIENCE)?.into::<Request>()?;
        let mut stage = match self.stage.try_lock() {
            Ok(stage) => stage,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::bad_input("another call with this handle is waiting; one at a time"));
            }
        };
        match request {
            Request::LinkWait {} => wait(&mut stage, patience, &is_interrupted),
            Request::LinkAccept {} => accept(&mut stage, handle, &self.password, patience, &is_interrupted),
        }
    }

    /// Ends the calls that wait at this moment.
    pub fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives the directory back, when nobody waits any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Stage::Over;
    }
}

/// Waits for the other device. Asked again afterwards, it says the same.
fn wait(stage: &mut Stage, patience: Duration, is_interrupted: &dyn Fn() -> bool) -> Result<String, Failure> {
    if let Stage::Shown(linking) = &*stage {
        let hello = linking.wait(patience, is_interrupted).map_err(not_yet)?;
        // Whatever comes of it, this code has been used.
        if let Stage::Shown(linking) = std::mem::replace(stage, Stage::Over) {
            *stage = Stage::Introduced(Box::new(linking.introduce(&hello)?));
        }
    }
    match stage {
        Stage::Introduced(introduced) => Ok(json::line(&LinkCompareLine::of_host(introduced))),
        Stage::Shown(_) | Stage::Over => Err(over()),
    }
}

/// The number was compared, or the user leaves it to the other device: waits for that one, and opens the new profile.
fn accept(
    stage: &mut Stage,
    handle: u64,
    password: &SecretString,
    patience: Duration,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<String, Failure> {
    let deadline = Instant::now() + patience;
    let approval = match &*stage {
        Stage::Introduced(introduced) => introduced.wait(patience, is_interrupted).map_err(not_yet)?,
        Stage::Shown(_) => return Err(Failure::bad_input("link_wait comes first: the numbers are to be compared")),
        Stage::Over => return Err(over()),
    };
    let Stage::Introduced(introduced) = std::mem::replace(stage, Stage::Over) else { return Err(over()) };
    let client = introduced.accept(&approval, password)?;
    let instance = Arc::new(Instance::new(client.clone()));
    if let Err(stale) = handles::linked(handle, instance) {
        client.close();
        return Err(stale);
    }
    match client.wait_settled(deadline.saturating_duration_since(Instant::now()).min(SETTLING)) {
        // It is linked; the rest goes on by itself.
        Ok(()) | Err(Error::Offline(_) | Error::TimedOut(_) | Error::Interrupted) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(json::line(&LinkedLine::of(&client, 0, 0)?))
}

fn not_yet(error: Error) -> Failure {
    match error {
        Error::TimedOut(_) => {
            Failure::Misuse(QpqStatus::TimedOut, "the other device has not answered yet; ask again".into())
        }
        other => other.into(),
    }
}

fn over() -> Failure {
    Failure::bad_input("this link has failed; close it, and begin another one with qpq_link")
}

/// For coming into the groups.
const SETTLING: Duration = Duration::from_secs(15);
