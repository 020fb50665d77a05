//! Colours in the line that is being typed.

use std::sync::Arc;

use nu_ansi_term::{Color, Style};
use reedline::{Highlighter, StyledText};

use super::shared::Shared;
use super::slash;

pub struct ChatHighlighter {
    shared: Arc<Shared>,
}

impl ChatHighlighter {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Highlighter for ChatHighlighter {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        self.shared.typed(line);
        let (users, groups) = self.shared.names();
        let mut text = StyledText::new();
        for (style, part) in parts(line, &users, &groups) {
            text.push((style, part.to_owned()));
        }
        text
    }
}

fn parts<'a>(line: &'a str, users: &[String], groups: &[String]) -> Vec<(Style, &'a str)> {
    let mut is_first = true;
    line.split_inclusive(char::is_whitespace)
        .map(|piece| {
            let style = style(piece.trim_end(), is_first, users, groups);
            is_first = false;
            (style, piece)
        })
        .collect()
}

fn style(word: &str, is_first: bool, users: &[String], groups: &[String]) -> Style {
    let plain = Style::new();
    let is_known = |names: &[String]| names.iter().any(|name| name == word);
    match word.strip_prefix('/') {
        Some(name) if is_first && !name.starts_with('/') => match slash::find(name) {
            Some(_) => plain.fg(Color::Cyan).bold(),
            None => plain.fg(Color::Red),
        },
        _ if word.starts_with('@') && is_known(users) => plain.fg(Color::Purple),
        _ if word.starts_with('#') && is_known(groups) => plain.fg(Color::Blue),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_typed_gets_lost_in_colours() {
        let users = ["@bob".to_owned()];
        for line in ["", "/dm @bob hi", " /x  y ", "漢字\t#team\n@bob", "//dm"] {
            let joined: String = parts(line, &users, &[]).iter().map(|(_, part)| *part).collect();
            assert_eq!(joined, line);
        }
    }

    #[test]
    fn commands_and_names_stand_out() {
        let users = ["@bob".to_owned()];
        let styles: Vec<_> = parts("/dm @bob @x /dm", &users, &[]).into_iter().map(|(style, _)| style).collect();
        let plain = Style::new();
        assert_eq!(styles, [plain.fg(Color::Cyan).bold(), plain.fg(Color::Purple), plain, plain]);
        assert_eq!(parts("/nope", &users, &[])[0].0, plain.fg(Color::Red));
    }
}
