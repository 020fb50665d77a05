//! Development tasks, run as `cargo xtask TASK`. One file per task.

mod bench;
mod ci;
mod crash;
mod docs;
mod fuzz;
mod header;
mod image;
mod install;
mod python;
mod reproduce;
mod run;
mod sbom;
mod schema;
mod sim;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// Development tasks for quicproquo.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    Schema(schema::Args),
    Tidy(tidy::Args),
    Docs(docs::Args),
    Ci(ci::Args),
    Bench(bench::Args),
    Crash(crash::Args),
    Fuzz(fuzz::Args),
    Header(header::Args),
    Image(image::Args),
    Install(install::Args),
    Python(python::Args),
    Sim(sim::Args),
    Sbom(sbom::Args),
    Reproduce(reproduce::Args),
}

fn main() -> ExitCode {
    match perform(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> anyhow::Result<()> {
    run::enter_workspace_root()?;
    match task {
        Task::Schema(args) => schema::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Docs(args) => docs::run(&args),
        Task::Ci(args) => ci::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Crash(args) => crash::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Header(args) => header::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Install(args) => install::run(&args),
        Task::Python(args) => python::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Sbom(args) => sbom::run(&args),
        Task::Reproduce(args) => reproduce::run(&args),
    }
}
