//! What a message says, in words.

use qpq_client::{Attachment, Body, Content, Message, ReceiptKind};

use super::sanitize;

/// The harmless text of a message; it may have several lines.
pub fn text(content: &Content) -> String {
    match &content.body {
        Body::Text(text) => sanitize::text(text),
        Body::Edit { text, .. } => format!("(edited) {}", sanitize::text(text)),
        Body::Reaction { emoji, removed: false, .. } => format!("reacted with {}", sanitize::name(emoji, 8)),
        Body::Reaction { emoji, removed: true, .. } => format!("took back {}", sanitize::name(emoji, 8)),
        Body::Delete { .. } => "(taken back)".into(),
        Body::Receipt { kind: ReceiptKind::Delivered, .. } => "received your messages".into(),
        Body::Receipt { kind: ReceiptKind::Read, .. } => "read your messages".into(),
        Body::Attachment(file) => attachment(file),
        Body::Unknown if content.fallback.is_empty() => "[a kind of message that this version does not know]".into(),
        Body::AskName | Body::NameKey(_) | Body::Unknown => sanitize::text(&content.fallback),
    }
}

/// The text as it stands beside the number of its message, which some of it can be asked for with.
pub fn numbered(message: &Message) -> String {
    let text = text(&message.content);
    match &message.content.body {
        Body::Attachment(_) => format!("{text} /download {}", message.number),
        Body::Text(_)
        | Body::Edit { .. }
        | Body::Reaction { .. }
        | Body::Delete { .. }
        | Body::Receipt { .. }
        | Body::AskName
        | Body::NameKey(_)
        | Body::Unknown => text,
    }
}

/// One line for lists.
pub fn preview(content: &Content) -> String {
    sanitize::line(&text(content))
}

/// Whether a person wants to see a line for it; receipts only change marks.
pub fn is_shown(content: &Content) -> bool {
    !matches!(content.body, Body::Receipt { .. })
}

fn attachment(file: &Attachment) -> String {
    format!("[file {}, {}]", sanitize::name(&file.name, 40), size(file.size))
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let cases = [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (u64::MAX, "18446744.1 TB")];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
    }
}
