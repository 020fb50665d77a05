//! Contact links: who somebody is, given from hand to hand, so that the server need not be believed.

use std::fmt;
use std::str::FromStr;

use qpq_proto::account::UserName;
use qpq_proto::ids::IdentityId;

use crate::error::Error;

/// `qpq:contact?server=HOST:PORT&user=NAME&id=HEX`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactLink {
    /// `host:port`.
    pub server: String,
    pub user: UserName,
    pub identity: IdentityId,
}

impl fmt::Display for ContactLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}server={}&user={}&id={}", self.server, self.user, self.identity)
    }
}

impl FromStr for ContactLink {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |what: &str| Error::BadInput(format!("this is not a contact link: {what}"));
        let fields = text.trim().strip_prefix(PREFIX).ok_or_else(|| bad("it begins with qpq:contact?"))?;
        let (mut server, mut user, mut identity) = (None, None, None);
        for field in fields.split('&') {
            let (name, value) = field.split_once('=').ok_or_else(|| bad("a field without a value"))?;
            match name {
                "server" => server = Some(value.to_owned()),
                "user" => user = Some(value.parse::<UserName>().map_err(|_| bad("the user's name"))?),
                "id" => identity = Some(read_identity(value).ok_or_else(|| bad("the identity"))?),
                // Of a later version.
                _ => {}
            }
        }
        Ok(Self {
            server: server.filter(|server| !server.is_empty()).ok_or_else(|| bad("the server is missing"))?,
            user: user.ok_or_else(|| bad("the user is missing"))?,
            identity: identity.ok_or_else(|| bad("the identity is missing"))?,
        })
    }
}

fn read_identity(hex: &str) -> Option<IdentityId> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        let digits = hex.get(2 * index..2 * index + 2)?;
        *byte =
            u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    }
    Some(IdentityId(bytes))
}

const PREFIX: &str = "qpq:contact?";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_come_back_as_they_went() {
        let link = ContactLink {
            server: "[::1]:7000".into(),
            user: "alice".parse().expect("a name"),
            identity: IdentityId([0xab; 32]),
        };
        let text = link.to_string();
        assert_eq!(text.parse::<ContactLink>().ok(), Some(link.clone()));
        assert_eq!(format!(" {text}&later=x\n").parse::<ContactLink>().ok(), Some(link));
        let id = "ab".repeat(32);
        for bad in [
            "",
            "qpq:contact?",
            "http://contact?server=a&user=b&id=c",
            &format!("qpq:contact?user=alice&id={id}"),
            &format!("qpq:contact?server=&user=alice&id={id}"),
            &format!("qpq:contact?server=h:1&user=Alice&id={id}"),
            &format!("qpq:contact?server=h:1&user=alice&id={}", &id[1..]),
            &format!("qpq:contact?server=h:1&user=alice&id=+{}", &id[1..]),
            &format!("qpq:contact?server=h:1&user=alice&id={}ü", &id[2..]),
        ] {
            assert!(bad.parse::<ContactLink>().is_err(), "{bad}");
        }
    }
}
