//! `qpq group rename`

use clap::Args;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::sanitize;

/// Rename a group, for all members.
#[derive(Args)]
pub struct Rename {
    /// The group (in the REPL the current one), and its new name.
    #[arg(value_name = "#GROUP NAME", required = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Rename {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let (group, name) = match &self.words[..] {
            // In the REPL a single word is the name, even when it begins like a group.
            [only] if ctx.session.is_some() => (super::subject(ctx, &[])?.0, only.trim_start_matches('#').to_owned()),
            words => {
                let (group, rest) = super::subject(ctx, words)?;
                (group, rest.join(" "))
            }
        };
        if name.trim().is_empty() {
            return Err(Failure::Usage("say what it is called from now on".into()));
        }
        let wish = client.rename(group, name.trim())?;
        super::carried_out(ctx, wish)?;
        super::show(ctx, group, "group_renamed", &format!("renamed to {}", sanitize::name(&name, 40)))
    }
}
