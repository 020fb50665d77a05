//! `qpq group leave`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::{conversation, json};

/// Leave a group. What has been said stays in the history.
#[derive(Args)]
pub struct Leave {
    /// In the REPL the current one if left out.
    #[arg(value_name = "#GROUP", num_args = 0..=1)]
    group: Vec<String>,
}

impl Leave {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let (group, _) = super::subject(ctx, &self.group)?;
        // Afterwards there may be nothing left to ask about.
        let info = client.group_info(group)?;
        let wish = client.leave(group)?;
        super::carried_out(ctx, wish)?;
        let mut line = json::group_info("group_left", &info);
        line.state = "left";
        ctx.output.show(&line, &format!("left {}", conversation::label(&info.conversation)))
    }
}
