//! Sizes and durations as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A number of bytes, written `64KiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub usize);

/// A duration, written `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lifetime(pub Duration);

const SIZES: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const DURATIONS: &[(&str, u64)] = &[("d", 24 * 3600), ("h", 3600), ("m", 60), ("s", 1)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, SIZES)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size: write a number with B, KiB, MiB or GiB, such as \"64KiB\""))
    }
}

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, DURATIONS)
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| format!("{text:?} is not a duration: write a number with s, m, h or d, such as \"30d\""))
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (unit, factor) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
    text[..text.len() - unit.len()].trim_end().parse::<u64>().ok()?.checked_mul(*factor)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0 as u64, SIZES, f)
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0.as_secs(), DURATIONS, f)
    }
}

/// In the largest unit that leaves no rest.
fn show(number: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (unit, factor) = units.iter().find(|(_, factor)| number.is_multiple_of(*factor)).unwrap_or(&("", 1));
    write!(f, "{}{unit}", number / factor)
}

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for Lifetime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

impl From<Lifetime> for String {
    fn from(lifetime: Lifetime) -> Self {
        lifetime.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_go_both_ways() {
        for (text, bytes) in [("1B", 1), ("64KiB", 65536), ("3MiB", 3 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        for (text, seconds) in [("20s", 20), ("5m", 300), ("2h", 7200), ("30d", 2_592_000)] {
            assert_eq!(text.parse(), Ok(Lifetime(Duration::from_secs(seconds))));
            assert_eq!(Lifetime(Duration::from_secs(seconds)).to_string(), text);
        }
        for bad in ["", "5", "5 years", "-1d", "d", "99999999999999999999d", "18446744073709551615d"] {
            assert!(bad.parse::<Lifetime>().is_err(), "{bad}");
        }
    }
}
