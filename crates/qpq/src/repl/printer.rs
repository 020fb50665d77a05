//! Where the lines of the event thread go.

use std::sync::mpsc::SyncSender;

use crate::exit::Failure;
use crate::output::Output;

/// The editor prints above the line that is being typed; without an editor the lines go straight out.
pub enum Printer {
    /// A channel without room: sending returns when the editor has taken the text, so that nothing is acknowledged
    /// that has not been on the screen. Beside it, how to have the prompt drawn again.
    Editor(SyncSender<String>, Box<dyn Fn() + Send>),
    Plain(Output),
}

impl Printer {
    /// Prints; `false` when the editor has ended and nothing was printed.
    pub fn print(&self, lines: &[String]) -> Result<bool, Failure> {
        if lines.is_empty() {
            return Ok(true);
        }
        match self {
            Self::Editor(sender, _) => Ok(sender.send(lines.join("\n")).is_ok()),
            Self::Plain(output) => {
                lines.iter().try_for_each(|line| output.line(line))?;
                Ok(true)
            }
        }
    }

    /// The prompt has changed.
    pub fn repaint(&self) {
        match self {
            Self::Editor(_, repaint) => repaint(),
            Self::Plain(_) => {}
        }
    }
}
