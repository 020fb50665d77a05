//! Where a server is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::Error;

/// The UDP port of a server that names none.
pub const DEFAULT_PORT: u16 = 7000;

/// A host name or IP address, and a UDP port. Written as `host`, `host:port`, `[v6]` or `[v6]:port`; shown in the shortest
/// of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// Lower case; an IPv6 address stands without brackets.
    pub host: String,
    /// The UDP port.
    pub port: u16,
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        match self.port {
            DEFAULT_PORT => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (host, port) = parse(text.trim()).ok_or_else(|| {
            Error::Config(format!("{text:?} is not a server address: host, host:port or [IPv6]:port is needed"))
        })?;
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

fn parse(text: &str) -> Option<(String, u16)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address.to_string(), DEFAULT_PORT));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let address: Ipv6Addr = host.parse().ok()?;
        return Some((address.to_string(), parse_port(port)?));
    }
    let (host, port) = match text.find(':') {
        Some(colon) => text.split_at(colon),
        None => (text, ""),
    };
    is_host(host).then_some(())?;
    Some((host.to_owned(), parse_port(port)?))
}

/// `:port`, or nothing.
fn parse_port(text: &str) -> Option<u16> {
    if text.is_empty() {
        return Some(DEFAULT_PORT);
    }
    let digits = text.strip_prefix(':')?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|port| plain && *port != 0)
}

fn is_host(host: &str) -> bool {
    let label =
        |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str, host: &str, port: u16, shown: &str) {
        let address: ServerAddress = text.parse().unwrap();
        assert_eq!((address.host.as_str(), address.port), (host, port), "{text}");
        assert_eq!(address.to_string(), shown);
        assert_eq!(shown.parse::<ServerAddress>().unwrap(), address);
    }

    #[test]
    fn every_form_is_read() {
        check("Chat.Example.org", "chat.example.org", 7000, "chat.example.org");
        check("localhost:7001", "localhost", 7001, "localhost:7001");
        check("10.0.0.1:7000", "10.0.0.1", 7000, "10.0.0.1");
        check("::1", "::1", 7000, "[::1]");
        check("[::1]:99", "::1", 99, "[::1]:99");
        check(" [2001:DB8::1] ", "2001:db8::1", 7000, "[2001:db8::1]");
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "",
            ":7000",
            "a:",
            "a:0",
            "a:+1",
            "a:65536",
            "a:1:2",
            "a b",
            "http://a",
            "a/b",
            "[::1",
            "[a]:1",
            "[::1]x",
            "a..b",
            "user@host",
        ] {
            assert!(matches!(text.parse::<ServerAddress>(), Err(Error::Config(_))), "{text}");
        }
    }
}
