//! `cargo xtask docs`: the book.

use std::process::Command;

use anyhow::Result;

use crate::run;
use crate::tidy::links;

/// Check the links of the documentation and build the book with mdBook.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<()> {
    links::check()?.into_result()?;
    if run::is_available("mdbook", "--version") {
        run::checked(Command::new("mdbook").args(["build", "docs"]))?;
        println!("the book is in target/book");
    } else {
        println!("links are good; to build the book too, install mdBook: cargo install --locked mdbook");
    }
    Ok(())
}
