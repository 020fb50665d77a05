//! The grey text behind the cursor: the rest of a command, and what it wants to know.

use nu_ansi_term::Style;
use reedline::{Hinter, History};

use super::slash::{self, SLASHES};

/// Accepting a hint (right arrow) takes the command's name, not the description of its arguments.
#[derive(Default)]
pub struct ChatHinter {
    acceptable: String,
}

impl Hinter for ChatHinter {
    fn handle(&mut self, line: &str, pos: usize, _history: &dyn History, colour: bool, _cwd: &str) -> String {
        let (acceptable, usage) = if pos == line.len() { hint(line) } else { Default::default() };
        self.acceptable = acceptable;
        let shown = format!("{}{usage}", self.acceptable);
        // Without colours a hint could not be told from what was typed.
        if colour && !shown.is_empty() { Style::new().dimmed().paint(shown).to_string() } else { String::new() }
    }

    fn complete_hint(&self) -> String {
        self.acceptable.clone()
    }

    fn next_hint_token(&self) -> String {
        self.acceptable.clone()
    }
}

/// The rest of the command's name, and its usage.
fn hint(line: &str) -> (String, String) {
    let nothing = || (String::new(), String::new());
    let Some(typed) = line.strip_prefix('/').filter(|typed| !typed.is_empty()) else { return nothing() };
    if let Some(name) = typed.strip_suffix(' ') {
        return slash::find(name).map_or_else(nothing, |slash| (String::new(), slash.usage.to_owned()));
    }
    let slash = slash::find(typed).or_else(|| SLASHES.iter().find(|slash| slash.name.starts_with(typed)));
    slash.map_or_else(nothing, |slash| {
        let rest = slash.name.strip_prefix(typed).unwrap_or_default();
        let usage = if slash.usage.is_empty() { String::new() } else { format!(" {}", slash.usage) };
        (rest.to_owned(), usage)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_complete_the_name_and_tell_the_rest() {
        let cases = [
            ("/inv", "ite", " @user…"),
            ("/invite ", "", "@user…"),
            ("/cg", "", " NAME [@user…] [--classic]"),
            ("/invite @bob", "", ""),
            ("/", "", ""),
            ("hello", "", ""),
            ("/quit", "", ""),
        ];
        for (line, rest, usage) in cases {
            assert_eq!(hint(line), (rest.to_owned(), usage.to_owned()), "{line}");
        }
    }
}
