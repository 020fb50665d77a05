//! Refusals: the answers other than success that a caller can act on.

use std::time::Duration;

use crate::generated::ids_capnp;
use crate::limits;
use crate::read::{self, Malformed};

pub use crate::generated::ids_capnp::Code;

impl Code {
    /// Whether the same request may succeed later without anything having changed on the caller's side.
    pub fn is_retryable(self) -> bool {
        match self {
            Code::RateLimited | Code::Overloaded | Code::Internal => true,
            Code::BadRequest
            | Code::UnsupportedVersion
            | Code::WrongCredentials
            | Code::NameTaken
            | Code::RegistrationClosed
            | Code::InviteInvalid
            | Code::NotFound
            | Code::Forbidden
            | Code::TooLarge
            | Code::QuotaExceeded
            | Code::Invalid
            | Code::DeviceUnknown
            | Code::AccountDisabled => false,
        }
    }
}

/// Why the server did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// What a program branches on.
    pub code: Code,
    /// One sentence for a person, without user data.
    pub detail: String,
    /// When it makes sense to try again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal that time does not change.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after: None }
    }

    /// A refusal that ends by itself after `retry_after`.
    pub fn later(code: Code, detail: impl Into<String>, retry_after: Duration) -> Self {
        Self { code, detail: detail.into(), retry_after: Some(retry_after) }
    }

    /// Reads it from the wire. A code from a newer server counts as `internal`.
    pub fn read(reader: ids_capnp::refusal::Reader<'_>) -> Result<Self, Malformed> {
        let after = reader.get_retry_after_ms();
        Ok(Self {
            code: reader.get_code().unwrap_or(Code::Internal),
            detail: read::text("refusal.detail", reader.get_detail(), limits::SHORT_TEXT)?,
            retry_after: (after > 0).then(|| Duration::from_millis(u64::from(after))),
        })
    }

    /// Writes it to the wire.
    pub fn write(&self, mut builder: ids_capnp::refusal::Builder<'_>) {
        builder.set_code(self.code);
        builder.set_detail(&self.detail[..]);
        let after = self.retry_after.map_or(0, |after| after.as_millis().max(1));
        builder.set_retry_after_ms(u32::try_from(after).unwrap_or(u32::MAX));
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::new(Code::BadRequest, malformed.to_string())
    }
}
