//! Watching a transfer: telling how far it is, stopping when it is told to, and giving up when nothing moves.

use std::ops::ControlFlow;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use qpq_proto::code::{Code, Refusal};

use super::calls::BlobAnswered;
use crate::Error;
use crate::waiter::Awaited;
use crate::wire::{BlobAnswer, BlobCall};

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub step: Step,
    /// Bytes.
    pub done: u64,
    pub total: u64,
}

/// What is being done. Each step begins anew with zero bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The file is read to know what it is.
    Reading,
    Sending,
    Receiving,
    /// What has come is written under its name.
    Writing,
}

/// The server as a transfer sees it.
pub trait Remote {
    /// Makes a call; its answer can be waited for later. It ends without one when there is no connection (any more).
    fn call(&self, call: BlobCall) -> Awaited<BlobAnswered>;
    /// Whether there is a connection; the error says why there will be none.
    fn is_online(&self) -> Result<bool, Error>;
    /// Why waiting for so long was in vain.
    fn trouble(&self, waited: Duration) -> Error;
}

/// Told how far a transfer is, and again and again while it waits; it stops the transfer with a break.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// One transfer.
pub struct Watch<'a> {
    remote: &'a dyn Remote,
    tell: OnProgress<'a>,
    progress: Progress,
    patience: Duration,
    moved: Instant,
}

/// What came of a call.
pub enum Outcome {
    Answer(BlobAnswer),
    /// To be asked again, from what the server says it has.
    Again,
}

impl<'a> Watch<'a> {
    /// `patience`: how long nothing may move before the transfer is given up for now.
    pub fn new(remote: &'a dyn Remote, patience: Duration, tell: OnProgress<'a>) -> Self {
        let progress = Progress { step: Step::Reading, done: 0, total: 0 };
        Self { remote, tell, progress, patience, moved: Instant::now() }
    }

    pub fn begin(&mut self, step: Step, total: u64) {
        self.progress = Progress { step, done: 0, total };
        self.moved = Instant::now();
    }

    pub fn done(&mut self, done: u64) -> Result<(), Error> {
        if done > self.progress.done {
            self.moved = Instant::now();
        }
        self.progress.done = done;
        self.look()
    }

    pub fn call(&self, call: BlobCall) -> Awaited<BlobAnswered> {
        self.remote.call(call)
    }

    /// Waits for the answer of a call, and over what time heals.
    pub fn answer(&mut self, awaited: &Awaited<BlobAnswered>) -> Result<Outcome, Error> {
        loop {
            match awaited.recv_timeout(SLICE) {
                Ok(Ok(answer)) => return Ok(Outcome::Answer(answer)),
                Ok(Err(refusal)) if refusal.code.is_retryable() => {
                    self.pause(refusal.retry_after.unwrap_or(PAUSE))?;
                    return Ok(Outcome::Again);
                }
                Ok(Err(refusal)) => return Err(refused(refusal)),
                Err(RecvTimeoutError::Timeout) => self.look()?,
                Err(RecvTimeoutError::Disconnected) => {
                    self.reconnected()?;
                    return Ok(Outcome::Again);
                }
            }
        }
    }

    /// Waits until there is a connection again.
    fn reconnected(&mut self) -> Result<(), Error> {
        self.pause(PAUSE)?;
        while !self.remote.is_online()? {
            self.pause(PAUSE)?;
        }
        Ok(())
    }

    pub fn pause(&mut self, pause: Duration) -> Result<(), Error> {
        let end = Instant::now() + pause;
        loop {
            self.look()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(SLICE));
        }
    }

    fn look(&mut self) -> Result<(), Error> {
        if (self.tell)(self.progress).is_break() {
            return Err(Error::Stopped);
        }
        let waited = self.moved.elapsed();
        if waited > self.patience { Err(self.remote.trouble(waited)) } else { Ok(()) }
    }
}

fn refused(refusal: Refusal) -> Error {
    match refusal.code {
        Code::NotFound => Error::Refused(format!("{}; ask for it to be sent again", refusal.detail)),
        Code::QuotaExceeded => Error::Refused(format!(
            "{}: this account has too many files on the server; the oldest ones go by themselves, try again later",
            refusal.detail
        )),
        Code::BadRequest
        | Code::UnsupportedVersion
        | Code::WrongCredentials
        | Code::NameTaken
        | Code::RegistrationClosed
        | Code::InviteInvalid
        | Code::Forbidden
        | Code::RateLimited
        | Code::TooLarge
        | Code::Invalid
        | Code::DeviceUnknown
        | Code::AccountDisabled
        | Code::Overloaded
        | Code::Internal => Error::Refused(refusal.detail),
    }
}

/// How often somebody is told that nothing has changed.
const SLICE: Duration = Duration::from_millis(100);
pub const PAUSE: Duration = Duration::from_millis(100);
