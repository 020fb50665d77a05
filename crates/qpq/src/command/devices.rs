//! `qpq devices`

use clap::{Args, Subcommand};
use qpq_client::{Client, DeviceId, Error, OwnDevice};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::json;
use crate::view::sanitize;
use crate::view::table::Table;
use crate::view::time::Clock;

/// List the devices of this account, or give one another name.
#[derive(Args)]
pub struct Devices {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Give a device another name: this one, unless another is said.
    Rename {
        #[arg(value_name = "NAME")]
        name: String,
        /// Its name, or the beginning of its id.
        #[arg(long, value_name = "DEVICE")]
        device: Option<String>,
    },
}

impl Devices {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        match self.action {
            None => list(ctx),
            Some(Action::Rename { name, device }) => rename(ctx, &name, device.as_deref()),
        }
    }
}

fn list(ctx: &mut Ctx) -> Result<(), Failure> {
    let client = ctx.connected()?;
    let devices = ctx.ask(|timeout| client.devices(timeout))?;
    if ctx.output.json {
        return devices.iter().try_for_each(|one| ctx.output.line(&json::line(&json::device("device", one))));
    }
    let mut table = Table::new(&["name", "id", "added", ""]);
    let clock = Clock::system();
    for one in &devices {
        table.row([
            sanitize::line(&one.name),
            one.id.short(),
            one.added.map(|at| clock.short(at)).unwrap_or_default(),
            if one.is_this { "this device".into() } else { String::new() },
        ]);
    }
    ctx.output.line(&table.render(ctx.output.theme, ctx.output.width()))
}

fn rename(ctx: &mut Ctx, name: &str, device: Option<&str>) -> Result<(), Failure> {
    let client = ctx.connected()?;
    let device = match device {
        Some(text) => find(ctx, &client, text)?.id,
        None => client.whoami()?.device,
    };
    let wish = client.rename_device(device, name)?;
    ctx.wait("waiting for the server", |slice| client.wait(wish, slice))?;
    let renamed = client.devices(std::time::Duration::ZERO)?.into_iter().find(|one| one.id == device);
    let renamed = renamed.ok_or_else(|| Failure::Refused("this device was unlinked in the meantime".into()))?;
    ctx.output
        .show(&json::device("device_renamed", &renamed), &format!("the device is called {} now", sanitize::line(name)))
}

/// `unlink`: one JSON object like those of the list.
pub fn show_unlinked(ctx: &Ctx, device: &OwnDevice) -> Result<(), Failure> {
    let text = format!(
        "{} is locked out, and leaves your groups; what it has stored is still on it",
        sanitize::line(&device.name)
    );
    ctx.output.show(&json::device("device_unlinked", device), &text)
}

/// The device with this name, or whose id begins like this.
pub fn find(ctx: &Ctx, client: &Client, text: &str) -> Result<OwnDevice, Failure> {
    let devices = ctx.ask(|timeout| client.devices(timeout))?;
    let named: Vec<_> = devices.iter().filter(|one| one.name == text).collect();
    let by_id = |id: DeviceId| text.len() >= SHORTEST_ID && id.to_string().starts_with(&text.to_ascii_lowercase());
    let found = if named.is_empty() { devices.iter().filter(|one| by_id(one.id)).collect() } else { named };
    match found[..] {
        [one] => Ok(one.clone()),
        [] => Err(Error::BadInput(format!("you have no device {text}; `devices` lists them")).into()),
        _ => {
            let ids: Vec<_> = found.iter().map(|one| one.id.short()).collect();
            Err(Error::BadInput(format!("{text} could be any of these, name it by its id: {}", ids.join(" "))).into())
        }
    }
}

/// Hexadecimal digits of an id that are enough to mean it.
const SHORTEST_ID: usize = 4;
