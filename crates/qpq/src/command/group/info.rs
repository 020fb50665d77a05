//! `qpq group info`

use clap::Args;
use qpq_client::GroupInfo;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::table::fields;
use crate::view::{conversation, json, people, time};

/// Show id, epoch, cipher suite and members of a group.
#[derive(Args)]
pub struct Info {
    /// In the REPL the current conversation if left out.
    #[arg(value_name = "#GROUP", num_args = 0..=1)]
    group: Vec<String>,
}

impl Info {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let group = match &ctx.session {
            Some(_) if self.group.is_empty() => ctx.current()?,
            Some(_) | None => super::subject(ctx, &self.group)?.0,
        };
        let info = ctx.client()?.group_info(group)?;
        let text = fields(ctx.output.theme, &describe(&info));
        ctx.output.show(&json::group_info("group", &info), &text)
    }
}

fn describe(info: &GroupInfo) -> Vec<(&'static str, String)> {
    let admins: Vec<_> = info
        .members
        .iter()
        .filter(|member| member.is_admin)
        .map(|member| people::in_sentence(&member.contact))
        .collect();
    let state = conversation::state(info.conversation.state);
    let mut fields = vec![
        ("name", conversation::label(&info.conversation)),
        ("id", info.group.map_or_else(|| "not yet on the server".into(), |id| id.to_string())),
        ("state", if state.is_empty() { "active".into() } else { state.to_owned() }),
        ("epoch", info.epoch.to_string()),
        ("suite", info.suite.description().to_owned()),
        ("members", info.members.len().to_string()),
        (
            "messages",
            info.conversation
                .expires_after
                .map_or("stay".into(), |after| format!("disappear after {}", time::span(after))),
        ),
        ("admins", if admins.is_empty() { "none".into() } else { admins.join(", ") }),
    ];
    if info.waiting > 0 {
        fields.push(("waiting", format!("{} of your changes", info.waiting)));
    }
    fields
}
