//! The profile and its connection.

use qpq_client::json::{self, DoctorLine, ProfileLine, SettingLine, StatusLine, SyncLine, TroubleLine};
use serde::Serialize;

use super::call::Call;
use crate::status::Failure;

pub fn whoami(call: &Call<'_>) -> Result<String, Failure> {
    let (me, fingerprint) = (call.client.whoami()?, call.client.status()?.fingerprint);
    Ok(json::line(&ProfileLine::of("whoami", me, fingerprint)))
}

pub fn status(call: &Call<'_>) -> Result<String, Failure> {
    Ok(json::line(&StatusLine::of(call.client.status()?)))
}

/// Connects, and waits until everything has been sent and taken.
pub fn sync(call: &Call<'_>) -> Result<String, Failure> {
    call.client.connect();
    call.client.wait_settled(call.left())?;
    Ok(json::line(&SyncLine::of(&call.client.status()?)))
}

pub fn doctor(call: &Call<'_>) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Report {
        #[serde(flatten)]
        summary: DoctorLine,
        items: Vec<TroubleLine>,
    }
    let (status, troubles) = (call.client.status()?, call.client.troubles()?);
    let items: Vec<_> = troubles.iter().map(TroubleLine::of).collect();
    Ok(json::line(&Report { summary: DoctorLine::of(&status, items.len()), items }))
}

/// A fresh start in a conversation that seems broken.
pub fn mend(call: &Call<'_>, conversation: &str) -> Result<String, Failure> {
    let place = call.place(conversation)?;
    call.carried_out(call.client.mend(place.id)?)?;
    Ok(json::line(&TroubleLine::mended(&call.client.conversation(place.id)?)))
}

pub fn typing_notify(call: &Call<'_>, on: Option<bool>) -> Result<String, Failure> {
    if let Some(on) = on {
        call.client.tell_others(on)?;
    }
    Ok(json::line(&SettingLine { kind: "typing_notify", on: call.client.tells_others()? }))
}
