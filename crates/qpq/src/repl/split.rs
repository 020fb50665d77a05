//! Words of a line, as a shell would see them, but forgiving: a quote inside a word is a letter, so that nobody has to
//! think about quotes in `it's`.

/// The words, without their quotes. An error says which quote is missing.
pub fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = next(rest)?;
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// The first `count` words, and what follows as it was typed.
pub fn words_and_rest(line: &str, count: usize) -> Result<(Vec<String>, &str), String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while words.len() < count && !rest.is_empty() {
        let (word, after) = next(rest)?;
        words.push(word);
        rest = after.trim_start();
    }
    Ok((words, rest.trim_end()))
}

/// One word and what follows. Quotes count at the beginning of a word, or after the `#` or `@` that begins it.
fn next(text: &str) -> Result<(String, &str), String> {
    let sigil = text.chars().next().filter(|c| matches!(c, '#' | '@'));
    let after_sigil = &text[sigil.map_or(0, char::len_utf8)..];
    let mut word: String = sigil.into_iter().collect();
    let mut rest = after_sigil.chars();
    let quote = match rest.next() {
        Some(c @ ('"' | '\'')) => c,
        Some(_) | None => {
            let end = after_sigil.find(char::is_whitespace).unwrap_or(after_sigil.len());
            word.push_str(&after_sigil[..end]);
            return Ok((word, &after_sigil[end..]));
        }
    };
    while let Some(c) = rest.next() {
        match c {
            _ if c == quote => return Ok((word, rest.as_str())),
            '\\' if quote == '"' => word.extend(rest.next()),
            _ => word.push(c),
        }
    }
    Err(format!("the quote {quote} is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        let cases: [(&str, Option<&[&str]>); 12] = [
            ("", Some(&[])),
            ("  a  b ", Some(&["a", "b"])),
            ("\"two words\" x", Some(&["two words", "x"])),
            ("'two words'", Some(&["two words"])),
            ("#\"two words\" @bob", Some(&["#two words", "@bob"])),
            ("it's fine", Some(&["it's", "fine"])),
            (r#""a \" b""#, Some(&["a \" b"])),
            (r"'a \ b'", Some(&[r"a \ b"])),
            ("\"open", None),
            ("'", None),
            ("\"\"", Some(&[""])),
            ("漢字 ü", Some(&["漢字", "ü"])),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
            assert_eq!(words(line).ok(), expected, "{line}");
        }
    }

    #[test]
    fn the_rest_stays_as_it_was_typed() {
        let (words, rest) = words_and_rest(" @bob  it's \"quoted\"  text ", 1).expect("no quotes to close");
        assert_eq!((words, rest), (vec!["@bob".to_owned()], "it's \"quoted\"  text"));
        assert_eq!(words_and_rest("", 1), Ok((Vec::new(), "")));
    }
}
