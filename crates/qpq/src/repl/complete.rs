//! What Tab offers: commands, names, groups, and the few words that a command knows.

use std::sync::Arc;

use reedline::{Completer, CompletionResult, Span, Suggestion};

use super::paths;
use super::shared::Shared;
use super::slash::SLASHES;
use crate::emoji::NAMES;

pub struct ChatCompleter {
    shared: Arc<Shared>,
}

impl ChatCompleter {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Completer for ChatCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let (users, groups) = self.shared.names();
        let suggestions: Vec<Suggestion> = candidates(line, pos, &users, &groups)
            .into_iter()
            .map(|candidate| Suggestion {
                value: candidate.value,
                description: candidate.description.map(str::to_owned),
                span: Span::new(candidate.start, pos),
                append_whitespace: candidate.is_complete,
                ..Suggestion::default()
            })
            .collect();
        CompletionResult::fresh(suggestions)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    value: String,
    description: Option<&'static str>,
    start: usize,
    /// A folder is not: more of the path follows.
    is_complete: bool,
}

fn candidates(line: &str, pos: usize, users: &[String], groups: &[String]) -> Vec<Candidate> {
    // The editor counts in bytes and stays on character boundaries; whatever it says, this does not panic.
    let before = line.get(..pos).unwrap_or(line);
    if let Some(found) = paths_of(before) {
        return found;
    }
    let start =
        before.rfind(char::is_whitespace).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let word = &before[start..];
    let plain = |value: &String| Candidate { value: quoted(value), description: None, start, is_complete: true };
    match word.chars().next() {
        Some('/') if start == 0 => commands(word, start),
        Some('@') => users.iter().filter(|name| name.starts_with(word)).map(plain).collect(),
        Some(':') if before.starts_with("/react ") => emoji(word, start),
        Some('#') => groups.iter().filter(|name| begins(name, word)).map(plain).collect(),
        Some(_) | None => known_words(before, word)
            .into_iter()
            .map(|value| Candidate { value: value.to_owned(), description: None, start, is_complete: true })
            .collect(),
    }
}

/// `:+1:` and the like, which become the emoji itself.
fn emoji(word: &str, start: usize) -> Vec<Candidate> {
    let wanted = word.trim_start_matches(':');
    let fitting = NAMES.iter().filter(|(name, _)| name.starts_with(wanted));
    fitting
        .map(|(name, emoji)| Candidate {
            value: (*emoji).to_owned(),
            description: Some(name),
            start,
            is_complete: true,
        })
        .collect()
}

/// Where a path is typed, which may have spaces in it.
fn paths_of(before: &str) -> Option<Vec<Candidate>> {
    let (command, arguments) = before.split_once(char::is_whitespace)?;
    let (typed, only_directories) = match command {
        "/send-file" | "/sf" => (arguments.trim_start(), false),
        "/download" | "/dl" => (arguments.trim_start().split_once(char::is_whitespace)?.1.trim_start(), true),
        _ => return None,
    };
    let start = before.len() - typed.len();
    let candidate = |(value, is_complete)| Candidate { value, description: None, start, is_complete };
    Some(paths::candidates(typed, only_directories).into_iter().map(candidate).collect())
}

fn commands(word: &str, start: usize) -> Vec<Candidate> {
    let wanted = word.trim_start_matches('/');
    let names = SLASHES.iter().flat_map(|slash| {
        [slash.name].into_iter().chain(slash.aliases.iter().copied()).map(|name| (name, slash.about))
    });
    let fitting = names.filter(|(name, _)| name.starts_with(wanted) && !word.starts_with("//"));
    fitting
        .map(|(name, about)| Candidate {
            value: format!("/{name}"),
            description: Some(about),
            start,
            is_complete: true,
        })
        .collect()
}

fn known_words<'a>(before: &str, word: &str) -> Vec<&'a str> {
    let mut words = before.split_whitespace();
    let command = words.next().unwrap_or_default();
    let arguments = words.count() - usize::from(!word.is_empty() && word != command);
    let known: &[&str] = match (command, arguments) {
        ("/trust", 1) => &["verified", "unverified", "rejected"],
        ("/role", 1) => &["admin", "member"],
        ("/typing-notify" | "/mute", 0) => &["on", "off"],
        ("/disappear", 0) => &["30m", "1h", "1d", "7d", "off"],
        ("/contact", 0) => &["import"],
        ("/help", 0) => return SLASHES.iter().map(|slash| slash.name).filter(|name| name.starts_with(word)).collect(),
        _ => &[],
    };
    known.iter().copied().filter(|known| known.starts_with(word)).collect()
}

fn begins(name: &str, word: &str) -> bool {
    let bare = word.replace('"', "");
    name.to_lowercase().starts_with(&bare.to_lowercase())
}

/// As one has to type it.
fn quoted(name: &str) -> String {
    match (name.contains(char::is_whitespace), name.split_at_checked(1)) {
        (true, Some((sigil, rest))) => format!("{sigil}\"{}\"", rest.replace('\\', r"\\").replace('"', "\\\"")),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(line: &str) -> Vec<String> {
        let users = ["@alice".to_owned(), "@bob".to_owned(), "@bobby".to_owned()];
        let groups = ["#team".to_owned(), "#two words".to_owned()];
        candidates(line, line.len(), &users, &groups).into_iter().map(|candidate| candidate.value).collect()
    }

    #[test]
    fn completion_knows_what_belongs_where() {
        let cases: [(&str, &[&str]); 14] = [
            ("/react 3 :he", &["❤️"]),
            ("/mute o", &["on", "off"]),
            ("/disappear 1", &["1h", "1d"]),
            ("/inv", &["/invite"]),
            ("/cg", &["/cg"]),
            ("//inv", &[]),
            ("/dm @bo", &["@bob", "@bobby"]),
            ("hello @al", &["@alice"]),
            ("/switch #T", &["#team", "#\"two words\""]),
            ("/switch #tw", &["#\"two words\""]),
            ("/trust @bob ", &["verified", "unverified", "rejected"]),
            ("/role @bob a", &["admin"]),
            ("/help inv", &["invite"]),
            ("plain text", &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(values(line), expected, "{line}");
        }
    }

    #[test]
    fn files_are_offered_where_a_path_belongs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("two words"), "").expect("a file");
        std::fs::create_dir(folder.path().join("twins")).expect("a folder");
        let base = folder.path().display();
        let file = format!("\"{base}/two words\"");
        let twins = format!("{base}/twins/");
        assert_eq!(values(&format!("/sf {base}/tw")), [file.clone(), twins.clone()]);
        assert_eq!(values(&format!("/send-file {base}/two w")), [file]);
        assert_eq!(values(&format!("/dl 7 {base}/tw")), [twins]);
        assert!(values("/dl 7").is_empty());
        let line = format!("/sf {base}/twi");
        let found = candidates(&line, line.len(), &[], &[]);
        assert!(matches!(&found[..], [Candidate { start: 4, is_complete: false, .. }]), "{found:?}");
    }

    #[test]
    fn the_word_under_the_cursor_is_replaced() {
        let found = candidates("漢字 @bo", 9 + 1, &["@bob".to_owned()], &[]);
        assert_eq!(found.first().map(|candidate| candidate.start), Some(7));
        assert!(candidates("ü", 1, &[], &[]).is_empty());
    }
}
