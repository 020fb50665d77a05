//! `qpq verify`

use clap::Args;
use qpq_client::{ConversationId, Error, IdentityId, Trust};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::target::User;
use crate::view::json::{self, VerifyLine};
use crate::view::{qr, safety_number};

/// Show the safety number with somebody: 60 digits that both sides compare over another channel.
#[derive(Args)]
pub struct Verify {
    /// The person; in the REPL the one you are talking with.
    #[arg(value_name = "@USER")]
    user: Option<User>,
    /// The numbers are the same: mark the person as verified.
    #[arg(long)]
    confirm: bool,
}

/// Whose number it is.
struct Subject {
    name: String,
    identity: IdentityId,
    trust: Trust,
    changed: bool,
}

impl Verify {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.connected()?;
        let mut subject = match &self.user {
            Some(user) => named(user, ctx)?,
            None => partner(ctx)?,
        };
        let number = client.safety_number(subject.identity)?;
        if self.confirm {
            client.set_trust(subject.identity, Trust::Verified)?;
            subject.trust = Trust::Verified;
        }
        show(ctx, &subject, &number)?;
        if subject.changed && !self.confirm {
            let name = &subject.name;
            return Err(Failure::Trust(format!(
                "the identity behind @{name} changed; if @{name} reads the same number to you, decide with --confirm"
            )));
        }
        Ok(())
    }
}

/// The person of that name; after a change the new identity, for that is the one to be compared.
fn named(user: &User, ctx: &mut Ctx) -> Result<Subject, Failure> {
    match user.resolve(ctx) {
        Ok(contact) if contact.is_self => {
            Err(Error::BadInput("that is you: there is nothing to compare".into()).into())
        }
        Ok(contact) => Ok(Subject {
            name: user.name().to_string(),
            identity: contact.identity,
            trust: contact.trust,
            changed: false,
        }),
        Err(Failure::Client(Error::TrustDecision { name, new, .. })) => {
            Ok(Subject { name: name.to_string(), identity: new, trust: Trust::Unverified, changed: true })
        }
        Err(failure) => Err(failure),
    }
}

/// The other one in the current conversation.
fn partner(ctx: &mut Ctx) -> Result<Subject, Failure> {
    let ConversationId::Direct(identity) = ctx.current()? else {
        return Err(Failure::Refused("say whom, this is a group: /verify @user".into()));
    };
    let contact = ctx.client()?.contacts()?.into_iter().find(|contact| contact.identity == identity);
    let contact = contact.ok_or_else(|| Failure::Refused("say whom: /verify @user".into()))?;
    if contact.is_self {
        return Err(Error::BadInput("this is your notepad: say whom, /verify @user".into()).into());
    }
    let name = crate::view::people::name(&contact);
    Ok(Subject { name, identity, trust: contact.trust, changed: contact.replaced_by.is_some() })
}

fn show(ctx: &Ctx, subject: &Subject, number: &str) -> Result<(), Failure> {
    let trust = json::trust(subject.trust);
    let indented: Vec<String> = safety_number::lines(number).iter().map(|line| format!("    {line}")).collect();
    let advice = match subject.trust {
        Trust::Verified => "you have compared this number".to_owned(),
        Trust::Unverified if ctx.session.is_some() => {
            format!("compare it over another channel, then /trust @{} verified", subject.name)
        }
        Trust::Unverified => "compare it over another channel, then repeat this with --confirm".to_owned(),
        Trust::Rejected => "you have rejected this identity".to_owned(),
    };
    let name = &subject.name;
    let code = if ctx.output.is_terminal {
        format!("\n\n{}", qr::draw(&safety_number::digits(number)))
    } else {
        String::new()
    };
    let text = format!("safety number with @{name} ({trust})\n\n{}{code}\n\n{advice}", indented.join("\n"));
    let line = VerifyLine {
        kind: "verify",
        name: subject.name.clone(),
        identity: subject.identity.to_string(),
        safety_number: number.to_owned(),
        trust,
        changed: subject.changed,
    };
    ctx.output.show(&line, &text)
}
