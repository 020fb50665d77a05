//! Messages: sending, answering, changing, reading.

use std::time::Duration;

use qpq_core::engine::{Answer, Command};
use qpq_core::store::rows::WishKind;
use qpq_core::view::{Contact, ConversationId, Message};
use qpq_proto::content::Body;
use qpq_proto::ids::{IdentityId, MessageId};

use crate::actor::Turn;
use crate::client::{Client, WishId, unexpected};
use crate::error::Error;
use crate::waiter::waiter;

impl Client {
    /// Stores a text to be sent; it is durable when this returns.
    ///
    /// # Errors
    /// [`Error::BadInput`] when it is empty, too large, or there is nobody to read it.
    pub fn send_text(&self, conversation: ConversationId, text: &str) -> Result<MessageId, Error> {
        Ok(self.store_text(conversation, text, None, None)?.0)
    }

    /// As [`Self::send_text`], in answer to the message with this number.
    ///
    /// # Errors
    /// Also [`Error::BadInput`] when there is no such message.
    pub fn reply(&self, conversation: ConversationId, number: u64, text: &str) -> Result<MessageId, Error> {
        Ok(self.store_text(conversation, text, Some(number), None)?.0)
    }

    /// As [`Self::send_text`] or [`Self::reply`], and tells the message's number as well. With a `key`, only once for each
    /// key: who does not know whether a message was stored, because of a crash, says the same again and gets the message
    /// that is there. A key belongs to one conversation of one profile, and lasts as long as its message.
    ///
    /// # Errors
    /// Also [`Error::BadInput`] when the key is empty or longer than 256 bytes.
    pub fn store_text(
        &self,
        conversation: ConversationId,
        text: &str,
        in_reply_to: Option<u64>,
        key: Option<&str>,
    ) -> Result<(MessageId, u64), Error> {
        let (body, fallback, key) = (Body::Text(text.to_owned()), String::new(), key.map(str::to_owned));
        match self.command(Command::Send { conversation, body, fallback, in_reply_to, key })? {
            Answer::Message { id, number } => Ok((id, number)),
            other => Err(unexpected(&other)),
        }
    }

    /// Reacts to the message with this number, or takes the reaction back. The wish is done when the server has it.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there is no such message, or `emoji` is none.
    pub fn react(
        &self,
        conversation: ConversationId,
        number: u64,
        emoji: &str,
        removed: bool,
    ) -> Result<WishId, Error> {
        self.wished(Command::React { conversation, number, emoji: emoji.to_owned(), removed })
    }

    /// Changes the text of an own message.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there is no such message, it is not one's own, or no text.
    pub fn edit(&self, conversation: ConversationId, number: u64, text: &str) -> Result<WishId, Error> {
        self.wished(Command::Edit { conversation, number, text: text.to_owned() })
    }

    /// Takes an own message back, on all devices of all members. None: it had not left yet, and never will.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there is no such message, or it is not one's own.
    pub fn take_back(&self, conversation: ConversationId, number: u64) -> Result<Option<WishId>, Error> {
        match self.command(Command::TakeBack { conversation, number })? {
            Answer::Wish(wish) => Ok(Some(WishId(wish))),
            Answer::Done => Ok(None),
            other => Err(unexpected(&other)),
        }
    }

    fn wished(&self, command: Command) -> Result<WishId, Error> {
        match self.command(command)? {
            Answer::Wish(wish) => Ok(WishId(wish)),
            other => Err(unexpected(&other)),
        }
    }

    /// Blocks until the server has the message on disk.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn wait_sent(&self, message: MessageId, timeout: Duration) -> Result<(), Error> {
        let (answer, sent) = waiter();
        self.turn(Turn::AwaitMessage(message, answer))?;
        self.wait_for(&sent, timeout)?.map_err(Error::Refused)
    }

    /// The newest `limit` messages, oldest first; those before the message with number `before`, and only those that
    /// contain all words of `search`, if given.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn history(
        &self,
        conversation: ConversationId,
        before: Option<u64>,
        limit: usize,
        search: Option<&str>,
    ) -> Result<Vec<Message>, Error> {
        let search = search.map(str::to_owned);
        self.look(move |query| query.history(conversation, before, limit, search.as_deref()))
    }

    /// Everything in the conversation counts as read.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn mark_read(&self, conversation: ConversationId) -> Result<(), Error> {
        self.command(Command::MarkRead(conversation)).map(|_| ())
    }

    /// The message with this number.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there is none.
    pub fn message(&self, conversation: ConversationId, number: u64) -> Result<Message, Error> {
        self.look(move |query| query.message_numbered(conversation, number))?
            .ok_or_else(|| Error::BadInput(format!("there is no message {number} here")))
    }

    /// The own message with this id; none when it is not here (any more).
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn sent_message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>, Error> {
        self.look(move |query| query.sent_message(conversation, id))
    }

    /// How many devices of others a message in this conversation can be delivered to.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn devices_of_others(&self, conversation: ConversationId) -> Result<usize, Error> {
        self.look(move |query| query.devices_of_others(conversation))
    }

    /// How long messages stay from now on; none for ever. All members see it.
    ///
    /// # Errors
    /// As [`Self::invite`].
    pub fn set_expiry(&self, conversation: ConversationId, after: Option<Duration>) -> Result<WishId, Error> {
        self.change(conversation, WishKind::SetExpiry { after: after.map(|after| after.as_millis() as u64) })
    }

    /// Tells those who are online that the user is typing. To be called at most every few seconds.
    ///
    /// # Errors
    /// The client was closed.
    pub fn typing(&self, conversation: ConversationId) -> Result<(), Error> {
        self.command(Command::Typing(conversation)).map(|_| ())
    }

    /// Who is typing.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn who_is_typing(&self, conversation: ConversationId) -> Result<Vec<Contact>, Error> {
        let who = self.shared().typing(conversation);
        if who.is_empty() {
            return Ok(vec![]);
        }
        self.look(move |query| who.iter().map(|who| query.view(*who)).collect())
    }

    /// Somebody's message is on the screen: they are not typing it any more.
    pub fn has_spoken(&self, conversation: ConversationId, who: IdentityId) {
        self.shared().has_spoken(conversation, who);
    }

    /// Whether to send receipts, and to show others that the user is typing.
    ///
    /// # Errors
    /// The client was closed, or its database cannot be written.
    pub fn tell_others(&self, tell: bool) -> Result<(), Error> {
        self.command(Command::TellOthers(tell)).map(|_| ())
    }

    /// Whether it does.
    ///
    /// # Errors
    /// As [`Self::whoami`].
    pub fn tells_others(&self) -> Result<bool, Error> {
        self.look(|query| query.tells_others())
    }

    /// No signals for a conversation, and no part in what is counted as unread elsewhere.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there is no such conversation.
    pub fn mute(&self, conversation: ConversationId, is_muted: bool) -> Result<(), Error> {
        self.command(Command::Mute { conversation, is_muted }).map(|_| ())
    }
}
