//! How things look: for people (sanitized, aligned, coloured) and for programs (one JSON object per line).

pub mod sanitize;
pub mod style;
pub mod time;
pub mod trust;
pub mod wrap;

pub mod content;
pub mod conversation;
pub mod count;
pub mod event;
pub mod message;
pub mod people;
pub mod qr;
pub mod safety_number;
pub mod table;

pub use qpq_client::json;
#[cfg(test)]
pub use qpq_client::samples;
