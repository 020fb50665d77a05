//! The prompt: where plain text goes, what is unread elsewhere, and whether the server is there.

use std::borrow::Cow;
use std::sync::Arc;

use reedline::{Color, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus};
use unicode_width::UnicodeWidthStr as _;

use super::shared::{PromptState, Shared};
use crate::view::sanitize::shorten;

pub struct ChatPrompt {
    shared: Arc<Shared>,
}

impl ChatPrompt {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Cells before the typed text.
    pub fn width(&self) -> usize {
        text(&self.shared.prompt()).width() + INDICATOR.width()
    }
}

impl Prompt for ChatPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Owned(text(&self.shared.prompt()))
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Owned(self.shared.prompt().typing)
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed(INDICATOR)
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("  ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let found = match search.status {
            PromptHistorySearchStatus::Passing => "search",
            PromptHistorySearchStatus::Failing => "not found",
        };
        Cow::Owned(format!(" ({found}: {}) ", search.term))
    }

    fn get_prompt_color(&self) -> Color {
        if self.shared.prompt().online { Color::Cyan } else { Color::Red }
    }

    fn get_prompt_multiline_color(&self) -> Color {
        Color::Default
    }

    fn get_indicator_color(&self) -> Color {
        Color::Default
    }
}

/// `@bob`, `#team (3 unread)`, `qpq (offline)`
fn text(state: &PromptState) -> String {
    let mut notes = Vec::new();
    if state.unread > 0 {
        notes.push(format!("{} unread", state.unread));
    }
    if !state.online {
        notes.push("offline".into());
    }
    let title = if state.title.is_empty() { "qpq".into() } else { shorten(&state.title, TITLE) };
    if notes.is_empty() { title.into_owned() } else { format!("{title} ({})", notes.join(", ")) }
}

const INDICATOR: &str = "› ";
const TITLE: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_says_where_and_whether() {
        let state =
            |title: &str, unread, online| PromptState { title: title.into(), unread, online, typing: String::new() };
        let cases = [
            (state("@bob", 0, true), "@bob"),
            (state("#team", 3, true), "#team (3 unread)"),
            (state("", 0, false), "qpq (offline)"),
            (state("#team", 1, false), "#team (1 unread, offline)"),
        ];
        for (state, expected) in cases {
            assert_eq!(text(&state), expected);
        }
    }
}
