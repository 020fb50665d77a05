//! `qpq change-password`

use clap::Args;
use qpq_client::json::DoneLine;
use qpq_client::{Client, Error};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::password;

/// Change the password of the account and of this profile.
///
/// The new one comes from the terminal or from QPQ_NEW_PASSWORD. Your other devices go on; their profiles are still opened
/// with the password that they had. When the account's password was changed on another device before, give that one with
/// QPQ_ACCOUNT_PASSWORD.
#[derive(Args)]
pub struct ChangePassword {}

impl ChangePassword {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        // Also in the REPL: whoever finds it open must not lock the owner out.
        let present = password::existing(&ctx.global)?;
        let client = match ctx.opened() {
            Some(client) => client.clone(),
            None => {
                let client = Client::open(&ctx.options()?, &present)?;
                ctx.adopt(client)
            }
        };
        let account = password::of_account()?;
        let new = password::changed()?;
        let outcome = ctx.ask(|_| client.change_password(&present, account.as_ref().unwrap_or(&present), &new));
        match outcome {
            Err(Failure::Client(Error::WrongCredentials)) => {
                return Err(Failure::Refused(
                    "the server does not take this as the account's present password; if it was changed on another \
                     device, give that one with QPQ_ACCOUNT_PASSWORD"
                        .into(),
                ));
            }
            outcome => outcome?,
        }
        let text = "the password is changed; the profiles of your other devices are still opened with theirs";
        ctx.output.show(&DoneLine { kind: "password_changed" }, text)
    }
}
