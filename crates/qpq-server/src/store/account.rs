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

/// What an operator sees of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    pub name: UserName,
    pub identity: IdentityId,
    pub devices: u32,
    pub disabled: bool,
    pub created: Timestamp,
}
