//! `qpq help` and `/help`

use clap::{Args, CommandFactory as _};

use crate::args::Cli;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::repl::slash;

/// Explain the commands, or one of them.
#[derive(Args)]
pub struct Help {
    command: Vec<String>,
}

impl Help {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let theme = ctx.output.theme;
        let text = match (&ctx.session, self.command.first()) {
            (Some(_), None) => slash::overview(theme),
            (Some(_), Some(name)) => slash::explain(name, theme).map_err(Failure::Refused)?,
            (None, _) => of_command_line(&self.command)?,
        };
        ctx.output.line(text.trim_end())
    }
}

fn of_command_line(path: &[String]) -> Result<String, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut found = &mut command;
    for name in path {
        found = found
            .find_subcommand_mut(name)
            .ok_or_else(|| Failure::Usage(format!("there is no command `{name}`; see `qpq --help`")))?;
    }
    Ok(found.render_long_help().to_string())
}
