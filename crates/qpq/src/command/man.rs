//! `qpq man`

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use crate::args::Cli;
use crate::context::Ctx;
use crate::exit::Failure;

/// Write the manual pages into a directory: one for qpq, and one for each command.
#[derive(Args)]
pub struct Man {
    /// For example /usr/local/share/man/man1.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Man {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::Refused(format!("{}: {error}", self.directory.display()));
        fs::create_dir_all(&self.directory).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), &self.directory).map_err(failed)?;
        ctx.output.note(&format!("the manual pages are in {}", self.directory.display()));
        Ok(())
    }
}
