//! The SDK: a profile on disk, driven by its own threads, connected to a server.
//!
//! A [`Client`] is a cheap handle that any thread may use. All its methods block for as long as they say; what they
//! store is durable when they return. Events are pulled with [`Client::events`] from a queue that survives restarts.

mod actor;
mod client;
mod contact_link;
mod error;
mod events;
mod files;
mod groups;
pub mod json;
mod link;
mod linking;
mod messages;
mod options;
mod own_account;
mod patience;
mod people;
mod profile;
mod readiness;
#[cfg(any(test, feature = "testing"))]
pub mod samples;
mod shared;
mod signup;
mod store;
mod transcript;
mod waiter;
mod wire;

pub use client::{Client, Status, Whoami, WishId};
pub use contact_link::ContactLink;
pub use error::Error;
pub use events::EventStream;
pub use files::{Carried, Destination, Downloaded, Progress, Step, Stored, safe_name};
pub use linking::{Approval, Hello, Introduced, LINK_PATIENCE, Linking, PendingLink};
pub use options::Options;
pub use readiness::Readiness;
pub use transcript::{TranscriptFile, verify_transcript};

pub use qpq_core::view::{
    Contact, Conversation, ConversationId, ConversationState, Event, EventKind, GroupInfo, Member, Message,
    MessageStatus, Notes, OwnDevice, Quote, Trouble, Trust,
};
pub use qpq_io::rpc::connect::ServerAddress;
pub use qpq_io::rpc::tls::Fingerprint;
pub use qpq_io::secret::SecretString;
pub use qpq_proto::account::UserName;
pub use qpq_proto::content::{Attachment, Body, Content, ReceiptKind};
pub use qpq_proto::groups::GroupKind;
pub use qpq_proto::ids::{BlobId, DeviceId, Epoch, GroupId, IdentityId, MessageId};
pub use qpq_proto::limits;
pub use qpq_proto::time::Timestamp;
pub use qpq_trust::suite::Suite;
