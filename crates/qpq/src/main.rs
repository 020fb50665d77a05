//! `qpq`: a REPL and one-shot commands for end-to-end encrypted group messages.
//!
//! It knows no wire formats and keeps no state of its own: everything goes through [`qpq_client::Client`].

mod args;
mod context;
mod emoji;
mod exit;
mod output;
mod password;
mod signals;
mod target;
mod wait;

mod command;
mod demo;
mod repl;
mod view;

use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, anyhow};
use clap::Parser as _;
use clap::error::ErrorKind;

fn main() -> ExitCode {
    let body = thread::Builder::new().name("qpq".into()).stack_size(STACK).spawn(body);
    let code = body.context("starting a thread").and_then(|body| body.join().map_err(|_| anyhow!("stopped by a bug")));
    code.unwrap_or_else(|error| {
        exit::complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn body() -> ExitCode {
    match args::Cli::try_parse() {
        Ok(cli) => command::execute(cli),
        Err(error) if error.kind() == ErrorKind::MissingSubcommand => {
            exit::complain("say what to do: `qpq demo` shows around, `qpq --help` lists the commands");
            ExitCode::from(exit::USAGE)
        }
        Err(error) => {
            // Help goes to standard output with code 0, complaints to standard error with code 2. A closed pipe is
            // nothing to complain about.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE))
        }
    }
}

/// Debug builds of the MLS library need more than the default.
const STACK: usize = 16 * 1024 * 1024;
