//! Bounded reads: every field that arrives goes through one of these, which check presence, length and range.

use capnp::message::{HeapAllocator, ReaderOptions, TypedBuilder, TypedReader};
use capnp::traits::Owned;

/// Bytes from outside that are not what the schema and the limits ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Malformed {
    field: &'static str,
    reason: String,
}

impl Malformed {
    /// `field` as the schema names it, and what is wrong with it.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

impl From<capnp::Error> for Malformed {
    fn from(error: capnp::Error) -> Self {
        Self::new("message", error.kind.to_string())
    }
}

impl From<capnp::NotInSchema> for Malformed {
    fn from(error: capnp::NotInSchema) -> Self {
        Self::new("message", format!("unknown variant {}", error.0))
    }
}

impl From<Malformed> for capnp::Error {
    fn from(malformed: Malformed) -> Self {
        capnp::Error::failed(malformed.to_string())
    }
}

/// Bytes of at most `limit`, possibly none.
pub fn bytes(
    field: &'static str,
    value: capnp::Result<capnp::data::Reader<'_>>,
    limit: usize,
) -> Result<Vec<u8>, Malformed> {
    let value = value?;
    if value.len() > limit {
        return Err(Malformed::new(field, format!("{} bytes, at most {limit} are allowed", value.len())));
    }
    Ok(value.to_vec())
}

/// Like [`bytes`], but at least one.
pub fn some_bytes(
    field: &'static str,
    value: capnp::Result<capnp::data::Reader<'_>>,
    limit: usize,
) -> Result<Vec<u8>, Malformed> {
    let value = bytes(field, value, limit)?;
    if value.is_empty() {
        return Err(Malformed::new(field, "is missing"));
    }
    Ok(value)
}

/// Exactly `N` bytes.
pub fn array<const N: usize>(
    field: &'static str,
    value: capnp::Result<capnp::data::Reader<'_>>,
) -> Result<[u8; N], Malformed> {
    let value = value?;
    value.try_into().map_err(|_| Malformed::new(field, format!("{} bytes instead of {N}", value.len())))
}

/// Exactly `N` bytes, or none at all.
pub fn optional_array<const N: usize>(
    field: &'static str,
    value: capnp::Result<capnp::data::Reader<'_>>,
) -> Result<Option<[u8; N]>, Malformed> {
    match value? {
        [] => Ok(None),
        value => array(field, Ok(value)).map(Some),
    }
}

/// UTF-8 text of at most `limit` bytes.
pub fn text(
    field: &'static str,
    value: capnp::Result<capnp::text::Reader<'_>>,
    limit: usize,
) -> Result<String, Malformed> {
    let value = value?;
    if value.as_bytes().len() > limit {
        return Err(Malformed::new(field, format!("{} bytes, at most {limit} are allowed", value.as_bytes().len())));
    }
    value.to_string().map_err(|_| Malformed::new(field, "is not UTF-8"))
}

/// A count of list elements of at most `limit`.
pub fn count(field: &'static str, value: u32, limit: usize) -> Result<u32, Malformed> {
    if value as usize > limit {
        return Err(Malformed::new(field, format!("{value} elements, at most {limit} are allowed")));
    }
    Ok(value)
}

/// The format number of a stored or end-to-end structure: newer ones are refused, older ones are the reader's task.
pub fn format(field: &'static str, value: u16, newest: u16) -> Result<u16, Malformed> {
    if value == 0 || value > newest {
        return Err(Malformed::new(field, format!("format {value} is not known here, the newest known is {newest}")));
    }
    Ok(value)
}

/// One stand-alone message as bytes.
pub(crate) fn to_bytes<T: Owned>(message: &TypedBuilder<T, HeapAllocator>) -> Vec<u8> {
    capnp::serialize::write_message_to_words(message.borrow_inner())
}

/// The opposite of [`to_bytes`]; nothing but the message may be in `bytes`.
pub(crate) fn from_bytes<T: Owned>(bytes: &[u8]) -> Result<TypedReader<capnp::serialize::OwnedSegments, T>, Malformed> {
    let mut rest = bytes;
    let mut options = ReaderOptions::new();
    options.nesting_limit(32);
    let message = capnp::serialize::read_message(&mut rest, options)?;
    if !rest.is_empty() {
        return Err(Malformed::new("message", "bytes follow after its end"));
    }
    Ok(message.into_typed())
}
