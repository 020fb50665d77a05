//! Files: sent from a path, fetched into a directory.

use std::ops::ControlFlow;
use std::path::Path;

use qpq_client::json::{self, DownloadLine};
use qpq_client::{Destination, Progress};

use super::call::Call;
use super::messages::confirm;
use crate::status::Failure;

/// Uploads and then sends, over lost connections. Here "timeout_ms" is for how long nothing may move. The same request goes
/// on where an earlier one stopped.
pub fn send(call: &Call<'_>, conversation: &str, path: &Path, key: Option<&str>) -> Result<String, Failure> {
    let place = call.place(conversation)?;
    let id = call.client.send_file(place.id, path, key, call.patience(), &mut until_interrupted(call))?;
    confirm(&call.anew(), place, id)
}

/// As [`send`].
pub fn download(call: &Call<'_>, conversation: &str, number: u64, into: Destination) -> Result<String, Failure> {
    let place = call.place(conversation)?;
    let saved = call.client.download(place.id, number, &into, call.patience(), &mut until_interrupted(call))?;
    let line = DownloadLine {
        kind: "download",
        path: saved.path.display().to_string(),
        size: saved.size,
        sha256: json::hex(&saved.sha256),
    };
    Ok(json::line(&line))
}

/// Goes on until `qpq_cancel`.
pub fn until_interrupted(call: &Call<'_>) -> impl FnMut(Progress) -> ControlFlow<()> {
    let interrupts = call.client.interrupts();
    move |_| if call.client.interrupts() == interrupts { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}
