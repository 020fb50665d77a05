//! Breaking lines and filling columns by display width.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Breaks one line without newlines at spaces, or inside a word that is too long by itself. At least one line.
pub fn wrap(line: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in line.split_inclusive(' ') {
        let visible = word.trim_end_matches(' ').width();
        if used > 0 && used + visible > width {
            start_line(&mut lines, &mut used);
        }
        for cluster in clusters(word) {
            let cells = cluster.width();
            if used + cells > width {
                if cluster == " " {
                    continue;
                }
                start_line(&mut lines, &mut used);
            }
            push(&mut lines, cluster);
            used += cells;
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end_matches(' ').len());
    }
    lines
}

/// Breaks the lines of a text that are too long for the terminal, with their indentation. What is set already stays as it is:
/// lines that begin with four spaces, coloured ones, and those with long words, which are there to be copied.
pub fn fit(text: &str, width: usize) -> String {
    let fitted = |line: &str| {
        let is_set = line.starts_with("    ") || line.contains('\u{1b}');
        let is_copied = || line.split(' ').any(|word| word.width() > width / 2);
        if line.width() <= width || is_set || is_copied() {
            return line.to_owned();
        }
        let rest = line.trim_start_matches(' ');
        let indent = " ".repeat(line.len() - rest.len());
        let lines = wrap(rest, width - indent.len());
        lines.iter().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join("\n")
    };
    text.split('\n').map(fitted).collect::<Vec<_>>().join("\n")
}

fn start_line(lines: &mut Vec<String>, used: &mut usize) {
    lines.push(String::new());
    *used = 0;
}

fn push(lines: &mut [String], cluster: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(cluster);
    }
}

/// What the terminal draws as one: a character with its marks, or an emoji sequence.
pub fn clusters(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = rest.chars().next()?.len_utf8();
        while let Some(next) = rest[end..].chars().next() {
            let joined = rest[..end].ends_with('\u{200d}');
            let continues = joined || next.width() == Some(0) || ('\u{1f3fb}'..='\u{1f3ff}').contains(&next);
            if !continues || next == '\n' {
                break;
            }
            end += next.len_utf8();
        }
        let (cluster, after) = rest.split_at(end);
        rest = after;
        Some(cluster)
    })
}

/// Fills with spaces on the right.
pub fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// Fills with spaces on the left.
pub fn pad_left(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_by_cells() {
        let cases: [(&str, usize, &[&str]); 8] = [
            ("", 10, &[""]),
            ("short", 10, &["short"]),
            ("the quick brown fox", 10, &["the quick", "brown fox"]),
            ("exactly ten", 7, &["exactly", "ten"]),
            ("abcdefghij", 4, &["abcd", "efgh", "ij"]),
            ("a abcdefghij", 4, &["a", "abcd", "efgh", "ij"]),
            ("漢字漢字", 5, &["漢字", "漢字"]),
            ("👩\u{200d}💻👩\u{200d}💻", 3, &["👩\u{200d}💻", "👩\u{200d}💻"]),
        ];
        for (line, width, expected) in cases {
            assert_eq!(wrap(line, width), expected, "{line:?} in {width}");
        }
    }

    #[test]
    fn no_line_is_wider_than_asked_and_no_letter_is_lost() {
        let text = "lorem ipsum 漢字漢字漢字 dolor_sit_amet_consectetur e\u{301}e\u{301} 👩🏽\u{200d}💻 x";
        for width in 2..60 {
            let lines = wrap(text, width);
            assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:?}");
            let letters = |text: &str| text.replace(' ', "");
            assert_eq!(letters(&lines.concat()), letters(text), "{width}");
        }
    }

    #[test]
    fn texts_are_fitted_but_for_what_is_set() {
        let cases = [
            ("short", "short"),
            ("  the quick brown fox", "  the quick\n  brown fox"),
            ("one two three four\nfive", "one two\nthree four\nfive"),
            ("    the quick brown fox", "    the quick brown fox"),
            ("take abcdefghijkl home", "take abcdefghijkl home"),
            ("\u{1b}[2mthe quick brown fox", "\u{1b}[2mthe quick brown fox"),
        ];
        for (text, expected) in cases {
            assert_eq!(fit(text, 12), expected);
        }
        assert_eq!(fit("the quick brown fox", usize::MAX), "the quick brown fox");
    }

    #[test]
    fn columns_are_filled_by_width() {
        assert_eq!(pad("漢", 4), "漢  ");
        assert_eq!(pad_left("ab", 4), "  ab");
        assert_eq!(pad("long", 2), "long");
    }
}
