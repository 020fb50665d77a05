//! `qpq unlink`

use clap::Args;

use super::devices;
use crate::context::Ctx;
use crate::exit::Failure;

/// Lock one of your devices out, and take it out of all groups.
#[derive(Args)]
pub struct Unlink {
    /// Its name, or the beginning of its id; see `devices`.
    #[arg(value_name = "DEVICE")]
    device: String,
}

impl Unlink {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let device = devices::find(ctx, &client, &self.device)?;
        let wish = client.unlink(device.id)?;
        ctx.wait("waiting for the server", |slice| client.wait(wish, slice))?;
        if ctx.session.is_none() {
            // Whoever ends here gives the groups the time to learn of it; what is left is done with the next connection.
            let _ = ctx.wait("leaving the groups", |slice| client.wait_settled(slice));
        }
        devices::show_unlinked(ctx, &device)
    }
}
