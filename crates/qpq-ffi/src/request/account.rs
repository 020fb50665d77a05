//! The account: its password, its recovery, its end.

use qpq_client::json::{self, AccountDeletedLine, DoneLine, RecoveryLine};
use qpq_client::{Error, UserName};

use super::call::Call;
use crate::config::Secret;
use crate::handles;
use crate::status::{Failure, QpqStatus};

/// Of the account and of this profile.
pub fn change_password(
    call: &Call<'_>,
    present: &Secret,
    new: Secret,
    account: Option<Secret>,
) -> Result<String, Failure> {
    let new = new.chosen("new_password")?;
    let account = account.as_ref().unwrap_or(present);
    match call.client.change_password(&present.0, &account.0, &new) {
        Ok(()) => Ok(json::line(&DoneLine { kind: "password_changed" })),
        Err(Error::WrongCredentials) => Err(Failure::Misuse(
            QpqStatus::WrongPassword,
            "the server does not take this as the account's present password; if it was changed on another device, give \
             that one as \"account_password\""
                .into(),
        )),
        Err(error) => Err(error.into()),
    }
}

/// The 24 words. They work from now on.
pub fn recovery(call: &Call<'_>) -> Result<String, Failure> {
    Ok(json::line(&RecoveryLine::of(&call.client.recovery_phrase()?)))
}

pub fn recovery_remove(call: &Call<'_>) -> Result<String, Failure> {
    call.client.forget_recovery()?;
    Ok(json::line(&DoneLine { kind: "recovery_removed" }))
}

/// There is no way back. The handle is stale afterwards.
pub fn delete(call: &Call<'_>, password: &Secret, typed: &str) -> Result<String, Failure> {
    call.client.check_password(&password.0)?;
    let me: UserName = call.client.whoami()?.name;
    if typed.trim_start_matches('@') != me.as_str() {
        let text = format!("\"name\" is not your name, which is {me}; nothing was deleted");
        return Err(Failure::bad_input(text));
    }
    call.client.connect();
    let outcome = call.client.delete_account(call.left());
    // Also when the profile's files could not be removed.
    if matches!(call.client.whoami(), Err(Error::Closed)) {
        // Somebody may have closed it just now.
        let _ = handles::remove(call.handle);
    }
    outcome?;
    Ok(json::line(&AccountDeletedLine::of(&me)))
}
