//! What the checks found.

use anyhow::{Result, bail};

/// Problems fail the run; notes are only shown.
#[derive(Default)]
pub struct Report {
    problems: Vec<String>,
    notes: Vec<String>,
}

impl Report {
    pub fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub fn append(&mut self, mut other: Report) {
        self.problems.append(&mut other.problems);
        self.notes.append(&mut other.notes);
    }

    #[cfg(test)]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Prints everything, and fails if there is a problem.
    pub fn into_result(self) -> Result<()> {
        for note in &self.notes {
            println!("note: {note}");
        }
        for problem in &self.problems {
            println!("problem: {problem}");
        }
        match self.problems.len() {
            0 => {
                println!("tidy");
                Ok(())
            }
            1 => bail!("1 problem"),
            count => bail!("{count} problems"),
        }
    }
}
