//! Completion of paths.

use std::fs;
use std::path::{Path, PathBuf};

/// What Tab offers for a path that is being typed, quoted as it has to be; and whether it is complete. `typed` may begin
/// with a quote that is still open.
pub fn candidates(typed: &str, only_directories: bool) -> Vec<(String, bool)> {
    let bare = unquoted(typed);
    let (folder, beginning) = match bare.rfind('/') {
        Some(at) => bare.split_at(at + 1),
        None => ("", &bare[..]),
    };
    let directory = if folder.is_empty() { PathBuf::from(".") } else { expanded(folder) };
    let mut found: Vec<(String, bool)> = entries(&directory)
        .into_iter()
        .filter(|(name, is_directory)| {
            let is_hidden = name.starts_with('.') && !beginning.starts_with('.');
            name.starts_with(beginning) && !is_hidden && (*is_directory || !only_directories)
        })
        .map(|(name, is_directory)| {
            let slash = if is_directory { "/" } else { "" };
            (quoted(&format!("{folder}{name}{slash}"), is_directory), !is_directory)
        })
        .collect();
    found.sort();
    found.truncate(MOST);
    found
}

/// `~/` as a shell would have it.
pub fn expanded(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// Names that can be typed, and which of them are directories.
fn entries(directory: &Path) -> Vec<(String, bool)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let entries = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok().filter(|name| !name.chars().any(char::is_control))?;
        Some((name, entry.path().is_dir()))
    });
    entries.collect()
}

fn unquoted(typed: &str) -> String {
    let Some(rest) = typed.strip_prefix('"') else { return typed.trim_start_matches('\'').to_owned() };
    let mut bare = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => bare.extend(letters.next()),
            '"' => {}
            _ => bare.push(letter),
        }
    }
    bare
}

/// The quote of a directory stays open: more follows.
fn quoted(path: &str, is_open: bool) -> String {
    let needs_none = !path.contains(char::is_whitespace) && !path.starts_with(['"', '\'', '@', '#', '-']);
    if needs_none {
        return path.to_owned();
    }
    let path = if path.starts_with(['@', '#', '-']) { format!("./{path}") } else { path.to_owned() };
    let end = if is_open { "" } else { "\"" };
    format!("\"{}{end}", path.replace('\\', r"\\").replace('"', "\\\""))
}

/// More than anybody looks through.
const MOST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_completed_and_quoted_where_they_must_be() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["one.txt", "only this", ".hidden", "two"] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        fs::create_dir(folder.path().join("ordinary")).expect("a folder");
        fs::create_dir(folder.path().join("or not")).expect("a folder");
        fs::write(folder.path().join("or not/in \"it\""), "").expect("a file");
        let base = folder.path().display();
        let values = |typed: &str, only_directories| -> Vec<String> {
            candidates(typed, only_directories).into_iter().map(|(value, _)| value).collect()
        };
        let cases: [(&str, bool, &[&str]); 6] = [
            ("o", false, &["\"{}/only this\"", "\"{}/or not/", "{}/one.txt", "{}/ordinary/"]),
            ("on", false, &["\"{}/only this\"", "{}/one.txt"]),
            ("o", true, &["\"{}/or not/", "{}/ordinary/"]),
            (".h", false, &["{}/.hidden"]),
            ("or not/", false, &["\"{}/or not/in \\\"it\\\"\""]),
            ("zzz", false, &[]),
        ];
        for (typed, only_directories, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|value| value.replace("{}", &base.to_string())).collect();
            assert_eq!(values(&format!("{base}/{typed}"), only_directories), expected, "{typed}");
            assert_eq!(values(&format!("\"{base}/{typed}"), only_directories), expected, "an open quote, {typed}");
        }
        assert_eq!(quoted("@bob", false), "\"./@bob\"");
        assert!(candidates("/no/such/folder/", false).is_empty());
    }
}
