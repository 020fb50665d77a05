//! What people are called on the screen.

use qpq_client::Contact;

use super::sanitize;

/// The user name without `@`, or the beginning of the identity while the name is unknown.
pub fn name(contact: &Contact) -> String {
    match &contact.name {
        Some(name) => sanitize::line(name.as_str()),
        None => contact.identity.short(),
    }
}

/// The names that a text calls people by: `@bob`, at the beginning of a word.
pub fn mentions(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ['.', '_', '-'].contains(&c);
    let words = text.split(move |c: char| !(is_part(c) || c == '@' || c.is_alphanumeric()));
    words.filter_map(move |word| {
        let name = word.strip_prefix('@')?;
        let end = name.find(|c| !is_part(c)).unwrap_or(name.len());
        let name = name[..end].trim_end_matches(['.', '_', '-']);
        (!name.is_empty() && end == word.len() - 1).then_some(name)
    })
}

/// As the subject or object of a sentence: `you` or `@bob`.
pub fn in_sentence(contact: &Contact) -> String {
    if contact.is_self { "you".into() } else { format!("@{}", name(contact)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_are_whole_names() {
        let found = |text: &'static str| mentions(text).collect::<Vec<_>>();
        assert_eq!(found("@bob, see @carol.d and (@dave)!"), ["bob", "carol.d", "dave"]);
        assert_eq!(found("mail a@b.org, @ @@x @Bob @bobß"), [""; 0]);
        assert_eq!(found("@bob."), ["bob"]);
    }
}
