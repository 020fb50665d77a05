//! The limits that both ends know, in bytes or counts. What an operator may lower further is in the server's config.

/// A Cap'n Proto message on a connection that has not authenticated.
pub const UNAUTHENTICATED_MESSAGE: usize = 64 * 1024;
/// A Cap'n Proto message on an authenticated connection: room for the tree of a group of several thousand devices.
pub const AUTHENTICATED_MESSAGE: usize = 8 * 1024 * 1024;
/// The text of one message, in bytes of UTF-8.
pub const TEXT: usize = 64 * 1024;
/// One MLS application message as posted.
pub const POST: usize = 128 * 1024;
/// One commit, group info or ratchet tree.
pub const HANDSHAKE: usize = 4 * 1024 * 1024;
/// One sealed envelope (a Welcome for one device).
pub const ENVELOPE: usize = 64 * 1024;
/// Welcomes in one commit: devices that can be added at once.
pub const WELCOMES: usize = 2048;
/// One MLS key package.
pub const KEY_PACKAGE: usize = 16 * 1024;
/// Key packages in one `publish`.
pub const KEY_PACKAGES: usize = 200;
/// One encoded manifest.
pub const MANIFEST: usize = 128 * 1024;
/// Devices in one manifest.
pub const DEVICES: usize = 16;
/// Former devices that a manifest remembers.
pub const FORMER_DEVICES: usize = 64;
/// A device's name, in bytes of UTF-8.
pub const DEVICE_NAME: usize = 64;
/// One OPAQUE message (RFC 9807; the longest is 320 bytes with ristretto255).
pub const OPAQUE: usize = 1024;
/// A link's messages but the last one, which fit a connection that has not authenticated.
pub const LINK_MESSAGE: usize = 60 * 1024;
/// The sealed bundle that a new device gets.
pub const LINK_BUNDLE: usize = 512 * 1024;
/// Contacts, and groups, in a bundle.
pub const LINKED: usize = 10_000;
/// The sealed recovery record.
pub const RECOVERY_RECORD: usize = 1024;
/// An invite code.
pub const INVITE: usize = 64;
/// A group's name, in bytes of UTF-8.
pub const GROUP_NAME: usize = 128;
/// Admins of one group.
pub const ADMINS: usize = 64;
/// An emoji: the longest ones are sequences of several code points.
pub const EMOJI: usize = 64;
/// One whisper: a sealed sign that somebody is typing.
pub const WHISPER: usize = 1024;
/// How long messages stay at most where they disappear, in milliseconds: a year.
pub const EXPIRY_MS: u64 = 366 * 24 * 3600 * 1000;
/// Messages that one receipt names.
pub const RECEIPT_TARGETS: usize = 1000;
/// One file, in bytes; an operator's limit is usually lower.
pub const FILE: usize = 2 * 1024 * 1024 * 1024;
/// Files that one message may refer to.
pub const POST_BLOBS: usize = 16;
/// What a device has sent over one connection and may get back as an echo.
pub const ECHOES: usize = 64;
/// Entries in one push.
pub const PUSH_ENTRIES: usize = 256;
/// Positions in one acknowledgement or heartbeat: the logs that one device may follow.
pub const POSITIONS: usize = 10_000;
/// Marks in one subscription.
pub const MARKS: usize = 64;
/// Any other short text that crosses the wire.
pub const SHORT_TEXT: usize = 1024;
