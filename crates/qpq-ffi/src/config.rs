//! How a profile is opened: the JSON object that `qpq_open`, `qpq_register`, `qpq_login` and `qpq_link` take.

use std::path::PathBuf;

use qpq_client::{Client, Linking, Options, SecretString, UserName};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::status::Failure;

/// `{"home": …, "password": …}` and more. Has no `Debug`, because of the password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    home: PathBuf,
    password: Secret,
    /// `HOST:PORT`
    server: Option<String>,
    ca_cert: Option<PathBuf>,
    fingerprint: Option<String>,
    /// To register and log in.
    name: Option<String>,
    /// To register.
    invite: Option<String>,
    /// To log in when all devices are lost: 24 words.
    recovery_phrase: Option<Secret>,
    /// To link.
    device_name: Option<String>,
}

/// A password or the like out of a JSON object.
pub struct Secret(pub SecretString);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(SecretString::new(text))),
            // Without what it is instead: it may be a secret without its quotes.
            _ => Err(serde::de::Error::custom("a password or phrase is a text")),
        }
    }
}

impl Secret {
    /// One that somebody chooses now.
    pub fn chosen(self, field: &str) -> Result<SecretString, Failure> {
        if self.0.is_empty() {
            return Err(Failure::bad_input(format!("\"{field}\" must not be empty")));
        }
        Ok(self.0)
    }
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
        if how != How::Login {
            only_for("recovery_phrase", "qpq_login", self.recovery_phrase.is_some())?;
        }
        only_for("device_name", "qpq_link", self.device_name.is_some())?;
        let options = self.options()?;
        let name = |what: &str| -> Result<UserName, Failure> {
            let name = self.name.as_deref().ok_or_else(|| Failure::bad_input(format!("{what} needs a \"name\"")))?;
            read("name", name.strip_prefix('@').unwrap_or(name))
        };
        Ok(match how {
            How::Open => Client::open(&options, &self.password.0)?,
            How::Register => {
                let (name, password) = (name("qpq_register")?, self.password.chosen("password")?);
                Client::register(&options, &name, &password, self.invite.as_deref())?
            }
            How::Login => {
                let name = name("qpq_login")?;
                match &self.recovery_phrase {
                    None => Client::login(&options, &name, &self.password.0)?,
                    Some(words) => {
                        let password = self.password.chosen("password")?;
                        Client::recover(&options, &name, words.0.expose(), &password)?
                    }
                }
            }
        })
    }

    /// Makes a code for a new device. The password is for its profile.
    pub fn link(self) -> Result<(Linking, SecretString), Failure> {
        only_for("recovery_phrase", "qpq_login", self.recovery_phrase.is_some())?;
        let options = self.options()?;
        let password = self.password.chosen("password")?;
        Ok((Linking::begin(&options, self.device_name.as_deref())?, password))
    }

    fn options(&self) -> Result<Options, Failure> {
        let fingerprint = self.fingerprint.as_deref();
        Ok(Options {
            home: self.home.clone(),
            server: self.server.as_deref().map(|server| read("server", server)).transpose()?,
            ca_cert: self.ca_cert.clone(),
            fingerprint: fingerprint.map(|fingerprint| read("fingerprint", fingerprint)).transpose()?,
        })
    }
}

fn only_for(field: &str, function: &str, is_there: bool) -> Result<(), Failure> {
    if is_there { Err(Failure::bad_input(format!("\"{field}\" is for {function}"))) } else { Ok(()) }
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
            (r#"{"home":"/tmp/x","password":4711}"#, "text"),
            (r#"{"home":"/tmp/x","password":"x","recovery_phrase":["geheim"]}"#, "text"),
        ];
        for (json, expected) in cases {
            let Err(failure) = Config::parse(json) else { panic!("{json} is accepted") };
            let text = failure.object();
            assert!(text.contains(expected) && !text.contains("geheim") && !text.contains("4711"), "{text}");
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
            (How::Register, r#""name":"alice","recovery_phrase":"x""#),
            (How::Open, r#""recovery_phrase":"x""#),
            (How::Open, r#""device_name":"x""#),
            (How::Login, r#""recovery_phrase":"x""#),
            (How::Login, r#""name":"alice","recovery_phrase":"abandon about""#),
        ] {
            let json = format!(r#"{{"home":"{}","password":"p",{more}}}"#, home.display());
            let Ok(config) = Config::parse(&json) else { panic!("{json} is refused") };
            assert!(config.open(how).is_err(), "{json}");
            assert!(!home.exists());
        }
    }
}
