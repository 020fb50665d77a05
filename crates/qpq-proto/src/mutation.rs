//! Deliberate defects, to learn whether the simulator would find real ones: each is one line at the place where somebody
//! could make that mistake. Without the feature `mutations`, which nothing that is shipped is built with, they are
//! compiled out.

/// One defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A device tells the server what it has stored before it is stored.
    AcknowledgeBeforeCommit,
    /// Requests leave a device before their transaction is committed.
    EffectsBeforeCommit,
    /// What was not answered is not asked again over the next connection.
    ForgetOutbox,
    /// What was refused for the moment is not asked again.
    ForgetRetry,
    /// A message whose answer was lost is encrypted again, before the log has told whether it is there.
    EncryptAgain,
    /// A device does not remember how far it has come in a log.
    DropCursor,
    /// A device asks for a log from one entry too far on.
    SubscribeTooFar,
    /// An own commit is merged before it is in the log.
    MergeEarly,
    /// A commit that lost its epoch is still waited for.
    KeepLostCommit,
    /// Entries that wait for the directory are dropped.
    DropBacklog,
    /// A Welcome that came before the end of the stay before is forgotten.
    ForgetEarlyWelcome,
    /// The server takes messages of any epoch.
    AcceptStalePosts,
    /// The server does not recognise a message that it has.
    NoDeduplication,
    /// The server answers before what it says is on disk.
    AnswerBeforeCommit,
    /// A device is not woken for its inbox.
    NoWakeForInbox,
    /// A device that was removed stays in the server's roster.
    KeepRemoved,
    /// Whoever was removed does not get to see it.
    LeftTooEarly,
    /// Of several Welcomes in a commit one is lost.
    SwallowWelcome,
    /// A stream goes on one entry too far on.
    SkipEntry,
    /// What the fastest device has read is forgotten, instead of what the slowest has.
    SweepTooEarly,
    /// The server forgets who wants to leave.
    ForgetLeaving,
    /// A one-time key package is given out again.
    ClaimTwice,
    /// Joiners get the newest ratchet tree instead of the one they asked for.
    NewestTree,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::AcknowledgeBeforeCommit,
        Self::EffectsBeforeCommit,
        Self::ForgetOutbox,
        Self::ForgetRetry,
        Self::EncryptAgain,
        Self::DropCursor,
        Self::SubscribeTooFar,
        Self::MergeEarly,
        Self::KeepLostCommit,
        Self::DropBacklog,
        Self::ForgetEarlyWelcome,
        Self::AcceptStalePosts,
        Self::NoDeduplication,
        Self::AnswerBeforeCommit,
        Self::NoWakeForInbox,
        Self::KeepRemoved,
        Self::LeftTooEarly,
        Self::SwallowWelcome,
        Self::SkipEntry,
        Self::SweepTooEarly,
        Self::ForgetLeaving,
        Self::ClaimTwice,
        Self::NewestTree,
    ];
}

/// Whether this thread has the defect.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub const fn is_on(_mutation: Mutation) -> bool {
    false
}

/// Whether this thread has the defect.
#[cfg(feature = "mutations")]
pub fn is_on(mutation: Mutation) -> bool {
    PRESENT.get() == Some(mutation)
}

/// Gives this thread a defect, or heals it.
#[cfg(feature = "mutations")]
pub fn set(mutation: Option<Mutation>) {
    PRESENT.set(mutation);
}

#[cfg(feature = "mutations")]
thread_local! {
    static PRESENT: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}
