//! `qpq trust`

use clap::{Args, ValueEnum};
use qpq_client::{Contact, Error, Trust as Level};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::target::User;
use crate::view::json::{self, ContactLine};
use crate::view::trust::sentence;

/// Show or decide how far you trust somebody.
///
/// After a name has changed hands, the decision is about the new identity: `verified` or `unverified` makes the name
/// usable again, `rejected` refuses the new identity.
#[derive(Args)]
pub struct Trust {
    #[arg(value_name = "@USER")]
    user: User,
    /// The decision; without it, how things stand.
    decision: Option<Decision>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Decision {
    /// You have compared the safety numbers.
    Verified,
    /// Good enough for now, not compared.
    Unverified,
    /// Nothing goes there any more.
    Rejected,
}

impl Trust {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let identity = match self.user.resolve(ctx) {
            Ok(contact) => contact.identity,
            Err(Failure::Client(Error::TrustDecision { new, .. })) if self.decision.is_some() => new,
            Err(failure) => return Err(failure),
        };
        if let Some(decision) = self.decision {
            client.set_trust(identity, decision.into())?;
        }
        let contact = client.contacts()?.into_iter().find(|contact| contact.identity == identity);
        let contact = contact.ok_or_else(|| Error::UnknownUser(self.user.name().clone()))?;
        show(ctx, &contact, self.user.name().as_str())
    }
}

fn show(ctx: &Ctx, contact: &Contact, name: &str) -> Result<(), Failure> {
    let trust = json::trust(contact.trust);
    let line = ContactLine {
        kind: "contact",
        name: name.to_owned(),
        identity: contact.identity.to_string(),
        trust,
        replaced_by: contact.replaced_by.map(|id| id.to_string()),
    };
    let text = format!("@{name} is {trust} (identity {}…)\n{}", contact.identity.short(), sentence(contact, name));
    ctx.output.show(&line, &text)
}

impl From<Decision> for Level {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Verified => Self::Verified,
            Decision::Unverified => Self::Unverified,
            Decision::Rejected => Self::Rejected,
        }
    }
}
