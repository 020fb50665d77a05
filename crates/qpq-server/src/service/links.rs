//! Mailboxes in which two devices of one person find each other. In memory and short-lived: what is in them is sealed, and
//! after a restart of the server one begins again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qpq_io::rpc::endpoint::network;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::limits;
use qpq_proto::link::LinkStep;
use qpq_proto::time::Timestamp;
use tokio::sync::Notify;

use super::{Service, refuse};

/// A mailbox's id, which both devices derive from the link code.
pub type MailboxId = [u8; 16];

/// All that are open.
#[derive(Default)]
pub struct Links(Mutex<HashMap<MailboxId, Mailbox>>);

struct Mailbox {
    expires: Timestamp,
    /// What has been put in, in the order of the steps.
    steps: Vec<Vec<u8>>,
    grown: Arc<Notify>,
}

impl Links {
    fn open(&self, now: Timestamp) -> MutexGuard<'_, HashMap<MailboxId, Mailbox>> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, mailbox| mailbox.expires > now);
        open
    }
}

impl Service {
    /// Puts one step into a mailbox; the first one opens it. Repeating a step is harmless, another one in its place is not.
    pub fn link_put(&self, from: IpAddr, id: MailboxId, step: LinkStep, data: Vec<u8>) -> Result<(), Refusal> {
        self.limits.links_from.check(&network(from), &self.metrics)?;
        let most = if step == LinkStep::Bundle { limits::LINK_BUNDLE } else { limits::LINK_MESSAGE };
        if data.len() > most {
            return Err(refuse::too_large("a message of a link", most));
        }
        let now = self.clock.now();
        let mut open = self.links.open(now);
        if step == LinkStep::Offer && !open.contains_key(&id) {
            if open.len() >= MOST_MAILBOXES {
                let wait = Duration::from_secs(60);
                return Err(Refusal::later(Code::Overloaded, "too many devices are being linked now", wait));
            }
            open.insert(id, Mailbox { expires: now.after(LIFE), steps: vec![data], grown: Arc::default() });
            return Ok(());
        }
        let mailbox = open.get_mut(&id).ok_or_else(unknown)?;
        let place = step as usize;
        match mailbox.steps.get(place) {
            Some(there) if *there == data => Ok(()),
            Some(_) => Err(Refusal::new(Code::Forbidden, "this link code has been used: make another one")),
            None if place == mailbox.steps.len() => {
                mailbox.steps.push(data);
                mailbox.grown.notify_waiters();
                Ok(())
            }
            None => Err(Refusal::new(Code::BadRequest, "this step of a link comes too early")),
        }
    }

    /// What is in a mailbox; waits up to `patience` for it. None: it has not come.
    pub async fn link_take(
        &self,
        from: IpAddr,
        id: MailboxId,
        step: LinkStep,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        self.limits.links_from.check(&network(from), &self.metrics)?;
        let look = || -> Result<Result<Vec<u8>, Arc<Notify>>, Refusal> {
            let open = self.links.open(self.clock.now());
            let mailbox = open.get(&id).ok_or_else(unknown)?;
            Ok(mailbox.steps.get(step as usize).cloned().ok_or_else(|| mailbox.grown.clone()))
        };
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let grown = match look()? {
                Ok(data) => return Ok(Some(data)),
                Err(grown) => grown,
            };
            let mut notified = std::pin::pin!(grown.notified());
            // Listening comes first, so that nothing is missed between looking and listening.
            notified.as_mut().enable();
            if let Ok(data) = look()? {
                return Ok(Some(data));
            }
            if tokio::time::timeout_at(deadline, notified).await.is_err() {
                return Ok(None);
            }
        }
    }
}

fn unknown() -> Refusal {
    Refusal::new(Code::NotFound, "this link code is unknown here, or its ten minutes are over: make another one")
}

/// How long a code is good.
const LIFE: Duration = Duration::from_secs(600);

/// With full bundles 128 MiB.
const MOST_MAILBOXES: usize = 256;
