//! Times as programs read them.

use qpq_proto::time::Timestamp;

/// RFC 3339 in UTC with milliseconds, such as `2026-01-02T03:04:05.678Z`.
pub fn rfc3339(at: Timestamp) -> String {
    format!("{:.3}", instant(at))
}

/// A peer may send any number; what is beyond the calendar is shown as its end.
pub fn instant(at: Timestamp) -> jiff::Timestamp {
    let milliseconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_milliseconds_in_utc() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Timestamp(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert!(rfc3339(Timestamp(u64::MAX)).starts_with("9999-12-3"));
    }
}
