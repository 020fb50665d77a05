//! What it means how far somebody is trusted, in one sentence.

use qpq_client::{Contact, Trust};

/// For tables: a mark and a word.
pub fn mark(contact: &Contact) -> String {
    match (contact.is_self, contact.is_blocked, contact.replaced_by.is_some(), contact.trust) {
        (true, ..) => "you".into(),
        (_, true, ..) => "⊘ blocked".into(),
        (_, _, true, _) => "! another identity has this name now".into(),
        (.., Trust::Verified) => "✓ verified".into(),
        (.., Trust::Unverified) => "unverified".into(),
        (.., Trust::Rejected) => "✗ rejected".into(),
    }
}

/// For answers: what it means, and what there is to do.
pub fn sentence(contact: &Contact, name: &str) -> String {
    match (contact.is_blocked, contact.replaced_by.is_some(), contact.trust) {
        (true, ..) => format!("you blocked @{name}: nothing of them is shown, and nothing goes to them"),
        (_, true, _) => {
            format!(
                "the name @{name} belongs to another identity now: nothing is sent until you decide (/verify, /trust)"
            )
        }
        (.., Trust::Verified) => {
            format!("you have compared safety numbers with @{name}: nobody stands between you, whoever runs the server")
        }
        (.., Trust::Unverified) => format!(
            "the server said who @{name} is, and it has been the same identity since; compare safety numbers to be sure (/verify)"
        ),
        (.., Trust::Rejected) => "you refused this identity: nothing goes to it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn every_state_is_explained() {
        let bob = samples::contact("bob", 2);
        let states = [
            (bob.clone(), "unverified", "the server said"),
            (Contact { trust: Trust::Verified, ..bob.clone() }, "✓ verified", "you have compared"),
            (Contact { trust: Trust::Rejected, ..bob.clone() }, "✗ rejected", "you refused"),
            (Contact { is_blocked: true, ..bob.clone() }, "⊘ blocked", "you blocked"),
            (Contact { replaced_by: Some(bob.identity), ..bob }, "! another", "the name @bob belongs to another"),
        ];
        for (contact, short, long) in states {
            assert!(mark(&contact).starts_with(short) && sentence(&contact, "bob").starts_with(long));
        }
    }
}
