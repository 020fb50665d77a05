//! The name that a downloaded file gets: somebody else has chosen it, so it may not lead anywhere, hide anything, or mean
//! something special on any system.

/// A name for a file in the chosen directory, as close to `name` as is safe.
pub fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).find(|part| !part.trim_matches(['.', ' ']).is_empty()).unwrap_or_default();
    let visible: String =
        last.chars().filter(|c| !is_invisible(*c)).map(|c| if is_special(c) { '_' } else { c }).collect();
    // Dots at the beginning hide a file; dots and spaces at the end are forgotten by some systems.
    let trimmed = visible.trim_matches(|c: char| c == '.' || c.is_whitespace());
    let named = if trimmed.is_empty() { "file" } else { trimmed };
    let begins_badly = named.starts_with(['-', '~']) || is_device(named);
    shortened(if begins_badly { format!("_{named}") } else { named.to_owned() })
}

/// Controls, and what changes the direction or takes no room.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Not allowed on Windows.
fn is_special(c: char) -> bool {
    matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*')
}

/// On Windows these are devices, with any extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered =
        |prefix| stem.strip_prefix(prefix).is_some_and(|rest| matches!(rest, "¹" | "²" | "³") || is_digit(rest));
    matches!(&stem[..], "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$")
        || numbered("COM")
        || numbered("LPT")
}

fn is_digit(text: &str) -> bool {
    matches!(text.as_bytes(), [b'0'..=b'9'])
}

/// Room is left for what a temporary file adds to it. A short extension is kept.
fn shortened(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let extension = name.rfind('.').map(|at| &name[at..]).filter(|extension| extension.len() <= LONGEST_EXTENSION);
    let extension = extension.unwrap_or_default();
    let mut end = LONGEST - extension.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", name[..end].trim_end_matches(['.', ' ']))
}

/// In bytes; file systems allow 255.
const LONGEST: usize = 200;
const LONGEST_EXTENSION: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_and_mean_nothing() {
        let cases = [
            ("report.pdf", "report.pdf"),
            ("ünï 漢字.txt", "ünï 漢字.txt"),
            ("../../x", "x"),
            ("..\\..\\x", "x"),
            ("/etc/passwd", "passwd"),
            ("C:\\Windows\\x.exe", "x.exe"),
            ("C:x", "C_x"),
            ("x:stream", "x_stream"),
            ("", "file"),
            (".", "file"),
            ("..", "file"),
            ("...", "file"),
            ("/", "file"),
            ("../", "file"),
            ("a/..", "a"),
            (" ", "file"),
            ("\0", "file"),
            ("a\0b\n\r\tc\u{1b}[2J", "abc[2J"),
            ("gpj.\u{202e}exe", "gpj.exe"),
            ("a\u{200b}b\u{feff}", "ab"),
            (".bashrc", "bashrc"),
            ("\u{200b}.bashrc", "bashrc"),
            (" . hidden", "hidden"),
            ("name. . ", "name"),
            ("-rf", "_-rf"),
            ("~", "_~"),
            ("CON", "_CON"),
            ("con.txt", "_con.txt"),
            ("Nul .tar.gz", "_Nul .tar.gz"),
            ("com1", "_com1"),
            ("LPT\u{b9}.x", "_LPT\u{b9}.x"),
            ("COM10", "COM10"),
            ("console.log", "console.log"),
            ("what? <a|b>*", "what_ _a_b__"),
        ];
        for (name, expected) in cases {
            assert_eq!(safe_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn long_names_are_cut_between_characters_and_keep_their_extension() {
        let long = safe_name(&format!("{}.tar", "漢".repeat(100)));
        assert!(long.len() <= LONGEST && long.ends_with("漢.tar"), "{long}");
        let no_extension = safe_name(&format!("a.{}", "b".repeat(1000)));
        assert_eq!(no_extension.len(), LONGEST);
        assert!(safe_name(&"x".repeat(100_000)).len() <= LONGEST);
    }

    /// Whatever comes in, what comes out is one plain component, and safe itself.
    #[test]
    fn what_is_safe_stays_as_it_is() {
        let mut state = 1_u64;
        let letters: Vec<char> = "./\\ :-~\0\n\u{202e}aCONul1漢.".chars().collect();
        for _ in 0..20_000 {
            let mut name = String::new();
            for _ in 0..state % 12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                name.push(letters[(state >> 33) as usize % letters.len()]);
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let safe = safe_name(&name);
            let components: Vec<_> = std::path::Path::new(&safe).components().collect();
            assert!(matches!(components[..], [std::path::Component::Normal(_)]), "{name:?}: {safe:?}");
            assert_eq!(safe_name(&safe), safe, "{name:?}");
        }
    }
}
