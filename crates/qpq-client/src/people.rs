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
    /// [`Error::Offline`] for a name that was never looked up.
    pub fn resolve(&self, name: &UserName, timeout: Duration) -> Result<Contact, Error> {
        let asked = name.clone();
        let pinned = self.look(move |query| query.pinned(&asked))?;
        if let Some(contact) = &pinned
            && contact.is_self
        {
            return Ok(contact.clone());
        }
        let (answer, looked_up) = waiter();
        self.turn(Turn::LookUp(name.clone(), answer))?;
        let looked_up = looked_up.recv_timeout(timeout).unwrap_or(None);
        match (looked_up, pinned) {
            (Some(Ok(identity)), _) => self.look(move |query| query.view(identity)),
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
        self.look(move |query| query.view(identity))
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
