//! Makes text from others harmless before it reaches the terminal: nothing in it can move the cursor, change colours,
//! reorder what is shown, or hide.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr as _;

use super::wrap::clusters;

/// A message: the only control character that remains is the newline. Tabs become spaces, other control characters
/// a visible replacement; invisible characters and bidirectional overrides are dropped.
pub fn text(input: &str) -> String {
    let unified = input.replace("\r\n", "\n");
    let mut output = String::with_capacity(unified.len());
    let mut marks = 0;
    let mut rest = unified.chars().peekable();
    while let Some(c) = rest.next() {
        let keep = match c {
            '\n' | '\u{2028}' | '\u{2029}' => Some('\n'),
            '\t' => {
                output.push_str(TAB);
                None
            }
            _ if c.is_control() => Some(char::REPLACEMENT_CHARACTER),
            ZERO_WIDTH_JOINER => joins(&output, rest.peek().copied()).then_some(c),
            EMOJI_PRESENTATION => takes_emoji_presentation(&output).then_some(c),
            _ if is_invisible(c) => None,
            _ => Some(c),
        };
        let Some(c) = keep else { continue };
        marks = if is_combining(c) { marks + 1 } else { 0 };
        if marks <= MOST_MARKS {
            output.push(c);
        }
    }
    output
}

/// A name or another short text: a single line of at most `width` cells, shortened with an ellipsis.
pub fn name(input: &str, width: usize) -> String {
    shorten(&line(input), width).into_owned()
}

/// A single line of any length.
pub fn line(input: &str) -> String {
    text(input).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cuts at `width` cells, and shows with an ellipsis that something was cut.
pub fn shorten(input: &str, width: usize) -> Cow<'_, str> {
    if input.width() <= width {
        return Cow::Borrowed(input);
    }
    let mut kept = String::new();
    for cluster in clusters(input) {
        if kept.width() + cluster.width() + 1 > width {
            break;
        }
        kept.push_str(cluster);
    }
    Cow::Owned(kept.trim_end().to_owned() + "…")
}

/// Whether a joiner between what was written and `next` is part of an emoji.
fn joins(before: &str, next: Option<char>) -> bool {
    let before = before.chars().next_back().is_some_and(|c| is_pictographic(c) || c == EMOJI_PRESENTATION);
    before && next.is_some_and(is_pictographic)
}

fn takes_emoji_presentation(before: &str) -> bool {
    before.chars().next_back().is_some_and(|c| is_pictographic(c) || c.is_ascii_digit() || matches!(c, '#' | '*'))
}

fn is_pictographic(c: char) -> bool {
    matches!(c, '\u{a9}' | '\u{ae}' | '\u{203c}'..='\u{3299}' | '\u{1f000}'..='\u{1faff}') && !is_invisible(c)
}

fn is_combining(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// What takes no space and draws nothing, or changes the direction of what is around it.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

const TAB: &str = "    ";
const ZERO_WIDTH_JOINER: char = '\u{200d}';
const EMOJI_PRESENTATION: char = '\u{fe0f}';
/// Marks on one letter; no script needs more, and towers of them cover the lines around.
const MOST_MARKS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_through_that_a_terminal_obeys() {
        let cases = [
            ("plain", "plain"),
            ("two\nlines", "two\nlines"),
            ("dos\r\nlines", "dos\nlines"),
            ("over\rwrite", "over\u{fffd}write"),
            ("\u{1b}[31mred\u{1b}[0m", "\u{fffd}[31mred\u{fffd}[0m"),
            ("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}"),
            ("c1\u{9b}31m", "c1\u{fffd}31m"),
            ("del\u{7f}\u{8}", "del\u{fffd}\u{fffd}"),
            ("\u{202e}gpj.exe\u{202c}", "gpj.exe"),
            ("\u{2067}a\u{2069}\u{200f}b\u{61c}", "ab"),
            ("ze\u{200b}ro\u{feff}\u{2060}", "zero"),
            ("tag\u{e0041}\u{e007f}", "tag"),
            ("a\u{200d}b", "ab"),
            ("a\u{fe0f}", "a"),
            ("1\u{fe0f}\u{20e3}", "1\u{fe0f}\u{20e3}"),
            ("👩\u{200d}💻 ❤\u{fe0f}", "👩\u{200d}💻 ❤\u{fe0f}"),
            ("❤\u{fe0f}\u{200d}🔥", "❤\u{fe0f}\u{200d}🔥"),
            ("👩\u{200d}", "👩"),
            ("a\tb", "a    b"),
            ("a\u{2028}b\u{2029}c", "a\nb\nc"),
            ("ünï 漢字 ру́сский", "ünï 漢字 ру́сский"),
        ];
        for (input, expected) in cases {
            assert_eq!(text(input), expected, "{input:?}");
        }
    }

    #[test]
    fn towers_of_marks_are_cut() {
        let tower = format!("a{}b", "\u{301}".repeat(50));
        assert_eq!(text(&tower), format!("a{}b", "\u{301}".repeat(MOST_MARKS)));
    }

    #[test]
    fn names_are_one_short_line() {
        assert_eq!(name(" a\nb\t c ", 20), "a b c");
        assert_eq!(name("abcdefgh", 5), "abcd…");
        assert_eq!(name("漢字漢字", 5), "漢字…");
        assert_eq!(name("\u{1b}[2J", 20), "\u{fffd}[2J");
        assert_eq!(name("", 5), "");
    }

    #[test]
    fn every_single_character_and_mixtures_of_them_are_harmless() {
        let harmless = |output: &str| output.chars().all(|c| c == '\n' || !c.is_control());
        for c in '\0'..=char::MAX {
            let output = text(c.encode_utf8(&mut [0; 4]));
            assert!(harmless(&output), "{c:?}");
        }
        // A cheap generator is enough: what matters is that nasty characters stand beside each other.
        let nasty =
            ['\u{1b}', '\u{200d}', '\u{fe0f}', '❤', '\r', '\n', '\u{202e}', '\u{85}', 'a', '\u{301}', '\t', '漢'];
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            let mut input = String::new();
            for _ in 0..12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                input.push(nasty[(seed >> 33) as usize % nasty.len()]);
            }
            let output = text(&input);
            assert!(harmless(&output) && !output.contains('\u{202e}'), "{input:?}");
            assert!(!name(&input, 8).contains('\n') && name(&input, 8).width() <= 8, "{input:?}");
            assert_eq!(text(&output), output, "harmless text stays as it is: {input:?}");
        }
    }
}
