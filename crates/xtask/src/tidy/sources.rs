//! Rules about source text: where a library may be named, and what must not be left behind.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::report::Report;

pub fn check() -> Result<Report> {
    let mut report = Report::default();
    let mut files = Vec::new();
    collect(Path::new("crates"), &mut files)?;
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        check_file(&file.to_string_lossy(), &text, &mut report);
    }
    Ok(report)
}

fn check_file(path: &str, text: &str, report: &mut Report) {
    if path.contains("/generated/") {
        return;
    }
    let lines = text.lines().count();
    if lines > LONG_FILE {
        report.note(format!("{path} has {lines} lines: is it two ideas?"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let code = without_comment(line);
        for name in LEFT_BEHIND {
            if names_macro(code, name) && path != THIS_FILE {
                report.problem(format!("{path}:{number}: `{name}!` left behind"));
            }
        }
        for rule in CONFINED {
            if code.contains(rule.library) && !rule.allows(path) {
                let places = rule.places.join(", ");
                report.problem(format!("{path}:{number}: `{}` is named outside of {places}", rule.library));
            }
        }
    }
}

/// A library that may be named in few places only.
struct Confined {
    library: &'static str,
    /// Folders, or modules of that name (`a/rpc` stands for `a/rpc/…` and `a/rpc.rs`).
    places: &'static [&'static str],
}

impl Confined {
    /// The rule is for the product; tests and tools measure against these libraries directly.
    fn allows(&self, path: &str) -> bool {
        let is_product = !path.starts_with("crates/qpq-tests/") && !path.starts_with("crates/xtask/");
        !is_product || self.places.iter().any(|place| is_inside(path, place))
    }
}

fn is_inside(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

fn names_macro(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let starts_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        starts_word && code[at + name.len()..].starts_with("!(")
    })
}

/// Cuts a line comment off. A `//` after a colon is taken for a URL in a string.
fn without_comment(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry.with_context(|| format!("listing {}", folder.display()))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

const LONG_FILE: usize = 450;

/// Its tests contain what it looks for.
const THIS_FILE: &str = "crates/xtask/src/tidy/sources.rs";

const LEFT_BEHIND: &[&str] = &["todo", "unimplemented", "dbg"];

const CONFINED: &[Confined] = &[
    Confined {
        library: "capnp",
        places: &[
            "crates/qpq-proto",
            "crates/qpq-io/src/rpc",
            "crates/qpq-client/src/wire",
            "crates/qpq-server/src/rpc",
        ],
    },
    Confined { library: "allow(unsafe_code", places: &["crates/qpq-ffi"] },
    Confined {
        library: "rusqlite",
        places: &["crates/qpq-io/src/db", "crates/qpq-client/src/store", "crates/qpq-server/src/store"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_other_words_do_not_count() {
        let cases = [
            ("    todo!()", true),
            ("foo(); // todo!()", false),
            ("my_todo!()", false),
            ("let s = \"https://x\"; dbg!(s)", true),
        ];
        for (line, expected) in cases {
            let code = without_comment(line);
            assert_eq!(LEFT_BEHIND.iter().any(|name| names_macro(code, name)), expected, "{line}");
        }
    }

    #[test]
    fn a_place_is_a_folder_or_a_module() {
        let cases = [
            ("crates/a/src/rpc/tls.rs", true),
            ("crates/a/src/rpc.rs", true),
            ("crates/a/src/rpcs.rs", false),
            ("crates/a/src/lib.rs", false),
        ];
        for (path, expected) in cases {
            assert_eq!(is_inside(path, "crates/a/src/rpc"), expected, "{path}");
        }
    }
}
