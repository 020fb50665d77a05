//! No panic crosses the border.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::status::{Failure, QpqStatus};

/// What `body` answers; a panic in it is an error of its own.
pub fn guarded<T>(body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What a panic leaves half done is behind locks that are taken over, or on the owner's thread, which is not this one.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        Err(Failure::Misuse(QpqStatus::Internal, "the library panicked; this is a defect, please report it".into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let outcome = guarded::<()>(|| panic!("on purpose"));
        assert_eq!(outcome.expect_err("a failure").status(), QpqStatus::Internal);
        assert_eq!(guarded(|| Ok(1)).ok(), Some(1));
    }
}
