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

/// As the subject or object of a sentence: `you` or `@bob`.
pub fn in_sentence(contact: &Contact) -> String {
    if contact.is_self { "you".into() } else { format!("@{}", name(contact)) }
}
