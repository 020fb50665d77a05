//! Accounts and invites as rows.

use qpq_proto::account::UserName;
use qpq_proto::ids::{DeviceId, IdentityId};
use qpq_proto::time::Timestamp;

/// SHA-256 of an invite code: the code itself is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InviteHash(pub [u8; 32]);

/// An account to be created.
#[derive(Clone, Debug)]
pub struct NewAccount {
    pub name: UserName,
    pub identity: IdentityId,
    pub opaque_record: Vec<u8>,
    /// The encoded manifest, verified.
    pub manifest: Vec<u8>,
    pub manifest_version: u64,
    pub devices: Vec<DeviceId>,
    /// Used up in the same transaction.
    pub invite: Option<InviteHash>,
}

/// What came of registering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    Done,
    NameTaken,
    /// The identity or one of its devices has an account already.
    IdentityTaken,
    InviteInvalid,
}

/// What an account is looked up by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountKey {
    Name(UserName),
    Identity(IdentityId),
    Device(DeviceId),
}

/// An account as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: UserName,
    pub identity: IdentityId,
    pub opaque_record: Vec<u8>,
    pub manifest: Vec<u8>,
    pub manifest_version: u64,
    pub disabled: bool,
}

/// The manifest that is to take the place of the one before it, verified, with all that follows from it.
#[derive(Clone, Debug)]
pub struct NewManifest {
    pub identity: IdentityId,
    /// The one before it has the version before this one.
    pub version: u64,
    pub manifest: Vec<u8>,
    /// All devices. Those that are not among them any more lose their key packages and inboxes.
    pub devices: Vec<DeviceId>,
    /// A new password with it.
    pub opaque_record: Option<Vec<u8>>,
}

/// What came of a new manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    Done,
    /// There is no account, or its manifest is another one than that before this.
    Superseded,
    /// One of the devices belongs to another account.
    DeviceTaken,
}

/// What is kept for somebody who has lost all devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Ed25519: who has the recovery phrase can sign for it.
    pub key: [u8; 32],
    /// Sealed under the phrase.
    pub record: Vec<u8>,
}

/// What an operator sees of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    pub name: UserName,
    pub identity: IdentityId,
    pub devices: u32,
    pub disabled: bool,
    pub created: Timestamp,
}
