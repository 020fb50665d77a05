//! The own devices.

use qpq_client::{DeviceId, OwnDevice, json};

use super::call::Call;
use super::list as items;
use crate::config::read;
use crate::status::Failure;

/// Asks the server; when it cannot be reached, as they were known last.
pub fn list(call: &Call<'_>) -> Result<String, Failure> {
    let devices = call.client.devices(call.left())?;
    Ok(items(devices.iter().map(|one| json::device("device", one))))
}

pub fn rename(call: &Call<'_>, device: Option<&str>, name: &str) -> Result<String, Failure> {
    let device = match device {
        Some(device) => own(call, device)?.id,
        None => call.client.whoami()?.device,
    };
    call.carried_out(call.client.rename_device(device, name)?)?;
    Ok(json::line(&json::device("device_renamed", &known(call, device)?)))
}

/// Locks a device out.
pub fn unlink(call: &Call<'_>, device: &str) -> Result<String, Failure> {
    let device = own(call, device)?;
    call.carried_out(call.client.unlink(device.id)?)?;
    Ok(json::line(&json::device("device_unlinked", &device)))
}

fn own(call: &Call<'_>, id: &str) -> Result<OwnDevice, Failure> {
    known(call, read("device", id)?)
}

fn known(call: &Call<'_>, id: DeviceId) -> Result<OwnDevice, Failure> {
    let found = call.client.devices(call.left())?.into_iter().find(|one| one.id == id);
    found.ok_or_else(|| Failure::bad_input("you have no such device; \"devices\" lists them"))
}
