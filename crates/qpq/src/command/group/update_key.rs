//! `qpq group update-key`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;

/// Refresh your keys in a group: who has stolen the old ones cannot read on.
#[derive(Args)]
pub struct UpdateKey {
    /// In the REPL the current one if left out.
    #[arg(value_name = "#GROUP", num_args = 0..=1)]
    group: Vec<String>,
}

impl UpdateKey {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let group = match &ctx.session {
            // A direct conversation has keys as well.
            Some(_) if self.group.is_empty() => ctx.current()?,
            Some(_) | None => super::subject(ctx, &self.group)?.0,
        };
        let wish = client.update_key(group)?;
        super::carried_out(ctx, wish)?;
        super::show(ctx, group, "group_key_updated", "your keys are fresh")
    }
}
