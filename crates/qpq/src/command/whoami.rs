//! `qpq whoami`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::json::ProfileLine;
use crate::view::sanitize;
use crate::view::table::fields;

/// Show name, identity, device and server of this profile.
#[derive(Args)]
pub struct Whoami {}

impl Whoami {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        show(ctx, "whoami")
    }
}

/// The profile, as `register` and `login` show it too; `kind` is the type of the JSON line.
pub fn show(ctx: &mut Ctx, kind: &'static str) -> Result<(), Failure> {
    let client = ctx.client()?;
    let me = client.whoami()?;
    let fingerprint = client.status()?.fingerprint;
    let name = if me.domain.is_empty() { format!("@{}", me.name) } else { format!("@{}@{}", me.name, me.domain) };
    let text = fields(
        ctx.output.theme,
        &[
            ("name", sanitize::line(&name)),
            ("identity", me.identity.to_string()),
            ("device", me.device.to_string()),
            ("server", sanitize::line(&me.server)),
            ("certificate", fingerprint.map_or_else(|| "not seen yet".into(), |fingerprint| fingerprint.to_string())),
        ],
    );
    let line = ProfileLine::of(kind, me, fingerprint);
    ctx.output.show(&line, &text)
}
