//! When a certificate expires: as much of X.509 (RFC 5280, section 4.1) as it takes to find that.

/// The end of its validity, in seconds since 1970; none when this is no certificate.
pub(super) fn expiry(certificate: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    if let Some((VERSION, _, after)) = element(rest) {
        rest = after;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, time, _) = element(not_after)?;
    let time = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    match tag {
        UTC_TIME => {
            let year: i64 = time.get(..2)?.parse().ok()?;
            seconds(if year < 50 { 2000 + year } else { 1900 + year }, time.get(2..)?)
        }
        GENERALIZED_TIME => seconds(time.get(..4)?.parse().ok()?, time.get(4..)?),
        _ => None,
    }
}

/// Tag, content and what follows of a DER element (X.690, section 8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        _ => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if digits.len() > 4 {
                return None;
            }
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `MMDDHHMMSS` of a year (days from the civil calendar, as in Howard Hinnant's algorithm).
fn seconds(year: i64, rest: &str) -> Option<i64> {
    let two = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day, hour, minute, second) = (two(0)?, two(2)?, two(4)?, two(6)?, two(8)?);
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_years() {
        let cases = [
            (1970, "0101000000", 0),
            (2000, "0229235959", 951_868_799),
            (2024, "1231000000", 1_735_603_200),
            (4096, "0101000000", 67_090_118_400),
        ];
        for (year, rest, expected) in cases {
            assert_eq!(seconds(year, rest), Some(expected), "{year} {rest}");
        }
    }

    #[test]
    fn nonsense_has_no_expiry() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0xff, 1, 2], &[0x30, 2, 0x30, 0]]
        {
            assert_eq!(expiry(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_real_certificate_has_one() {
        let key = rcgen::KeyPair::generate().expect("a key");
        for (year, expected) in [(2031, 1_925_078_400), (2060, 2_840_227_200)] {
            let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a name");
            params.not_after = rcgen::date_time_ymd(year, 1, 2);
            let certificate = params.self_signed(&key).expect("a certificate");
            assert_eq!(expiry(certificate.der()), Some(expected), "{year}");
        }
    }
}
