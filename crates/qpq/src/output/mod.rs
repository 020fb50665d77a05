//! Standard output and standard error, and how they look.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::exit::Failure;
use crate::view::json;
use crate::view::message::Layout;
use crate::view::style::Theme;
use crate::view::time::Clock;
use crate::view::wrap::fit;

pub mod bar;
pub mod signals;
mod width;

/// Where results go. Cheap to clone; all clones write to the same streams.
#[derive(Clone)]
pub struct Output {
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    pub theme: Theme,
    /// Whether a person is looking at standard output.
    pub is_terminal: bool,
    clock: Clock,
}

impl Output {
    pub fn new(json: bool, quiet: bool, verbose: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self { json, quiet, verbose, theme: Theme::detect(is_terminal), is_terminal, clock: Clock::system() }
    }

    /// A result: the object for programs or the text for people.
    pub fn show(&self, object: &impl Serialize, text: &str) -> Result<(), Failure> {
        if self.json { self.line(&json::line(object)) } else { self.line(&fit(text, self.width())) }
    }

    /// Something that only people want to read.
    pub fn say(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.line(&fit(text, self.width())) }
    }

    /// Writes and flushes: what has been acknowledged has been seen.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")?;
        stdout.flush()?;
        Ok(())
    }

    /// A remark on standard error.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            // When standard error is closed there is nobody to tell.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// A remark for those who want to know everything.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// What messages are fitted to at the moment.
    pub fn layout(&self) -> Layout {
        Layout { theme: self.theme, width: self.width(), clock: self.clock.clone() }
    }

    /// Cells in a line; unlimited when no person is looking, so that scripts get one line per thing.
    pub fn width(&self) -> usize {
        if self.is_terminal { width::current() } else { usize::MAX }
    }
}
