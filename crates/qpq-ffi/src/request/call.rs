//! One request that is being carried out: whom it means, and how long it may wait.

use std::time::{Duration, Instant};

use qpq_client::{Client, Contact, ConversationId, Error, GroupId, UserName, WishId};

use crate::config::read;
use crate::instance::Instance;
use crate::status::Failure;

pub struct Call<'a> {
    pub handle: u64,
    pub instance: &'a Instance,
    pub client: &'a Client,
    deadline: Instant,
    patience: Duration,
    /// False: the caller does not wait for the server.
    waits: bool,
}

/// A conversation, and how programs write it.
pub struct Place {
    pub id: ConversationId,
    pub address: String,
}

impl<'a> Call<'a> {
    /// `patience`: how long the caller waits for the server; zero: not at all.
    pub fn new(handle: u64, instance: &'a Instance, patience: Duration) -> Self {
        let (deadline, waits) = (Instant::now() + patience, !patience.is_zero());
        Self { handle, instance, client: instance.client(), deadline, patience, waits }
    }

    /// With all the time that the caller gave, for what comes after something long.
    pub fn anew(&self) -> Self {
        Self { deadline: Instant::now() + self.patience, ..*self }
    }

    /// How long the caller waits in all.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Waits until the server has carried out a wish, if the caller waits at all.
    pub fn carried_out(&self, wish: WishId) -> Result<(), Failure> {
        if self.waits { Ok(self.client.wait(wish, self.left())?) } else { Ok(()) }
    }

    /// A conversation as typed. A direct one is made when there is none yet.
    pub fn place(&self, typed: &str) -> Result<Place, Failure> {
        if let Some(group) = typed.strip_prefix('#') {
            let id = self.group(group)?;
            let address = match id {
                ConversationId::Group(id) => format!("#{id}"),
                ConversationId::Direct(_) => typed.to_owned(),
            };
            return Ok(Place { id, address });
        }
        let name = self.name(typed)?;
        let (contact, is_there) = match self.client.pinned_conversation(&name)? {
            Some(known) => known,
            None => (self.ask_for(&name)?, false),
        };
        let contact = decided(name, contact)?;
        let name = contact.name.as_ref().map_or_else(|| contact.identity.short(), ToString::to_string);
        let mut id = ConversationId::Direct(contact.identity);
        if !is_there {
            id = self.client.direct(contact.identity)?;
        }
        Ok(Place { id, address: format!("@{name}") })
    }

    /// A whole id, as events have it, needs no look at what there is: the engine says so if it is not there.
    fn group(&self, typed: &str) -> Result<ConversationId, Failure> {
        match typed.parse::<GroupId>() {
            Ok(id) => Ok(ConversationId::Group(id)),
            Err(_) => Ok(self.client.group_named(typed)?),
        }
    }

    /// Somebody as typed: whoever the name is pinned to, or else whom the server names.
    pub fn person(&self, typed: &str) -> Result<Contact, Failure> {
        let name = self.name(typed)?;
        let contact = match self.client.pinned(&name)? {
            Some(contact) => contact,
            None => self.ask_for(&name)?,
        };
        decided(name, contact)
    }

    pub fn people(&self, typed: &[String]) -> Result<Vec<Contact>, Failure> {
        typed.iter().map(|one| self.person(one)).collect()
    }

    pub fn name(&self, typed: &str) -> Result<UserName, Failure> {
        let Some(typed) = typed.strip_prefix('@') else {
            return Err(Failure::bad_input(format!(
                "{typed:?}: a person is written as @user, a group as #name or # and its id"
            )));
        };
        let (name, domain) = typed.split_once('@').map_or((typed, None), |(name, domain)| (name, Some(domain)));
        Ok(self.client.name_here(&read("user", name)?, domain)?)
    }

    /// Asks the server, and waits for a connection first.
    pub fn ask_for(&self, name: &UserName) -> Result<Contact, Failure> {
        let interrupts = self.client.interrupts();
        loop {
            let generation = self.client.generation();
            match self.client.resolve(name, self.left()) {
                Err(Error::Offline(_)) if !self.left().is_zero() => {
                    self.client.wait_for_events(generation, interrupts, self.left())?;
                }
                answer => return Ok(answer?),
            }
        }
    }
}

/// Nobody is meant by a name about which the user has to decide first.
fn decided(name: UserName, contact: Contact) -> Result<Contact, Failure> {
    match contact.replaced_by {
        Some(new) => Err(Error::TrustDecision { name, old: contact.identity, new }.into()),
        None => Ok(contact),
    }
}
