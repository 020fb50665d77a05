//! What two devices of one person say to each other when one takes in the other. The server passes it on, sealed.

use capnp::message::TypedBuilder;
use zeroize::Zeroizing;

use crate::account::UserName;
use crate::generated::account_capnp;
use crate::ids::{BlobId, DeviceId, GroupId, IdentityId};
use crate::keys::DeviceRecord;
use crate::limits;
use crate::read::{self, Malformed};

pub use crate::generated::account_capnp::LinkStep;

/// The newest format of these messages.
pub const LINK_FORMAT: u16 = 1;

/// The new device introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkOffer {
    pub device: DeviceRecord,
    /// SHA-256 of the nonce that it reveals when it knows who takes it in.
    pub commitment: [u8; 32],
}

impl LinkOffer {
    /// The bytes that the link code commits to.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = TypedBuilder::<account_capnp::link_offer::Owned>::new_default();
        let mut builder = message.init_root();
        builder.set_format(LINK_FORMAT);
        builder.set_commitment(&self.commitment);
        self.device.write(builder.init_device());
        read::to_bytes(&message)
    }

    /// Decodes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = read::from_bytes::<account_capnp::link_offer::Owned>(bytes)?;
        let reader = message.get()?;
        read::format("linkOffer.format", reader.get_format(), LINK_FORMAT)?;
        Ok(Self {
            device: DeviceRecord::read(reader.get_device()?)?,
            commitment: read::array("linkOffer.commitment", reader.get_commitment())?,
        })
    }
}

/// The device that takes it in introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkHello {
    pub name: UserName,
    /// An encoded `SignedManifest`.
    pub manifest: Vec<u8>,
    /// Which of its devices this is.
    pub device: DeviceId,
    pub nonce: [u8; 32],
}

impl LinkHello {
    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = TypedBuilder::<account_capnp::link_hello::Owned>::new_default();
        let mut builder = message.init_root();
        builder.set_format(LINK_FORMAT);
        builder.set_name(self.name.as_str());
        builder.set_manifest(&self.manifest);
        builder.set_device(&self.device.0);
        builder.set_nonce(&self.nonce);
        read::to_bytes(&message)
    }

    /// Decodes it; the manifest is still to be checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = read::from_bytes::<account_capnp::link_hello::Owned>(bytes)?;
        let reader = message.get()?;
        read::format("linkHello.format", reader.get_format(), LINK_FORMAT)?;
        Ok(Self {
            name: UserName::read(reader.get_name())?,
            manifest: read::some_bytes("linkHello.manifest", reader.get_manifest(), limits::MANIFEST)?,
            device: DeviceId(read::array("linkHello.device", reader.get_device())?),
            nonce: read::array("linkHello.nonce", reader.get_nonce())?,
        })
    }
}

/// All that a new device needs to be one of this identity. No `Debug`: the identity's keys are in it.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkBundle {
    /// Both seeds.
    pub identity_keys: Zeroizing<[u8; 64]>,
    /// The manifest that lists the new device.
    pub manifest: Vec<u8>,
    /// The part after `@` in names.
    pub domain: String,
    pub contacts: Vec<LinkedContact>,
    pub groups: Vec<LinkedGroup>,
    /// No receipts and no typing notices.
    pub silent: bool,
    /// Where earlier messages are being uploaded to.
    pub history: Option<LinkedHistory>,
    /// By the device of the hello.
    pub signature: [u8; 64],
}

/// Somebody whom the identity knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedContact {
    pub identity: IdentityId,
    pub name: Option<UserName>,
    pub trust: LinkedTrust,
    /// By own choice: what they begin is no request.
    pub is_known: bool,
    pub is_blocked: bool,
}

/// How far a contact is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkedTrust {
    Unverified,
    Verified,
    Rejected,
}

/// What neither the server nor the tree tells of a group: the key of its name, and what the user thinks of it. No `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkedGroup {
    pub group: GroupId,
    pub name_key: [u8; 32],
    pub is_muted: bool,
    /// The stranger who began it, while the user has not accepted.
    pub requested_by: Option<IdentityId>,
    /// Numbers of messages up to here are taken by what is in the history; 0 without one.
    pub last_number: u64,
}

/// The archive of earlier messages, and what opens it. No `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkedHistory {
    pub blob: BlobId,
    pub key: [u8; 32],
    /// Of the plain archive.
    pub sha256: [u8; 32],
    pub size: u64,
}

impl LinkBundle {
    /// What is signed, after the transcript.
    pub fn signed_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(Self { signature: [0; 64], ..self.clone() }.to_bytes())
    }

    /// The bytes that are sealed.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.to_bytes())
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut message = TypedBuilder::<account_capnp::link_bundle::Owned>::new_default();
        let mut builder = message.init_root();
        builder.set_format(LINK_FORMAT);
        builder.set_identity_keys(&self.identity_keys[..]);
        builder.set_manifest(&self.manifest);
        builder.set_domain(&self.domain[..]);
        builder.set_signature(&self.signature);
        builder.set_silent(self.silent);
        let mut list = builder.reborrow().init_contacts(self.contacts.len() as u32);
        for (index, contact) in (0..).zip(&self.contacts) {
            let mut builder = list.reborrow().get(index);
            builder.set_identity(&contact.identity.0);
            builder.set_name(contact.name.as_ref().map_or("", UserName::as_str));
            builder.set_trust(contact.trust.into());
            builder.set_known(contact.is_known);
            builder.set_blocked(contact.is_blocked);
        }
        if let Some(history) = &self.history {
            let mut builder = builder.reborrow().init_history();
            builder.set_blob(&history.blob.0);
            builder.set_key(&history.key);
            builder.set_sha256(&history.sha256);
            builder.set_size(history.size);
        }
        let mut list = builder.init_groups(self.groups.len() as u32);
        for (index, group) in (0..).zip(&self.groups) {
            let mut builder = list.reborrow().get(index);
            builder.set_group(&group.group.0);
            builder.set_name_key(&group.name_key);
            builder.set_muted(group.is_muted);
            builder.set_last_number(group.last_number);
            builder.set_requested_by(group.requested_by.as_ref().map_or(&[][..], |by| &by.0));
        }
        read::to_bytes(&message)
    }

    /// Decodes it; signature and manifest are still to be checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = read::from_bytes::<account_capnp::link_bundle::Owned>(bytes)?;
        let reader = message.get()?;
        read::format("linkBundle.format", reader.get_format(), LINK_FORMAT)?;
        let contacts = reader.get_contacts()?;
        read::count("linkBundle.contacts", contacts.len(), limits::LINKED)?;
        let groups = reader.get_groups()?;
        read::count("linkBundle.groups", groups.len(), limits::LINKED)?;
        Ok(Self {
            identity_keys: Zeroizing::new(read::array("linkBundle.identityKeys", reader.get_identity_keys())?),
            manifest: read::some_bytes("linkBundle.manifest", reader.get_manifest(), limits::MANIFEST)?,
            domain: read::text("linkBundle.domain", reader.get_domain(), limits::SHORT_TEXT)?,
            contacts: contacts.iter().map(LinkedContact::read).collect::<Result<_, _>>()?,
            groups: groups.iter().map(LinkedGroup::read).collect::<Result<_, _>>()?,
            silent: reader.get_silent(),
            history: match reader.has_history() {
                true => Some(LinkedHistory::read(reader.get_history()?)?),
                false => None,
            },
            signature: read::array("linkBundle.signature", reader.get_signature())?,
        })
    }
}

impl LinkedContact {
    fn read(reader: account_capnp::linked_contact::Reader<'_>) -> Result<Self, Malformed> {
        let name = read::text("linkedContact.name", reader.get_name(), 64)?;
        Ok(Self {
            identity: IdentityId(read::array("linkedContact.identity", reader.get_identity())?),
            name: if name.is_empty() { None } else { Some(name.parse()?) },
            trust: reader.get_trust()?.into(),
            is_known: reader.get_known(),
            is_blocked: reader.get_blocked(),
        })
    }
}

impl LinkedGroup {
    fn read(reader: account_capnp::linked_group::Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            group: GroupId(read::array("linkedGroup.group", reader.get_group())?),
            name_key: read::array("linkedGroup.nameKey", reader.get_name_key())?,
            is_muted: reader.get_muted(),
            requested_by: read::optional_array("linkedGroup.requestedBy", reader.get_requested_by())?.map(IdentityId),
            last_number: reader.get_last_number(),
        })
    }
}

impl LinkedHistory {
    fn read(reader: account_capnp::linked_history::Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            blob: BlobId(read::array("linkedHistory.blob", reader.get_blob())?),
            key: read::array("linkedHistory.key", reader.get_key())?,
            sha256: read::array("linkedHistory.sha256", reader.get_sha256())?,
            size: reader.get_size(),
        })
    }
}

impl From<LinkedTrust> for account_capnp::linked_contact::Trust {
    fn from(trust: LinkedTrust) -> Self {
        match trust {
            LinkedTrust::Unverified => Self::Unverified,
            LinkedTrust::Verified => Self::Verified,
            LinkedTrust::Rejected => Self::Rejected,
        }
    }
}

impl From<account_capnp::linked_contact::Trust> for LinkedTrust {
    fn from(trust: account_capnp::linked_contact::Trust) -> Self {
        match trust {
            account_capnp::linked_contact::Trust::Unverified => Self::Unverified,
            account_capnp::linked_contact::Trust::Verified => Self::Verified,
            account_capnp::linked_contact::Trust::Rejected => Self::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::X_WING_PUBLIC;

    #[test]
    fn they_survive_the_way() {
        let device =
            DeviceRecord { signature_key: [1; 32], envelope_key: vec![2; X_WING_PUBLIC], name: "phone".into() };
        let offer = LinkOffer { device, commitment: [3; 32] };
        assert_eq!(LinkOffer::decode(&offer.encode()), Ok(offer));
        let name: UserName = "alice".parse().expect("a name");
        let hello = LinkHello { name: name.clone(), manifest: vec![1], device: DeviceId([2; 16]), nonce: [3; 32] };
        assert_eq!(LinkHello::decode(&hello.encode()), Ok(hello));
        let contact = |name, trust| LinkedContact {
            identity: IdentityId([4; 32]),
            name,
            trust,
            is_known: true,
            is_blocked: false,
        };
        let bundle = LinkBundle {
            identity_keys: Zeroizing::new([1; 64]),
            manifest: vec![2],
            domain: "d".into(),
            contacts: vec![contact(Some(name), LinkedTrust::Verified), contact(None, LinkedTrust::Rejected)],
            groups: vec![LinkedGroup {
                group: GroupId([5; 16]),
                name_key: [6; 32],
                is_muted: true,
                requested_by: Some(IdentityId([8; 32])),
                last_number: 9,
            }],
            silent: true,
            history: Some(LinkedHistory { blob: BlobId([1; 32]), key: [2; 32], sha256: [3; 32], size: 4 }),
            signature: [7; 64],
        };
        assert!(LinkBundle::decode(&bundle.encode()) == Ok(bundle.clone()));
        assert!(LinkBundle::decode(&bundle.encode()[8..]).is_err());
    }
}
