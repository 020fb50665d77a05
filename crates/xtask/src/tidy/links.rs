//! The documentation: links lead somewhere, every page is in the summary, every schema is described.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::report::Report;

pub fn check() -> Result<Report> {
    let mut report = Report::default();
    let book = markdown_files(Path::new(BOOK))?;
    let mut pages = book.clone();
    pages.extend(markdown_files(Path::new("."))?);
    for page in &pages {
        let text = read(page)?;
        for link in links(&text) {
            if let Some(problem) = broken(page, &text, link)? {
                report.problem(format!("{}: link to {link}: {problem}", page.display()));
            }
        }
    }
    check_summary(&book, &mut report)?;
    check_schemas(&mut report)?;
    Ok(report)
}

/// Why a link leads nowhere, or `None` if it is good or leads out of the repository.
fn broken(page: &Path, text: &str, link: &str) -> Result<Option<&'static str>> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(None);
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = page.parent().unwrap_or(Path::new("")).join(file);
    if !file.is_empty() && !target.exists() {
        return Ok(Some("there is no such file"));
    }
    if anchor.is_empty() {
        return Ok(None);
    }
    let found = if file.is_empty() { has_anchor(text, anchor) } else { has_anchor(&read(&target)?, anchor) };
    Ok((!found).then_some("there is no such heading"))
}

fn check_summary(book: &[PathBuf], report: &mut Report) -> Result<()> {
    let summary = Path::new(BOOK).join(SUMMARY);
    let text = read(&summary)?;
    let listed: BTreeSet<PathBuf> = links(&text).map(|link| Path::new(BOOK).join(link)).collect();
    for page in book.iter().filter(|page| **page != summary && !listed.contains(*page)) {
        report.problem(format!("{} is not in {}", page.display(), summary.display()));
    }
    Ok(())
}

fn check_schemas(report: &mut Report) -> Result<()> {
    let protocol = read(&Path::new(BOOK).join(PROTOCOL))?;
    for schema in files_with_extension(Path::new("schemas"), "capnp")? {
        let name = schema.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !protocol.contains(&name) {
            report.problem(format!("{} is not mentioned in {BOOK}/{PROTOCOL}", schema.display()));
        }
    }
    Ok(())
}

/// Targets of `[text](target)` outside of code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    prose_lines(text).flat_map(|line| {
        line.match_indices("](").filter_map(|(at, _)| {
            let rest = &line[at + 2..];
            let in_code = line[..at].matches('`').count() % 2 == 1;
            rest.find(')').filter(|_| !in_code).map(|end| &rest[..end])
        })
    })
}

pub fn has_anchor(text: &str, anchor: &str) -> bool {
    prose_lines(text).any(|line| line.starts_with('#') && slug(line) == anchor)
}

/// The anchor that mdBook and code forges give a heading.
fn slug(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Lines that are not in a fenced code block.
fn prose_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

fn markdown_files(folder: &Path) -> Result<Vec<PathBuf>> {
    files_with_extension(folder, "md")
}

fn files_with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry.with_context(|| format!("listing {}", folder.display()))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

const BOOK: &str = "docs/src";
const SUMMARY: &str = "SUMMARY.md";
const PROTOCOL: &str = "protocol.md";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_code_do_not_count() {
        let text = "[a](one.md) and `[b](two.md)`\n```\n[c](three.md)\n```\n[d](#four)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["one.md", "#four"]);
    }

    #[test]
    fn headings_have_anchors() {
        assert!(has_anchor("# A\n## What the server sees, and keeps", "what-the-server-sees-and-keeps"));
        assert!(!has_anchor("```\n# comment\n```", "comment"));
    }
}
