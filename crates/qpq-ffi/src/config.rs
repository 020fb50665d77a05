//! How a profile is opened: the JSON object that `qpq_open`, `qpq_register` and `qpq_login` take.

use std::path::PathBuf;

use qpq_client::{Client, Options, SecretString, UserName};
use serde::Deserialize;

use crate::status::Failure;

/// `{"home": …, "password": …}` and more. Has no `Debug`, because of the password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    home: PathBuf,
    password: String,
    /// `HOST:PORT`
    server: Option<String>,
    ca_cert: Option<PathBuf>,
    fingerprint: Option<String>,
    /// To register and log in.
    name: Option<String>,
    /// To register.
    invite: Option<String>,
}

/// What is to be done with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    Open,
    Register,
    Login,
}

impl Config {
    pub fn parse(json: &str) -> Result<Self, Failure> {
        // The error names fields and positions, and no values of strings.
        serde_json::from_str(json).map_err(|error| Failure::bad_input(format!("the configuration: {error}")))
    }

    pub fn open(self, how: How) -> Result<Client, Failure> {
        let password = SecretString::new(self.password);
        let options = Options {
            home: self.home,
            server: self.server.map(|server| read("server", &server)).transpose()?,
            ca_cert: self.ca_cert,
            fingerprint: self.fingerprint.map(|fingerprint| read("fingerprint", &fingerprint)).transpose()?,
        };
        let name = |what: &str| -> Result<UserName, Failure> {
            let name = self.name.as_deref().ok_or_else(|| Failure::bad_input(format!("{what} needs a \"name\"")))?;
            read("name", name.strip_prefix('@').unwrap_or(name))
        };
        Ok(match how {
            How::Open => Client::open(&options, &password)?,
            How::Register => Client::register(&options, &name("qpq_register")?, &password, self.invite.as_deref())?,
            How::Login => Client::login(&options, &name("qpq_login")?, &password)?,
        })
    }
}

/// A field that is a text with a form.
pub fn read<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, Failure>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| Failure::bad_input(format!("\"{field}\": {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_and_the_password_is_not() {
        let cases = [
            (r#"{"home":"/tmp/x"}"#, "password"),
            (r#"{"home":"/tmp/x","password":"geheim","pasword":1}"#, "pasword"),
            (r#"{"home":"/tmp/x","password":"geheim""#, "EOF"),
            (r#"{"home":1,"password":"geheim"}"#, "integer"),
        ];
        for (json, expected) in cases {
            let Err(failure) = Config::parse(json) else { panic!("{json} is accepted") };
            let text = failure.object();
            assert!(text.contains(expected) && !text.contains("geheim"), "{text}");
        }
    }

    #[test]
    fn fields_are_checked_before_anything_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("profile");
        for (how, more) in [
            (How::Open, r#""server":"nowhere""#),
            (How::Open, r#""fingerprint":"12""#),
            (How::Register, r#""name":"Not A Name""#),
            (How::Register, r#""invite":"x""#),
        ] {
            let json = format!(r#"{{"home":"{}","password":"p",{more}}}"#, home.display());
            let Ok(config) = Config::parse(&json) else { panic!("{json} is refused") };
            assert!(config.open(how).is_err(), "{json}");
            assert!(!home.exists());
        }
    }
}
