//! People: finding, trusting, accepting and blocking them.

use std::time::Duration;

use qpq_core::engine::{Command, LookUpError};
use qpq_core::view::{Contact, ConversationId, Trust};
use qpq_proto::account::UserName;
use qpq_proto::ids::IdentityId;

use crate::actor::Turn;
use crate::client::Client;
use crate::contact_link::ContactLink;
use crate::error::Error;
use crate::waiter::waiter;

impl Client {
    /// Who a name is: asks the directory when online (and pins on first contact), the pinned contact otherwise.
    ///
    /// # Errors
    /// [`Error::TrustDecision`] when the name now belongs to another identity, [`Error::UnknownUser`],
    /// [`Error::Offline`] for a name that was never looked up, [`Error::Interrupted`].
    pub fn resolve(&self, name: &UserName, timeout: Duration) -> Result<Contact, Error> {
        let pinned = self.pinned(name)?;
        if let Some(contact) = &pinned
            && contact.is_self
        {
            return Ok(contact.clone());
        }
        let (answer, looked_up) = waiter();
        self.turn(Turn::LookUp(name.clone(), answer))?;
        let looked_up = self.await_unless_interrupted(&looked_up, timeout)?.flatten();
        match (looked_up, pinned) {
            (Some(Ok(identity)), _) => self.contact(identity),
            (Some(Err(LookUpError::Changed { old, new })), _) => {
                Err(Error::TrustDecision { name: name.clone(), old, new })
            }
            (Some(Err(LookUpError::Unknown)), _) => Err(Error::UnknownUser(name.clone())),
            (Some(Err(LookUpError::Refused(reason))), _) => Err(Error::Refused(reason)),
            (None, Some(Contact { identity: old, replaced_by: Some(new), .. })) => {
                Err(Error::TrustDecision { name: name.clone(), old, new })
            }
            (None, Some(contact)) => Ok(contact),
            (None, None) => Err(self.trouble(timeout)),
        }
    }

    /// What somebody who is typed as `@name` or `@name@domain` is called at this profile's server. `me` is oneself.
    ///
    /// # Errors
    /// [`Error::BadInput`] for another server's domain.
    pub fn name_here(&self, name: &UserName, domain: Option<&str>) -> Result<UserName, Error> {
        if domain.is_none() && name.as_str() != "me" {
            return Ok(name.clone());
        }
        let me = self.whoami()?;
        if let Some(domain) = domain
            && !domain.eq_ignore_ascii_case(&me.domain)
        {
            return Err(Error::BadInput(format!(
                "@{name}@{domain}: users of other servers cannot be reached yet, only @…@{}",
                me.domain
            )));
        }
        Ok(if name.as_str() == "me" { me.name } else { name.clone() })
    }

    /// Whom a name is pinned to here; asks nobody.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn pinned(&self, name: &UserName) -> Result<Option<Contact>, Error> {
        let name = name.clone();
        self.look(move |query| query.pinned(&name))
    }

    /// As [`Self::pinned`], and whether there is a conversation with them.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn pinned_conversation(&self, name: &UserName) -> Result<Option<(Contact, bool)>, Error> {
        let name = name.clone();
        self.look(move |query| {
            let Some(contact) = query.pinned(&name)? else { return Ok(None) };
            let is_there = query.has_conversation(ConversationId::Direct(contact.identity))?;
            Ok(Some((contact, is_there)))
        })
    }

    /// What is known of an identity.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn contact(&self, identity: IdentityId) -> Result<Contact, Error> {
        self.look(move |query| query.view(identity))
    }

    /// Everybody who is known.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn contacts(&self) -> Result<Vec<Contact>, Error> {
        self.look(|query| query.contacts())
    }

    /// The 60-digit safety number with a contact, in twelve groups of five.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn safety_number(&self, identity: IdentityId) -> Result<String, Error> {
        self.look(move |query| query.safety_number(identity))
    }

    /// The user's decision. For a name that changed hands, trusting the *new* identity makes the name usable again.
    ///
    /// # Errors
    /// [`Error::BadInput`] for an unknown identity.
    pub fn set_trust(&self, identity: IdentityId, trust: Trust) -> Result<(), Error> {
        self.command(Command::SetTrust { identity, trust }).map(|_| ())
    }

    /// Pins who a name is before the server is asked.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the name is pinned to somebody else already.
    pub fn import_contact(&self, link: &ContactLink) -> Result<Contact, Error> {
        let identity = link.identity;
        self.command(Command::ImportContact { name: link.user.clone(), identity })?;
        self.contact(identity)
    }

    /// The own contact link, to be given to others.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn contact_link(&self) -> Result<ContactLink, Error> {
        let own = self.whoami()?;
        Ok(ContactLink { server: own.server, user: own.name, identity: own.identity })
    }

    /// Takes up a conversation that a stranger began.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there is no such conversation.
    pub fn accept(&self, conversation: ConversationId) -> Result<(), Error> {
        self.command(Command::Accept(conversation)).map(|_| ())
    }

    /// Nothing of them is shown any more, and nothing goes to them; or it is again.
    ///
    /// # Errors
    /// [`Error::BadInput`] for an unknown identity.
    pub fn block(&self, identity: IdentityId, is_blocked: bool) -> Result<(), Error> {
        self.command(Command::Block { identity, is_blocked }).map(|_| ())
    }
}
