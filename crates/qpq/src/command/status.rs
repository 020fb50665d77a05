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
        let fingerprint = status.fingerprint.map(|fingerprint| fingerprint.to_string());
        let online = if status.online { ctx.output.theme.good("online") } else { ctx.output.theme.alarm("offline") };
        let text = fields(
            ctx.output.theme,
            &[
                ("connection", online),
                ("detail", sanitize::line(&status.detail)),
                ("certificate", fingerprint.clone().unwrap_or_else(|| "not seen yet".into())),
                ("waiting", format!("{} to be sent", status.waiting)),
                ("quarantined", format!("{} that could not be read", status.quarantined)),
                ("unread", format!("{} in {} conversations", status.unread, status.conversations)),
            ],
        );
        let line = StatusLine {
            kind: "status",
            online: status.online,
            detail: status.detail,
            fingerprint,
            waiting: status.waiting,
            quarantined: status.quarantined,
            conversations: status.conversations,
            unread: status.unread,
        };
        ctx.output.show(&line, &text)
    }
}
