//! `qpq status`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::json::StatusLine;
use crate::view::sanitize;
use crate::view::table::fields;

/// Show the connection and what waits.
#[derive(Args)]
pub struct Status {}

impl Status {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let status = ctx.connected()?.status()?;
        let fingerprint = status.fingerprint;
        let online = if status.online { ctx.output.theme.good("online") } else { ctx.output.theme.alarm("offline") };
        let text = fields(
            ctx.output.theme,
            &[
                ("connection", online),
                ("detail", sanitize::line(&status.detail)),
                (
                    "certificate",
                    fingerprint.map_or_else(|| "not seen yet".into(), |fingerprint| fingerprint.to_string()),
                ),
                ("waiting", format!("{} to be sent", status.waiting)),
                ("quarantined", format!("{} that could not be read", status.quarantined)),
                ("unread", format!("{} in {} conversations", status.unread, status.conversations)),
            ],
        );
        ctx.output.show(&StatusLine::of(status), &text)
    }
}
