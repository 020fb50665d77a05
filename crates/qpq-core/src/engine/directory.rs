//! What the directory says about names and identities, checked before anything is believed.

use qpq_proto::account::{Account, UserName};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::content::is_about_a_message;
use qpq_proto::ids::{DeviceId, GroupId, IdentityId};
use qpq_trust::TrustError;
use qpq_trust::credential::{Leaf, LeafId};
use qpq_trust::manifest::Manifest;

use super::annotate::content_of;
use super::ctx::Ctx;
use super::{Effect, LookUpError};
use crate::error::Error;
use crate::request::{Purpose, Reply, Request};
use crate::store::Table;
use crate::store::rows::{ClaimRow, ContactRow, ConversationRow, EventRowKind, GroupRow, Row as _, WishRef};

/// What is known about a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its identity's manifest lists it.
    Listed,
    /// The manifest does not list it, or there is none: what it sends is held.
    Unlisted,
    /// The directory has not been asked.
    Unknown,
}

impl Ctx<'_> {
    /// The answer to a question about a name.
    pub(super) fn looked_up(&mut self, name: UserName, result: Result<Reply, Refusal>) -> Result<(), Error> {
        let result = match result {
            Ok(Reply::Account(account)) if account.name == name => match self.learn(&account) {
                Ok(identity) => match self.pin(&name, identity)? {
                    None => Ok(identity),
                    Some(old) => Err(LookUpError::Changed { old, new: identity }),
                },
                Err(Error::Trust(error)) => Err(LookUpError::Refused(caught(&error))),
                Err(error) => return Err(error),
            },
            Ok(_) => Err(LookUpError::Refused("the server answered for another name than was asked".into())),
            Err(refusal) if refusal.code == Code::NotFound => Err(LookUpError::Unknown),
            Err(refusal) => Err(LookUpError::Refused(refusal.detail)),
        };
        self.effect(Effect::LookedUp { name, result });
        Ok(())
    }

    /// Verifies a manifest and keeps it, unless it is older than the one that is known.
    pub(super) fn learn(&mut self, account: &Account) -> Result<IdentityId, Error> {
        let manifest = Manifest::verify(&account.manifest)?;
        let identity = manifest.identity();
        if identity == self.account.identity {
            self.own_manifest(&manifest, self.stepping_in(&manifest))?;
        }
        let mut contact = self.contact(identity)?;
        if contact.manifest == account.manifest {
            return Ok(identity);
        }
        let known = if contact.manifest.is_empty() { None } else { Some(Manifest::restore(&contact.manifest)?) };
        if let Some(known) = &known {
            manifest.check_succeeds(known)?;
        }
        contact.follow(&manifest, known.as_ref());
        contact.save(self.store)?;
        self.release_held(&contact)?;
        Ok(identity)
    }

    /// Pins a name on first contact. Answers the identity that it was pinned to before, if that is another one.
    fn pin(&mut self, name: &UserName, identity: IdentityId) -> Result<Option<IdentityId>, Error> {
        let key = name.as_str().as_bytes();
        let pinned = match self.store.get(Table::Names, key)? {
            // One's own name is pinned to oneself.
            _ if *name == self.account.name => self.account.identity,
            Some(bytes) => IdentityId::try_from(&bytes[..]).map_err(|_| corrupt("a pinned name"))?,
            None => {
                self.store.put(Table::Names, key, &identity.0)?;
                identity
            }
        };
        let mut contact = self.contact(identity)?;
        if pinned == identity && contact.name.is_none() {
            contact.name = Some(name.clone());
        } else if pinned != identity {
            contact.claimed_name = Some(name.clone());
        }
        contact.save(self.store)?;
        if pinned == self.account.identity {
            return Ok((pinned != identity).then_some(pinned));
        }
        let mut old = self.contact(pinned)?;
        let replaced_by = (pinned != identity).then_some(identity);
        if old.replaced_by != replaced_by {
            old.replaced_by = replaced_by;
            old.save(self.store)?;
            if let Some(new) = replaced_by {
                let about = direct_conversation(self.store, pinned)?;
                self.event(about, EventRowKind::KeyChanged { name: name.clone(), old: pinned, new })?;
            }
        }
        Ok(replaced_by.map(|_| pinned))
    }

    /// Where a leaf stands.
    pub(super) fn standing(&mut self, leaf: &Leaf) -> Result<Standing, Error> {
        if leaf.id.identity == self.account.identity && leaf.id.device == self.account.device {
            return Ok(Standing::Listed);
        }
        let listed = ContactRow::load(self.store, &leaf.id.identity)?
            .is_some_and(|contact| contact.vouches_for(leaf.id.device, &leaf.signature_key));
        if listed {
            return Ok(Standing::Listed);
        }
        let asked = self.store.get(Table::Unlisted, &leaf.id.device.0)?.is_some();
        Ok(if asked { Standing::Unlisted } else { Standing::Unknown })
    }

    /// Asks the directory about those leaves that are unknown; the group's log waits for the answers.
    pub(super) fn check_leaves(&mut self, row: &mut GroupRow, leaves: &[Leaf]) -> Result<(), Error> {
        for leaf in leaves {
            if self.standing(leaf)? == Standing::Unknown {
                let purpose = Purpose::Check { identity: leaf.id.identity, device: leaf.id.device, group: row.group };
                let request = self.request(Request::ByIdentity(leaf.id.identity), purpose)?;
                row.awaiting.push(request);
            }
        }
        Ok(())
    }

    /// The answer to a question about a new member.
    pub(super) fn checked(
        &mut self,
        request: u64,
        identity: IdentityId,
        device: DeviceId,
        group: GroupId,
        result: Result<Reply, Refusal>,
    ) -> Result<(), Error> {
        if let Ok(Reply::Account(account)) = result {
            match self.learn(&account) {
                Ok(found) if found == identity => {
                    self.pin(&account.name, identity)?;
                }
                // An answer about somebody else, or one that does not verify, is no answer.
                Ok(_) | Err(Error::Trust(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let contact = self.contact(identity)?;
        if !contact.devices.contains_key(&device) && !contact.former.contains_key(&device) {
            self.store.put(Table::Unlisted, &device.0, &[1])?;
            let conversation = GroupRow::load(self.store, &group)?.map(|row| row.conversation);
            self.event(conversation, EventRowKind::UntrustedDevice { who: identity, device })?;
        }
        let Some(mut row) = GroupRow::load(self.store, &group)? else { return Ok(()) };
        row.awaiting.retain(|awaited| *awaited != request);
        row.save(self.store)?;
        if row.awaiting.is_empty() { self.resume_log(row) } else { Ok(()) }
    }

    /// Somebody's devices were looked at anew; what waits for it is tried again, once.
    pub(super) fn refreshed(
        &mut self,
        wish: Option<WishRef>,
        identity: IdentityId,
        result: Result<Reply, Refusal>,
    ) -> Result<(), Error> {
        if let Ok(Reply::Account(account)) = result {
            match self.learn(&account) {
                Ok(_) | Err(Error::Trust(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(wish) = wish
            && let Some(mut claim) = ClaimRow::load(self.store, &(wish.id, identity))?
        {
            claim.is_refreshed = true;
            claim.save(self.store)?;
        }
        Ok(())
    }

    /// Shows what was held of devices that a newer manifest lists.
    fn release_held(&mut self, contact: &ContactRow) -> Result<(), Error> {
        for device in contact.devices.keys().chain(contact.former.keys()) {
            self.store.remove(Table::Unlisted, &device.0)?;
        }
        for mut message in self.store.held_messages(contact.identity)? {
            if contact.devices.contains_key(&message.device) || contact.former.contains_key(&message.device) {
                if self.is_unwanted(message.conversation, message.sender)? {
                    self.store.delete_message(&message)?;
                    continue;
                }
                let content = content_of(&message)?;
                if is_about_a_message(&content.body) {
                    self.store.delete_message(&message)?;
                    let by = LeafId { identity: message.sender, device: message.device };
                    self.annotated(message.conversation, by, &content, message.received_at)?;
                    continue;
                }
                message.held = false;
                self.store.update_message(&message)?;
                if message.sender != self.account.identity {
                    self.arrived.entry(message.conversation).or_default().push(message.id);
                }
                let kind = EventRowKind::Message { sender: message.sender, id: message.id };
                self.event(Some(message.conversation), kind)?;
            }
        }
        Ok(())
    }
}

/// The direct conversation with somebody, if there is one.
fn direct_conversation(
    store: &dyn crate::store::Store,
    identity: IdentityId,
) -> Result<Option<crate::view::ConversationId>, Error> {
    let id = crate::view::ConversationId::Direct(identity);
    Ok(ConversationRow::load(store, &id)?.map(|row| row.id))
}

fn caught(error: &TrustError) -> String {
    format!("the server's answer is not to be trusted ({error}); nothing was changed")
}

fn corrupt(what: &str) -> Error {
    Error::Store(crate::store::StoreError::Corrupt(what.to_owned()))
}
