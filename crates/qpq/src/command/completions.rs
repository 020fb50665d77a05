//! `qpq completions`

use std::io::{self, Write as _};

use clap::{Args, CommandFactory as _, ValueEnum};

use crate::args::Cli;
use crate::context::Ctx;
use crate::exit::Failure;

/// Print completions for a shell.
#[derive(Args)]
pub struct Completions {
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub fn run(self, _ctx: &mut Ctx) -> Result<(), Failure> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        // The generator panics when it cannot write, so it writes to memory.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "qpq", &mut script);
        io::stdout().lock().write_all(&script)?;
        Ok(())
    }
}
