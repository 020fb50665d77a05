//! `qpq recovery`

use clap::Args;
use qpq_client::json::{DoneLine, RecoveryLine};

use crate::context::Ctx;
use crate::exit::Failure;

/// Show the 24 words that bring your account back when all devices are lost.
///
/// Whoever has them can become you: write them down, and keep them where you would keep money. Each of your devices shows
/// the same words. They work as soon as they were shown once.
#[derive(Args)]
pub struct Recovery {
    /// Make the words useless, until they are asked for again.
    #[arg(long)]
    remove: bool,
}

impl Recovery {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.client()?;
        if self.remove {
            ctx.ask(|_| client.forget_recovery())?;
            let line = DoneLine { kind: "recovery_removed" };
            return ctx.output.show(&line, "the words are good for nothing any more");
        }
        let words = ctx.ask(|_| client.recovery_phrase())?;
        let list: Vec<_> = words.split(' ').collect();
        let row = |(number, row): (usize, &[&str])| {
            let cell = |(index, word): (usize, &&str)| format!("{:>2} {word:<10}", number * COLUMNS + index + 1);
            row.iter().enumerate().map(cell).collect::<String>().trim_end().to_owned()
        };
        let rows: Vec<_> = list.chunks(COLUMNS).enumerate().map(row).collect();
        let text = format!(
            "write these words down, in this order, and show them to nobody:\n\n{}\n\nwith them and `qpq recover` you get \
             your account back when all devices are lost",
            rows.join("\n")
        );
        ctx.output.show(&RecoveryLine::of(&words), &text)
    }
}

const COLUMNS: usize = 4;
