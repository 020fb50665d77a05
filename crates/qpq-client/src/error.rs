//! Errors by what the caller can do about them.

use std::path::PathBuf;
use std::time::Duration;

use qpq_core::store::StoreError;
use qpq_io::db::DbError;
use qpq_io::rpc::tls::Fingerprint;
use qpq_proto::account::UserName;
use qpq_proto::ids::IdentityId;

/// Why something did not work. Every text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection. What was to be sent is in the outbox.
    #[error("the server cannot be reached: {0}")]
    Offline(String),
    /// It takes longer than the caller wanted to wait. It goes on by itself.
    #[error("not done after {} s; it is stored and goes on with the next connection", .0.as_secs())]
    TimedOut(Duration),
    #[error(
        "the certificate of the server changed from {expected} to {presented}; if its operator confirms that, open it once with --fingerprint {presented}"
    )]
    CertificateChanged { expected: Fingerprint, presented: Fingerprint },
    /// The server or the group's rules said no.
    #[error("{0}")]
    Refused(String),
    /// OPAQUE failed; the server does not tell why.
    #[error("wrong password or unknown user; check both and try again")]
    WrongCredentials,
    /// The recovery phrase opens nothing there; the server does not tell why.
    #[error(
        "no account of that name takes these words; check both. Words work only after they were once shown with `qpq recovery`"
    )]
    WrongWords,
    /// The server has no account with this device.
    #[error("no account on this server lists this device; check that it is the right server, or ask its operator")]
    DeviceUnknown,
    /// The server had this account with this device, and has it no more.
    #[error(
        "this device was unlinked, or its account was deleted; what is stored here can still be read, but nothing is sent or received any more. To link this machine anew, use `qpq link` with another --home"
    )]
    Unlinked,
    /// Somebody else has that name.
    #[error("this name is taken; choose another one")]
    NameTaken,
    /// The server's certificate is not to be trusted.
    #[error("the server's certificate is not acceptable: {0}")]
    Certificate(String),
    /// The key file does not open.
    #[error("wrong password for this profile; try again")]
    WrongPassword,
    #[error("there is no profile in {0}; make one with `qpq register NAME`")]
    NoProfile(String),
    #[error("there is already a profile in {0}; choose another directory with --home")]
    ProfileExists(String),
    #[error("another qpq is using the profile in {0}; end it first")]
    ProfileInUse(String),
    #[error("nobody here is called @{0}")]
    UnknownUser(UserName),
    #[error("there is no such conversation: {0}")]
    UnknownConversation(String),
    /// A pinned name now belongs to another identity.
    #[error(
        "the identity behind @{name} changed; compare safety numbers with `verify @{name}`, then decide with `/trust @{name}` before sending again"
    )]
    TrustDecision { name: UserName, old: IdentityId, new: IdentityId },
    #[error("{0}")]
    BadInput(String),
    /// A download does not replace what is there by itself.
    #[error("{} is there already; replace it with --force, or choose another directory", .0.display())]
    Exists(PathBuf),
    /// Whoever watched it said so.
    #[error("stopped; the same command goes on from there")]
    Stopped,
    #[error("the disk is full; free some space and try again, nothing was lost")]
    DiskFull,
    #[error("the profile's database is damaged: {0}; restore the directory from a backup")]
    Corrupt(String),
    #[error("{0}")]
    Store(String),
    /// Something that should not happen.
    #[error("internal error: {0}")]
    Internal(String),
    #[error("the client is closed")]
    Closed,
    /// [`crate::Client::interrupt`]
    #[error("interrupted; what was stored goes on by itself")]
    Interrupted,
}

impl From<qpq_io::Error> for Error {
    fn from(error: qpq_io::Error) -> Self {
        use qpq_io::Error as Io;
        match error {
            Io::CertificateChanged { expected, presented } => Self::CertificateChanged { expected, presented },
            Io::CertificateInvalid(reason) => Self::Certificate(reason),
            Io::Incompatible(reason) => Self::Refused(format!("the server cannot be used: {reason}")),
            Io::Config(reason) => Self::BadInput(reason),
            Io::Offline { context } => Self::Offline(context),
            Io::Timeout(reason) | Io::Closed(reason) => Self::Offline(reason),
            Io::InUse { path } => Self::ProfileInUse(path.parent().unwrap_or(&path).display().to_string()),
            Io::Io { ref source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Self::DiskFull,
            other => Self::Store(other.to_string()),
        }
    }
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Full => Self::DiskFull,
            DbError::Corrupt(reason) => Self::Corrupt(reason),
            DbError::WrongKey => Self::Corrupt("its key does not open it".into()),
            other
            @ (DbError::ReadOnly | DbError::Busy | DbError::Newer { .. } | DbError::Io(_) | DbError::Other(_)) => {
                Self::Store(other.to_string())
            }
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::DiskFull,
            StoreError::Corrupt(reason) => Self::Corrupt(reason),
            StoreError::Failed(reason) => Self::Store(reason),
        }
    }
}

impl From<qpq_core::Error> for Error {
    fn from(error: qpq_core::Error) -> Self {
        match error {
            qpq_core::Error::Store(error) => error.into(),
            qpq_core::Error::BadInput(reason) => Self::BadInput(reason),
            qpq_core::Error::Trust(error) => Self::Refused(error.to_string()),
            qpq_core::Error::Mls(_) | qpq_core::Error::Random(_) => Self::Internal(error.to_string()),
        }
    }
}
