//! The values that labels may have, in one place each.

use qpq_proto::code::{Code, Refusal};

/// How a call ended.
pub fn outcome<T>(outcome: &Result<T, Refusal>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(refusal) => code(refusal.code),
    }
}

/// A refusal.
pub fn code(code: Code) -> &'static str {
    match code {
        Code::BadRequest => "bad_request",
        Code::UnsupportedVersion => "unsupported_version",
        Code::WrongCredentials => "wrong_credentials",
        Code::NameTaken => "name_taken",
        Code::RegistrationClosed => "registration_closed",
        Code::InviteInvalid => "invite_invalid",
        Code::NotFound => "not_found",
        Code::Forbidden => "forbidden",
        Code::RateLimited => "rate_limited",
        Code::TooLarge => "too_large",
        Code::QuotaExceeded => "quota_exceeded",
        Code::Invalid => "invalid",
        Code::DeviceUnknown => "device_unknown",
        Code::AccountDisabled => "account_disabled",
        Code::Overloaded => "overloaded",
        Code::Internal => "internal",
    }
}

pub const POSTS: &[&str] = &["accepted", "stale_epoch", "refused"];

pub const COMMITS: &[&str] = &["accepted", "superseded", "refused"];

pub const HANDSHAKES: &[&str] = &["completed", "failed", "retried"];

/// Too many of one address, too many in all, nobody who authenticated in time.
pub const REFUSALS: &[&str] = &["address_limit", "server_limit", "handshake_limit", "not_authenticated"];

pub const RATE_LIMITS: &[&str] = &[
    "posts_per_minute",
    "file_parts_per_minute",
    "claims_per_minute",
    "claims_per_minute_per_target",
    "logins_per_minute_per_account",
    "logins_per_minute_per_address",
    "registrations_per_hour_per_address",
];

pub const TASKS: &[&str] = &["accounts", "disk", "acknowledgements", "sweep"];
