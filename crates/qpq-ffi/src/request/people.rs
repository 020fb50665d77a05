//! People: finding, trusting, accepting and blocking them.

use qpq_client::json::{self, ContactLine, LinkLine, VerifyLine};
use qpq_client::{ContactLink, Error, IdentityId, Trust};

use super::call::Call;
use super::{Decision, list};
use crate::status::Failure;

/// Always asks the server, so that a changed identity is noticed.
pub fn lookup(call: &Call<'_>, user: &str) -> Result<String, Failure> {
    let contact = call.ask_for(&call.name(user)?)?;
    Ok(json::line(&ContactLine::of("contact", &contact)))
}

pub fn contacts(call: &Call<'_>) -> Result<String, Failure> {
    Ok(list(call.client.contacts()?.iter().map(|contact| ContactLine::of("contact", contact))))
}

/// The safety number with the identity that the name has now, also when that is not the pinned one.
pub fn verify(call: &Call<'_>, user: &str) -> Result<String, Failure> {
    let (identity, changed) = identity(call, user)?;
    let (contact, number) = (call.client.contact(identity)?, call.client.safety_number(identity)?);
    if contact.is_self {
        return Err(Failure::bad_input("that is you: there is nothing to compare"));
    }
    let line = VerifyLine {
        kind: "verify",
        name: call.name(user)?.to_string(),
        identity: identity.to_string(),
        safety_number: number,
        trust: json::trust(contact.trust),
        changed,
    };
    Ok(json::line(&line))
}

pub fn trust(call: &Call<'_>, user: &str, decision: Decision) -> Result<String, Failure> {
    let trust = match decision {
        Decision::Verified => Trust::Verified,
        Decision::Unverified => Trust::Unverified,
        Decision::Rejected => Trust::Rejected,
    };
    let (identity, _) = identity(call, user)?;
    call.client.set_trust(identity, trust)?;
    Ok(json::line(&ContactLine::of("contact", &call.client.contact(identity)?)))
}

/// Nothing to decide about is no obstacle here: deciding is what these requests are for.
fn identity(call: &Call<'_>, user: &str) -> Result<(IdentityId, bool), Failure> {
    match call.person(user) {
        Ok(contact) => Ok((contact.identity, false)),
        Err(Failure::Client(Error::TrustDecision { new, .. })) => Ok((new, true)),
        Err(failure) => Err(failure),
    }
}

pub fn block(call: &Call<'_>, user: &str, is_blocked: bool) -> Result<String, Failure> {
    let identity = call.person(user)?.identity;
    call.client.block(identity, is_blocked)?;
    let kind = if is_blocked { "blocked" } else { "unblocked" };
    Ok(json::line(&ContactLine::of(kind, &call.client.contact(identity)?)))
}

pub fn accept(call: &Call<'_>, conversation: &str) -> Result<String, Failure> {
    let place = call.place(conversation)?;
    call.client.accept(place.id)?;
    Ok(json::line(&json::conversation(&call.client.conversation(place.id)?)))
}

pub fn contact_link(call: &Call<'_>) -> Result<String, Failure> {
    let link = call.client.contact_link()?;
    let (name, identity) = (link.user.to_string(), link.identity.to_string());
    Ok(json::line(&LinkLine { kind: "contact_link", link: link.to_string(), name, identity }))
}

pub fn contact_import(call: &Call<'_>, link: &str) -> Result<String, Failure> {
    let contact = call.client.import_contact(&link.parse::<ContactLink>()?)?;
    Ok(json::line(&ContactLine::of("contact", &contact)))
}
