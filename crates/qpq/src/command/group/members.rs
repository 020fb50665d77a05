//! `qpq group members`

use clap::Args;
use qpq_client::Member;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::table::Table;
use crate::view::{json, people, trust};

/// List the members of a group.
#[derive(Args)]
pub struct Members {
    /// In the REPL the current conversation if left out.
    #[arg(value_name = "#GROUP", num_args = 0..=1)]
    group: Vec<String>,
}

impl Members {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let group = match &ctx.session {
            Some(_) if self.group.is_empty() => ctx.current()?,
            Some(_) | None => super::subject(ctx, &self.group)?.0,
        };
        let info = ctx.client()?.group_info(group)?;
        if ctx.output.json {
            return info.members.iter().try_for_each(|member| ctx.output.line(&json::line(&json::member(member))));
        }
        let mut table = Table::new(&["name", "role", ">devices", "trust"]);
        for member in &info.members {
            table.row(row(member));
        }
        ctx.output.line(&table.render(ctx.output.theme, ctx.output.width()))
    }
}

fn row(member: &Member) -> [String; 4] {
    let trust = match member.unchecked && !member.contact.is_self {
        true => "a device is not checked: its messages are held".into(),
        false => trust::mark(&member.contact),
    };
    let role = if member.is_admin { "admin" } else { "member" };
    [format!("@{}", people::name(&member.contact)), role.to_owned(), member.devices.to_string(), trust]
}
