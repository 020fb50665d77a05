//! Emoji by name, for keyboards that have none.

/// The emoji of a name such as `:heart:`; the colons may be left out at the beginning or the end.
pub fn named(name: &str) -> Option<&'static str> {
    let bare = name.strip_prefix(':')?.trim_end_matches(':');
    NAMES.iter().find(|(known, _)| *known == bare).map(|(_, emoji)| *emoji)
}

/// `:name:` and emoji, in the order in which they are offered.
pub const NAMES: &[(&str, &str)] = &[
    ("+1", "👍"),
    ("-1", "👎"),
    ("heart", "❤️"),
    ("joy", "😂"),
    ("smile", "😄"),
    ("grin", "😁"),
    ("wink", "😉"),
    ("thinking", "🤔"),
    ("cry", "😢"),
    ("sob", "😭"),
    ("angry", "😠"),
    ("wow", "😮"),
    ("clap", "👏"),
    ("pray", "🙏"),
    ("wave", "👋"),
    ("ok", "👌"),
    ("muscle", "💪"),
    ("eyes", "👀"),
    ("fire", "🔥"),
    ("tada", "🎉"),
    ("rocket", "🚀"),
    ("star", "⭐"),
    ("check", "✅"),
    ("x", "❌"),
    ("question", "❓"),
    ("100", "💯"),
    ("coffee", "☕"),
    ("beer", "🍺"),
    ("cake", "🎂"),
    ("sun", "☀️"),
    ("bug", "🐛"),
    ("lock", "🔒"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_emoji() {
        assert_eq!(named(":+1:"), Some("👍"));
        assert_eq!(named(":heart"), Some("❤️"));
        assert_eq!(named("heart"), None);
        assert_eq!(named(":nothing:"), None);
    }
}
