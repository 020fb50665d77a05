//! Messages as rows: time, number, sender in fixed columns, and the text with a hanging indent.

use std::ops::ControlFlow;

use jiff::civil::Date;
use qpq_client::{Message, MessageStatus, Quote};

use super::style::Theme;
use super::time::{Clock, day_name};
use super::wrap::{pad_left, wrap};
use super::{content, people, sanitize};

/// What rows are fitted to.
#[derive(Clone, Debug)]
pub struct Layout {
    pub theme: Theme,
    /// Cells in a line; no wrapping when it is `usize::MAX`.
    pub width: usize,
    pub clock: Clock,
}

/// How an own message stands, as it is drawn beside the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Waiting,
    Sent,
    /// A device of somebody else has it.
    Delivered,
    /// Somebody has read it.
    Read,
    Failed,
    /// Somebody else's, from a verified contact.
    Verified,
    None,
}

/// The row of a message; `label` names the conversation when it is not the one on the screen.
pub fn row(message: &Message, label: Option<&str>, layout: &Layout) -> String {
    row_with_mark(message, mark(message), label, layout)
}

/// The row with another mark than the stored one, because the caller knows more.
pub fn row_with_mark(message: &Message, mark: Mark, label: Option<&str>, layout: &Layout) -> String {
    let theme = layout.theme;
    let label = label.map(|label| format!("[{label}] ")).unwrap_or_default();
    let mut body = format!("{label}{}{}", content::numbered(message), edited(message));
    if let MessageStatus::Failed(reason) = &message.status {
        body += &format!("\n(not sent: {})", sanitize::line(reason));
    }
    let prefix = format!(
        "{} {} {}{} ",
        theme.dim(&layout.clock.time(message.received_at)),
        theme.dim(&pad_left(&message.number.to_string(), NUMBER)),
        sender(message, theme),
        paint(mark, theme),
    );
    let indent = " ".repeat(PREFIX);
    let width = layout.width.saturating_sub(PREFIX).max(NARROWEST);
    let mut lines = wrapped(&body, width);
    if let Some(first) = lines.first_mut().filter(|_| !label.is_empty()) {
        let rest = first.strip_prefix(label.trim_end()).map(str::to_owned);
        if let Some(rest) = rest {
            *first = theme.dim(label.trim_end()) + &rest;
        }
    }
    let aside = |text: String| wrapped(&text, width).into_iter().map(|line| theme.dim(&line)).collect::<Vec<_>>();
    let above = message.quote.as_ref().map(quoted).map(aside).unwrap_or_default();
    let below = reactions(message).map(aside).unwrap_or_default();
    prefix + &[above, lines, below].concat().join(&format!("\n{indent}"))
}

/// `(edited)`
fn edited(message: &Message) -> &'static str {
    if message.notes.edited.is_some() { " (edited)" } else { "" }
}

/// The message that is answered, in one short line.
fn quoted(quote: &Quote) -> String {
    let (Some(number), Some(sender)) = (quote.number, &quote.sender) else {
        return "↱ a message that is not here".into();
    };
    let text = if quote.text.is_empty() { "(taken back)".into() } else { sanitize::name(&quote.text, QUOTED) };
    format!("↱ {number} {}: {text}", people::in_sentence(sender))
}

/// `👍 2  🎉 @bob`
fn reactions(message: &Message) -> Option<String> {
    let shown: Vec<String> = message
        .notes
        .reactions
        .iter()
        .map(|(emoji, who)| {
            let emoji = sanitize::name(emoji, 8);
            match &who[..] {
                [one] => format!("{emoji} {}", people::in_sentence(one)),
                many => format!("{emoji} {}", many.len()),
            }
        })
        .collect();
    (!shown.is_empty()).then(|| shown.join("  "))
}

/// A line above the first message of a day.
pub fn day_separator(day: Date, layout: &Layout) -> String {
    layout.theme.dim(&format!("── {} ──", day_name(day, layout.clock.today())))
}

/// Rows of a whole list, with a separator wherever the day changes.
pub fn rows(messages: &[Message], layout: &Layout) -> Vec<String> {
    let mut last = None;
    let mut lines = Vec::with_capacity(messages.len());
    for message in messages.iter().filter(|message| content::is_shown(&message.content)) {
        if let ControlFlow::Break(day) = new_day(&mut last, message, layout) {
            lines.push(day);
        }
        lines.push(row(message, None, layout));
    }
    lines
}

/// The separator, if `message` is of another day than the message before.
pub fn new_day(last: &mut Option<Date>, message: &Message, layout: &Layout) -> ControlFlow<String> {
    let day = layout.clock.day(message.received_at);
    if last.replace(day) == Some(day) {
        return ControlFlow::Continue(());
    }
    ControlFlow::Break(day_separator(day, layout))
}

fn wrapped(body: &str, width: usize) -> Vec<String> {
    let lines: Vec<String> = body.trim_end_matches('\n').split('\n').flat_map(|line| wrap(line, width)).collect();
    if lines.is_empty() { vec![String::new()] } else { lines }
}

fn sender(message: &Message, theme: Theme) -> String {
    let name = pad_left(&sanitize::name(&people::name(&message.sender), NAME), NAME);
    let bare = name.trim_start();
    let indent = &name[..name.len() - bare.len()];
    let painted = match message.sender.is_self {
        true => theme.dim(bare),
        false => theme.person(message.sender.identity, bare),
    };
    format!("{indent}{painted}")
}

fn mark(message: &Message) -> Mark {
    match &message.status {
        MessageStatus::Waiting => Mark::Waiting,
        MessageStatus::Sent if !message.notes.read_by.is_empty() => Mark::Read,
        MessageStatus::Sent if message.notes.delivered > 0 => Mark::Delivered,
        MessageStatus::Sent => Mark::Sent,
        MessageStatus::Failed(_) => Mark::Failed,
        MessageStatus::Received if message.sender.is_self => Mark::Sent,
        MessageStatus::Received if message.sender.trust == qpq_client::Trust::Verified => Mark::Verified,
        MessageStatus::Received => Mark::None,
    }
}

fn paint(mark: Mark, theme: Theme) -> String {
    match mark {
        Mark::Waiting => theme.dim("…"),
        Mark::Sent => theme.dim("↑"),
        Mark::Delivered => theme.dim("○"),
        Mark::Read => theme.good("●"),
        Mark::Failed => theme.alarm("!"),
        Mark::Verified => theme.good("✓"),
        Mark::None => " ".into(),
    }
}

/// Cells of a quoted text.
const QUOTED: usize = 48;
const NUMBER: usize = 4;
const NAME: usize = 12;
/// Time, number, name, mark, and the gaps between.
pub const PREFIX: usize = 5 + 1 + NUMBER + 1 + NAME + 1 + 1;
/// However narrow the terminal is.
const NARROWEST: usize = 20;

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn layout(width: usize) -> Layout {
        Layout { theme: Theme::PLAIN, width, clock: Clock::utc() }
    }

    #[test]
    fn rows_are_aligned_and_hang() {
        let message = samples::message("hello there, this wraps\nand breaks");
        let expected = "22:13    7          bob  hello there, this\n                         wraps\n                         and breaks";
        assert_eq!(row(&message, None, &layout(45)), expected);
        assert_eq!(PREFIX, 25);
    }

    #[test]
    fn marks_tell_trust_and_delivery() {
        let mut message = samples::message("hi");
        message.sender.trust = qpq_client::Trust::Verified;
        assert_eq!(row(&message, Some("#team"), &layout(80)), "22:13    7          bob✓ [#team] hi");
        message.sender.is_self = true;
        message.status = MessageStatus::Waiting;
        assert_eq!(row(&message, None, &layout(80)), "22:13    7          bob… hi");
        assert_eq!(row_with_mark(&message, Mark::Sent, None, &layout(80)), "22:13    7          bob↑ hi");
    }

    #[test]
    fn a_file_tells_how_to_get_it() {
        let mut message = samples::message("");
        message.content.body = qpq_client::Body::Attachment(samples::file("a\u{1b}[2J.pdf"));
        let text = row(&message, None, &layout(usize::MAX));
        assert_eq!(text, "22:13    7          bob  [file a\u{fffd}[2J.pdf, 1.2 kB] /download 7");
    }

    #[test]
    fn hostile_text_stays_in_its_column() {
        let message = samples::message("a\u{1b}[2J\nb\r\rc\n\n");
        let text = row(&message, None, &layout(usize::MAX));
        assert_eq!(text, "22:13    7          bob  a\u{fffd}[2J\n                         b\u{fffd}\u{fffd}c");
    }

    #[test]
    fn a_new_day_is_announced_once() {
        let messages = [samples::message("one"), samples::message("two")];
        let lines = rows(&messages, &layout(80));
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("── Tue 14 Nov 2023"), "{}", lines[0]);
    }
}
