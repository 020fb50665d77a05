//! `@user` and `#group`: what people type, and which conversation or person it means.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

use qpq_client::{Client, Contact, ConversationId, Error, UserName};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::repl::paths;

/// A conversation as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    User(User),
    Group(Group),
    /// A number from `/list`.
    Number(usize),
}

/// A person as typed: `@bob`, `@bob@our.domain`, or `@me`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: UserName,
    domain: Option<String>,
}

/// A group as typed: its name, or the beginning of its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group(String);

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.chars().next() {
            Some('@') => text.parse().map(Self::User),
            Some('#') => text.parse().map(Self::Group),
            Some(c) if c.is_ascii_digit() => text.parse().map(Self::Number).map_err(|_| WANTED_TARGET.to_owned()),
            Some(_) | None => Err(WANTED_TARGET.to_owned()),
        }
    }
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('@').unwrap_or(text);
        let (name, domain) = match bare.split_once('@') {
            Some((name, domain)) => (name, Some(domain.to_ascii_lowercase())),
            None => (bare, None),
        };
        Ok(Self { name: name.parse().map_err(|error| format!("{error}"))?, domain })
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix('#').unwrap_or_default();
        if name.is_empty() { Err("a group is written as #NAME or #ID".into()) } else { Ok(Self(name.to_owned())) }
    }
}

impl Target {
    /// The conversation; a direct one is made when there is none yet.
    pub fn resolve(&self, ctx: &mut Ctx) -> Result<ConversationId, Failure> {
        match self {
            Self::User(user) => {
                let contact = user.resolve(ctx)?;
                Ok(ctx.client()?.direct(contact.identity)?)
            }
            Self::Group(group) => Ok(group.resolve(&ctx.client()?)?),
            Self::Number(number) => ctx.numbered(*number),
        }
    }
}

/// The words of a command of which the first one may name a conversation: it begins with `@` or `#`.
pub fn split(words: &[OsString]) -> (Option<&str>, &[OsString]) {
    let first = words.first().and_then(|first| first.to_str()).filter(|first| first.starts_with(['@', '#']));
    (first, &words[usize::from(first.is_some())..])
}

/// A path as typed; in the REPL there is no shell that knows what `~` means.
pub fn path(word: &OsStr, ctx: &Ctx) -> PathBuf {
    match word.to_str().filter(|_| ctx.session.is_some()) {
        Some(word) => paths::expanded(word),
        None => PathBuf::from(word),
    }
}

impl Target {
    /// A conversation that is there. Whoever is known needs no question to the server.
    pub fn existing(&self, ctx: &mut Ctx) -> Result<ConversationId, Failure> {
        if let Self::User(user) = self {
            let client = ctx.client()?;
            let me = client.whoami()?;
            if client.name_here(&user.name, user.domain.as_deref())? == me.name {
                return Ok(ConversationId::Direct(me.identity));
            }
            if let Some(contact) = user.known(ctx)? {
                return Ok(ConversationId::Direct(contact.identity));
            }
            ctx.connected()?;
        }
        self.resolve(ctx)
    }
}

impl User {
    /// Whoever has that name here.
    pub fn known(&self, ctx: &mut Ctx) -> Result<Option<Contact>, Failure> {
        let client = ctx.client()?;
        let name = client.name_here(&self.name, self.domain.as_deref())?;
        Ok(client.contacts()?.into_iter().find(|contact| contact.name.as_ref() == Some(&name)))
    }

    pub fn name(&self) -> &UserName {
        &self.name
    }

    /// Who that is; asks the server when it has to.
    pub fn resolve(&self, ctx: &mut Ctx) -> Result<Contact, Failure> {
        let client = ctx.client()?;
        let name = client.name_here(&self.name, self.domain.as_deref())?;
        if let Some(known) = settled_contact(&client, &name)? {
            return Ok(known);
        }
        let contact = ctx.ask(|timeout| client.resolve(&name, timeout))?;
        Ok(contact)
    }
}

/// Oneself never changes; everybody else is looked up, so that a changed identity is noticed.
fn settled_contact(client: &Client, name: &UserName) -> Result<Option<Contact>, Failure> {
    let is_it = |contact: &Contact| contact.is_self && contact.name.as_ref() == Some(name);
    Ok(client.contacts()?.into_iter().find(is_it))
}

impl Group {
    /// The group with this name, or whose id begins like this.
    pub fn resolve(&self, client: &Client) -> Result<ConversationId, Error> {
        client.group_named(&self.0)
    }
}

const WANTED_TARGET: &str = "a conversation is written as @USER or #GROUP";
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_apart_by_their_first_letter() {
        let user = |name: &str, domain: Option<&str>| {
            Some(Target::User(User { name: name.parse().expect("good"), domain: domain.map(str::to_owned) }))
        };
        let cases = [
            ("@bob", user("bob", None)),
            ("@bob@Example.org", user("bob", Some("example.org"))),
            ("#team", Some(Target::Group(Group("team".into())))),
            ("#two words", Some(Target::Group(Group("two words".into())))),
            ("3", Some(Target::Number(3))),
            ("bob", None),
            ("@Bob", None),
            ("@", None),
            ("#", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Target>().ok(), expected, "{text}");
        }
    }
}
