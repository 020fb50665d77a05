//! Why the service says no: the one place that maps what went wrong to a wire code.

use std::time::Duration;

use qpq_proto::code::{Code, Refusal};
use qpq_trust::TrustError;

use crate::store::StoreError;

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let overloaded = |seconds| Refusal::later(Code::Overloaded, error.to_string(), Duration::from_secs(seconds));
        match &error {
            StoreError::Busy | StoreError::Closed => overloaded(1),
            StoreError::Unwritable(_) => overloaded(10),
            StoreError::Internal(detail) => {
                tracing::error!(detail, "store operation failed");
                Refusal::new(Code::Internal, "the server has a problem with its store")
            }
        }
    }
}

/// The trust rules say no.
pub fn untrusted(error: TrustError) -> Refusal {
    let code = match &error {
        TrustError::Forbidden(_) | TrustError::LeaversRemain => Code::Forbidden,
        TrustError::Malformed(_)
        | TrustError::NotAuthentic(_)
        | TrustError::Rollback { .. }
        | TrustError::UnlistedDevice
        | TrustError::Mls(_)
        | TrustError::Lifetime => Code::Invalid,
    };
    Refusal::new(code, error.to_string())
}

/// There is no such group, or it is none of the caller's business: never told apart.
pub fn no_such_group() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such group, or this device is not in it")
}

/// A limit on what may be stored.
pub fn quota(limit: &str) -> Refusal {
    Refusal::new(Code::QuotaExceeded, format!("the limit {limit} is reached"))
}

/// A limit on size.
pub fn too_large(limit: &str, most: usize) -> Refusal {
    Refusal::new(Code::TooLarge, format!("larger than {limit} allows, which is {most} bytes"))
}

/// A bug, reported and contained.
pub fn internal(detail: &'static str) -> Refusal {
    tracing::error!(detail, "internal error");
    Refusal::new(Code::Internal, "the server made a mistake")
}
