//! Colours that are readable on light and on dark backgrounds, and only where the user wants them.

use std::env;

use nu_ansi_term::{Color, Style};
use qpq_client::IdentityId;

/// Whether and how text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    colour: bool,
}

impl Theme {
    /// No colours at all.
    #[cfg(test)]
    pub const PLAIN: Self = Self { colour: false };

    /// For a stream: `NO_COLOR` wins, then `CLICOLOR_FORCE`, then whether it is a terminal that can do it.
    pub fn detect(is_terminal: bool) -> Self {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let is = |name: &str, wanted: &str| set(name).is_some_and(|value| value == wanted);
        let colour = if set("NO_COLOR").is_some() {
            false
        } else if set("CLICOLOR_FORCE").is_some() && !is("CLICOLOR_FORCE", "0") {
            true
        } else {
            is_terminal && !is("TERM", "dumb") && !is("CLICOLOR", "0")
        };
        Self { colour }
    }

    /// Whether escape sequences may be written.
    pub fn is_coloured(self) -> bool {
        self.colour
    }

    pub fn dim(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    pub fn bold(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// What happened, as opposed to what was said.
    pub fn event(self, text: &str) -> String {
        self.paint(Style::new().dimmed().italic(), text)
    }

    pub fn good(self, text: &str) -> String {
        self.paint(Style::new().fg(Color::Green), text)
    }

    pub fn alarm(self, text: &str) -> String {
        self.paint(Style::new().fg(Color::Red).bold(), text)
    }

    /// Somebody's name, always in the same colour.
    pub fn person(self, who: IdentityId, text: &str) -> String {
        self.paint(person_style(who), text)
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.colour && !text.is_empty() { style.paint(text).to_string() } else { text.to_owned() }
    }
}

fn person_style(who: IdentityId) -> Style {
    // An identity is a hash already: any of its bytes is evenly distributed.
    Style::new().fg(PEOPLE[usize::from(who.as_bytes()[0]) % PEOPLE.len()]).bold()
}

/// Mid-tones: no yellow and no white, which vanish on light backgrounds.
const PEOPLE: [Color; 8] = [
    Color::Red,
    Color::Green,
    Color::Blue,
    Color::Purple,
    Color::Cyan,
    Color::Fixed(130),
    Color::Fixed(66),
    Color::Fixed(132),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_means_no_escape_sequences() {
        assert_eq!(Theme::PLAIN.alarm("x"), "x");
        assert_eq!(Theme { colour: true }.bold("x"), "\u{1b}[1mx\u{1b}[0m");
    }

    #[test]
    fn a_person_keeps_the_colour() {
        assert_eq!(person_style(IdentityId([3; 32])), person_style(IdentityId([3; 32])));
        assert_ne!(person_style(IdentityId([3; 32])), person_style(IdentityId([4; 32])));
    }
}
