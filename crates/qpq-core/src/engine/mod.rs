//! The engine: one input, one transaction, effects returned.

mod annotate;
mod build;
mod claims;
mod commands;
mod ctx;
mod devices;
mod directory;
mod drive;
mod expiry;
mod handshakes;
mod history;
mod inbox;
mod keys;
mod log;
mod membership;
mod name;
mod people;
mod query;
mod receipts;
mod rejoin;
mod replies;
mod send_key;
mod set_back;
#[cfg(test)]
mod tests;
mod track;
mod whisper;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use openmls::group::MlsGroup;
use openmls_rust_crypto::RustCrypto;
use qpq_proto::account::{ServerHello, UserName};
use qpq_proto::code::Refusal;
use qpq_proto::content::Body;
use qpq_proto::ids::{ContentHash, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::stream::{Entry, LogId, Mark, Position, Subscribed};
use qpq_proto::time::Timestamp;

use crate::error::Error;
use crate::mls::Myself;
use crate::request::{Reply, Request};
use crate::store::Store;
use crate::store::archive::HistoryStep;
use crate::store::rows::{AccountRow, DeviceChange, Row as _, TransferRow, WishKind};
use crate::view::{ConversationId, Trust};
use ctx::Ctx;

pub use devices::{bundle, identity_keys, take_over};
pub use query::Query;
pub use receipts::SILENT;

pub(crate) use commands::random;

/// Something that the engine has to deal with. No `Debug`: plaintext is among it.
pub enum Input {
    Command(Command),
    /// A session was granted.
    Connected(ServerHello),
    Disconnected,
    /// A log is followed, or cannot be. Comes before its entries.
    Subscribed {
        log: LogId,
        /// Where the subscription was to begin.
        after: Seq,
        result: Result<Subscribed, Refusal>,
    },
    /// Everything that was waiting in the logs that are followed has been handed in.
    CaughtUp,
    /// Entries of one or several logs, each log in its order.
    Entries(Vec<Entry>),
    Reply {
        request: u64,
        result: Result<Reply, Refusal>,
    },
    /// The server has only this many one-time key packages of this device left.
    KeyPackagesLow(u32),
    /// Something that a member's device tells those that are online.
    Whisper {
        group: GroupId,
        payload: Vec<u8>,
    },
    /// Time has passed.
    Tick,
    /// Somebody waits until nothing is under way, and may go then: what is being gathered leaves now.
    Hurry,
}

/// A wish of the user.
pub enum Command {
    /// Ask the directory who a name is. Answered with [`Effect::LookedUp`].
    LookUp(UserName),
    /// The direct conversation with somebody, made in the background if there is none.
    Direct(IdentityId),
    CreateGroup {
        name: String,
        members: Vec<IdentityId>,
        suite: u16,
    },
    Send {
        conversation: ConversationId,
        body: Body,
        fallback: String,
        /// The number of the message that it answers.
        in_reply_to: Option<u64>,
        /// What this message is for its author: given again with the same key, it is not sent twice.
        key: Option<String>,
    },
    /// React to the message with this number, or take that back.
    React {
        conversation: ConversationId,
        number: u64,
        emoji: String,
        removed: bool,
    },
    /// Change the text of an own message.
    Edit {
        conversation: ConversationId,
        number: u64,
        text: String,
    },
    /// Take an own message back, everywhere.
    TakeBack {
        conversation: ConversationId,
        number: u64,
    },
    /// Any change of a group that is a [`WishKind`].
    Change {
        conversation: ConversationId,
        kind: WishKind,
    },
    /// Take a fresh start in a group that seems broken.
    Mend(ConversationId),
    SetTrust {
        identity: IdentityId,
        trust: Trust,
    },
    /// Pin a name to an identity, as a contact link says.
    ImportContact {
        name: UserName,
        identity: IdentityId,
    },
    /// Take up a conversation that a stranger began.
    Accept(ConversationId),
    Block {
        identity: IdentityId,
        is_blocked: bool,
    },
    Mute {
        conversation: ConversationId,
        is_muted: bool,
    },
    /// Whether to send receipts, and to show that the user is typing.
    TellOthers(bool),
    /// The user is typing. Told at most every few seconds, and only to those who are online.
    Typing(ConversationId),
    MarkRead(ConversationId),
    /// Remembers the upload of a file, so that it can go on after an interruption. Forgotten when its message is stored.
    Transfer(TransferRow),
    /// Earlier messages for a new device, or on one.
    History(HistoryStep),
    /// Change the devices of this identity, or look at them anew.
    Devices(DeviceChange),
    /// Stores how far a consumer has come with the events.
    MoveConsumer {
        consumer: String,
        position: u64,
    },
}

/// Something to be done after the transaction has been committed.
#[derive(Debug)]
pub enum Effect {
    /// Send this; it is in the outbox under its id until the reply has come in.
    Request {
        id: u64,
        request: Request,
    },
    /// Follow a log from after this position.
    Subscribe {
        log: LogId,
        after: Seq,
        /// Entries that were taken, the newest first.
        known: Vec<Mark>,
    },
    /// These entries are stored.
    Acknowledge(Vec<Position>),
    /// The answer to a command.
    Answer(Answer),
    /// A wish was carried out, or refused for good.
    Settled {
        wish: u64,
        result: Result<(), String>,
    },
    /// The server has this own message, or refused it for good.
    Sent {
        message: MessageId,
        result: Result<(), String>,
    },
    LookedUp {
        name: UserName,
        result: Result<IdentityId, LookUpError>,
    },
    /// Tell the members' devices that are online; lost if there is no connection.
    Whisper {
        group: GroupId,
        payload: Vec<u8>,
    },
    /// Somebody is typing.
    Typing {
        conversation: ConversationId,
        who: IdentityId,
    },
    /// The event queue has grown.
    NewEvents,
}

/// What a command gives back at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Wish(u64),
    Conversation {
        id: ConversationId,
        wish: Option<u64>,
    },
    /// It is stored.
    Message {
        id: MessageId,
        number: u64,
    },
    /// The name is pinned and cannot be looked up right now.
    Offline,
}

/// Why a name gives no usable identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookUpError {
    Unknown,
    /// The name was pinned to `old` and now belongs to `new`.
    Changed {
        old: IdentityId,
        new: IdentityId,
    },
    Refused(String),
}

/// The engine of one profile. Everything that must survive is in the store; this is a cache and may be dropped.
pub struct Engine {
    crypto: RustCrypto,
    account: Option<(AccountRow, Myself)>,
    groups: HashMap<GroupId, MlsGroup>,
    connection: Connection,
}

/// What is known of the present connection.
#[derive(Default)]
struct Connection {
    online: bool,
    /// Groups about whose logs both ends agree: what was to be sent in them may be sent again.
    subscribed: BTreeMap<GroupId, Followed>,
    /// Those of them whose logs have been read: something new may be sent.
    ready: BTreeSet<GroupId>,
    /// The server was asked which groups this device is in, when it counted itself in these.
    asked: Option<BTreeSet<GroupId>>,
    /// Groups in which the server would not take a message because this device is not in them.
    doubted: BTreeSet<GroupId>,
    /// Groups that this device is not in, says the server: their logs are followed anew, and at their ends it is certain.
    refuted: BTreeSet<GroupId>,
    /// Own messages and commits that were accepted over it: an answer to a subscription may be older than that.
    accepted: BTreeSet<ContentHash>,
    /// When the last receipt leaves or has left, by whether it is about reading.
    receipts: BTreeMap<(ConversationId, bool), Timestamp>,
    /// By how many milliseconds the server's clock is ahead of this device's.
    ahead: i64,
    /// One of the two is wrong by so much that what one makes may not be valid for the other.
    is_clock_off: bool,
}

impl Connection {
    /// A stay in this group begins: what was asked about the one before, and the answer that is still on its way, do not
    /// concern it.
    fn forget_doubts(&mut self, group: GroupId) {
        self.doubted.remove(&group);
        self.refuted.remove(&group);
        self.asked.iter_mut().for_each(|asked| {
            asked.remove(&group);
        });
    }
}

/// What is known of a log that is followed.
#[derive(Clone, Copy)]
struct Followed {
    /// Where the present stay in the group begins.
    joined: Seq,
    /// Nothing of it was taken before, of no stay.
    is_new: bool,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// An engine that has seen nothing yet.
    pub fn new() -> Self {
        Self { crypto: RustCrypto::default(), account: None, groups: HashMap::new(), connection: Connection::default() }
    }

    /// Handles one input within the transaction that `store` stands for.
    ///
    /// # Errors
    /// The transaction must be rolled back, and [`Self::rolled_back`] called.
    pub fn handle(&mut self, store: &mut dyn Store, now: Timestamp, input: Input) -> Result<Vec<Effect>, Error> {
        let (account, myself) = match self.account.take() {
            Some(account) => account,
            None => {
                let account = AccountRow::load(store, &())?
                    .ok_or_else(|| Error::BadInput("there is no account in this profile".into()))?;
                let myself = Myself::new(&account);
                (account, myself)
            }
        };
        let mut ctx = Ctx::new(store, now, account, myself, &self.crypto, &mut self.groups, &mut self.connection);
        ctx.input(input)?;
        ctx.confirm_arrivals()?;
        ctx.drive_touched()?;
        let (account, myself, effects) = ctx.finish();
        self.account = Some((account, myself));
        if self.groups.len() > GROUPS_IN_MEMORY {
            self.groups.clear();
        }
        Ok(effects)
    }

    /// Forgets everything that may be ahead of the store. Must be called when a transaction did not commit.
    pub fn rolled_back(&mut self) {
        self.groups.clear();
        self.account = None;
    }

    /// Whether the last input about it said that there is a connection.
    pub fn is_online(&self) -> bool {
        self.connection.online
    }
}

impl Ctx<'_> {
    fn input(&mut self, input: Input) -> Result<(), Error> {
        match input {
            Input::Command(command) => self.command(command),
            Input::Connected(hello) => self.connected(hello),
            Input::Disconnected => {
                *self.connection = Connection::default();
                Ok(())
            }
            Input::Subscribed { log, after, result } => self.subscribed(log, after, result),
            Input::CaughtUp => self.caught_up(),
            Input::Entries(entries) => self.entries(entries),
            Input::Reply { request, result } => self.reply(request, result),
            Input::KeyPackagesLow(left) => self.refill_key_packages(left),
            Input::Whisper { group, payload } => self.whispered(group, &payload),
            Input::Tick => self.tick(),
            Input::Hurry => self.send_gathered(),
        }
    }
}

/// Groups whose MLS state is kept in memory between inputs.
const GROUPS_IN_MEMORY: usize = 64;
