//! Encrypted databases: one SQLCipher file, opened with a raw key, in WAL mode and fully synced.
//!
//! A commit that has returned is on disk: "acknowledged" rests on `synchronous=FULL`.

mod error;
mod key;
mod migrate;
mod open;

pub use error::DbError;
pub use key::DbKey;
pub use migrate::{Migration, migrate};
pub use open::{OpenOptions, Pages, copy, open, rekey};
