//! MLS credentials: `IdentityId ‖ DeviceId` in a basic credential and nothing else, so that leaves stay small.

use openmls::prelude::{BasicCredential, Credential, LeafNode};

use qpq_proto::ids::{DeviceId, IdentityId};

use crate::error::TrustError;
use crate::identity::device_id;
use crate::manifest::Manifest;

/// Which device of which identity a leaf says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafId {
    pub identity: IdentityId,
    pub device: DeviceId,
}

impl LeafId {
    /// The MLS credential (RFC 9420, section 5.3).
    pub fn credential(&self) -> Credential {
        BasicCredential::new([&self.identity.0[..], &self.device.0[..]].concat()).into()
    }

    /// Reads a credential.
    ///
    /// # Errors
    /// [`TrustError::NotAuthentic`] for anything but a basic credential of 48 bytes.
    pub fn from_credential(credential: &Credential) -> Result<Self, TrustError> {
        let invalid = || TrustError::NotAuthentic("credential");
        let basic = BasicCredential::try_from(credential.clone()).map_err(|_| invalid())?;
        let (identity, device) = basic.identity().split_at_checked(IdentityId::LENGTH).ok_or_else(invalid)?;
        Ok(Self { identity: identity.try_into()?, device: device.try_into()? })
    }
}

/// One leaf of a group: its credential and the key that signs for it. The device id is the key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub id: LeafId,
    pub signature_key: [u8; 32],
}

impl Leaf {
    /// Reads credential and signature key, and checks that the one names the other.
    ///
    /// # Errors
    /// [`TrustError::NotAuthentic`].
    pub fn new(credential: &Credential, signature_key: &[u8]) -> Result<Self, TrustError> {
        let id = LeafId::from_credential(credential)?;
        let signature_key: [u8; 32] =
            signature_key.try_into().map_err(|_| TrustError::NotAuthentic("length of a signature key"))?;
        if device_id(&signature_key) != id.device {
            return Err(TrustError::NotAuthentic("a leaf's device id is not the hash of its key"));
        }
        Ok(Self { id, signature_key })
    }

    /// Reads a leaf node.
    ///
    /// # Errors
    /// [`TrustError::NotAuthentic`].
    pub fn of_node(node: &LeafNode) -> Result<Self, TrustError> {
        Self::new(node.credential(), node.signature_key().as_slice())
    }

    /// Checks that the identity itself lists this device with this key.
    ///
    /// # Errors
    /// [`TrustError::UnlistedDevice`].
    pub fn check_listed(&self, manifest: &Manifest) -> Result<(), TrustError> {
        let listed = manifest.identity() == self.id.identity
            && manifest.device(self.id.device).is_some_and(|record| record.signature_key == self.signature_key);
        if listed { Ok(()) } else { Err(TrustError::UnlistedDevice) }
    }
}
