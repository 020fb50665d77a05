//! `qpq group create`

use clap::{Args, ValueEnum};
use qpq_client::Contact;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::repl::session;
use crate::target::User;
use crate::view::sanitize;

/// Make a group, with these members from the start.
#[derive(Args)]
pub struct Create {
    /// What it is called; only members see the name.
    name: String,
    #[arg(value_name = "@USER")]
    members: Vec<User>,
    /// How keys are agreed on: hybrid is post-quantum.
    #[arg(long, value_enum, default_value_t = Suite::Hybrid)]
    suite: Suite,
    /// The same as --suite classic.
    #[arg(long, conflicts_with = "suite")]
    classic: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    Hybrid,
    Classic,
}

impl Create {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let name = self.name.trim().trim_start_matches('#');
        let mut members: Vec<Contact> = Vec::with_capacity(self.members.len());
        for user in &self.members {
            let contact = user.resolve(ctx)?;
            let is_new = members.iter().all(|member| member.identity != contact.identity);
            if is_new && !contact.is_self {
                members.push(contact);
            }
        }
        let suite = match (self.suite, self.classic) {
            (Suite::Hybrid, false) => qpq_client::Suite::Hybrid,
            (Suite::Classic, _) | (_, true) => qpq_client::Suite::Classic,
        };
        let identities: Vec<_> = members.iter().map(|member| member.identity).collect();
        let (group, wish) = client.create_group(name, &identities, suite)?;
        if ctx.session.is_some() {
            session::open(ctx, group)?;
        }
        super::carried_out(ctx, wish)?;
        let with = if members.is_empty() { String::new() } else { format!(" with {}", super::names(&members)) };
        super::show(ctx, group, "group_created", &format!("made #{}{with}", sanitize::name(name, 40)))
    }
}
