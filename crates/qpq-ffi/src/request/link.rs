//! Taking in a new device.

use std::sync::{MutexGuard, PoisonError};

use qpq_client::json::{self, DeviceLinkedLine, LinkCompareLine};
use qpq_client::{Carried, Error, PendingLink};
use serde::Serialize;

use super::call::Call;
use super::done;
use super::files::until_interrupted;
use crate::status::{Failure, QpqStatus};

/// Finds the new device that shows a code, and shows its number. Nothing is linked yet; another code takes its place.
pub fn offered(call: &Call<'_>, code: &str) -> Result<String, Failure> {
    let found = call.client.link_offered(code, call.left()).map_err(|error| match error {
        Error::TimedOut(_) => Failure::Misuse(
            QpqStatus::TimedOut,
            "the new device does not answer; it has to wait for this. Make another code there, and ask again".into(),
        ),
        other => other.into(),
    })?;
    let line = json::line(&LinkCompareLine::of_newcomer(&found));
    *pending(call) = Some(found);
    Ok(line)
}

/// The numbers were compared. With the number, so that a device that has come in between is not meant.
pub fn approve(call: &Call<'_>, number: &str, history: bool) -> Result<String, Failure> {
    let found = pending(call).take().ok_or_else(nobody)?;
    if digits(number) != digits(&found.comparison()) {
        return Err(Error::Refused(
            "the new device shows another number, and nothing was linked: somebody may stand between the two devices; make \
             another code"
                .into(),
        )
        .into());
    }
    call.client.connect();
    if let Err(error) = call.client.link_approve(&found, history, call.left()) {
        if matches!(error, Error::Offline(_) | Error::TimedOut(_) | Error::Interrupted) {
            // To be asked again. One that has come meanwhile stays.
            pending(call).get_or_insert(found);
        }
        return Err(error.into());
    }
    Ok(json::line(&DeviceLinkedLine::of(&found, history)))
}

pub fn refuse(call: &Call<'_>) -> Result<String, Failure> {
    pending(call).take().ok_or_else(nobody)?;
    Ok(done())
}

/// Brings the messages of earlier to a new device, on both sides. Here "timeout_ms" is for how long nothing may move.
pub fn carry_history(call: &Call<'_>, awaits: bool) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct HistoryLine {
        #[serde(rename = "type")]
        kind: &'static str,
        sent: u64,
        received: u64,
        messages: u64,
        failed: u64,
    }
    call.client.connect();
    let carried = call.client.carry_histories(awaits, call.patience(), &mut until_interrupted(call))?;
    let Carried { sent, received, messages, failed } = carried;
    Ok(json::line(&HistoryLine { kind: "history_carried", sent, received, messages, failed }))
}

fn pending<'a>(call: &Call<'a>) -> MutexGuard<'a, Option<PendingLink>> {
    call.instance.pending_link.lock().unwrap_or_else(PoisonError::into_inner)
}

fn digits(number: &str) -> String {
    number.chars().filter(|character| !character.is_whitespace()).collect()
}

fn nobody() -> Failure {
    Failure::bad_input("no device waits to be linked: request link_offered with its code first")
}
