//! `/search`

use clap::Args;

use super::history;
use crate::context::Ctx;
use crate::exit::Failure;

/// Find messages of the current conversation that contain all of these words.
#[derive(Args)]
pub struct Search {
    #[arg(required = true, allow_hyphen_values = true, trailing_var_arg = true)]
    words: Vec<String>,
}

impl Search {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let current = ctx.current()?;
        history::show(ctx, current, FOUND, Some(&self.words.join(" ")))
    }
}

const FOUND: usize = 100;
