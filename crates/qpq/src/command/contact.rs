//! `qpq contact`

use clap::{Args, Subcommand};
use qpq_client::ContactLink;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::json::{self, ContactLine, LinkLine};
use crate::view::{people, qr};

/// Show your contact link as a text and a QR code, or take over somebody's.
///
/// A link says who somebody is before the server is asked: whoever imports it notices at once if the server names another
/// identity. Give it over a channel that others cannot change.
#[derive(Args)]
pub struct Contact {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Pin the identity of somebody's link before first contact.
    Import {
        #[arg(value_name = "LINK")]
        link: String,
    },
}

impl Contact {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        match self.action {
            None => show(ctx),
            Some(Action::Import { link }) => import(ctx, &link),
        }
    }
}

fn show(ctx: &mut Ctx) -> Result<(), Failure> {
    let link = ctx.client()?.contact_link()?;
    let text = link.to_string();
    let line = LinkLine {
        kind: "contact_link",
        link: text.clone(),
        name: link.user.to_string(),
        identity: link.identity.to_string(),
    };
    let code = if ctx.output.is_terminal { format!("{}\n", qr::draw(&text)) } else { String::new() };
    ctx.output.show(&line, &format!("{code}{text}"))
}

fn import(ctx: &mut Ctx, link: &str) -> Result<(), Failure> {
    let link: ContactLink = link.parse()?;
    let client = ctx.client()?;
    let own = client.whoami()?;
    let contact = client.import_contact(&link)?;
    if link.server != own.server {
        ctx.output.note(&format!(
            "the link is of the server {}, this profile is at {}: write to them only if that is the same one",
            crate::view::sanitize::line(&link.server),
            own.server
        ));
    }
    let line = ContactLine {
        kind: "contact",
        name: people::name(&contact),
        identity: contact.identity.to_string(),
        trust: json::trust(contact.trust),
        replaced_by: None,
    };
    let name = people::name(&contact);
    ctx.output.show(
        &line,
        &format!("@{name} is pinned to the identity {}…; begin with /dm @{name}", contact.identity.short()),
    )
}
