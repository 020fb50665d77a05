//! The user's commands: checked, turned into wishes, answered at once.

use std::time::Duration;

use qpq_proto::account::UserName;
use qpq_proto::content::{Body, Content};
use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{GroupId, IdentityId, MessageId};
use qpq_proto::limits;
use qpq_trust::suite::Suite;

use super::ctx::Ctx;
use super::send_key;
use super::{Answer, Command, Effect};
use crate::error::Error;
use crate::request::{Purpose, Request};
use crate::store::rows::{
    ContactRow, ConversationRow, MessageRow, OutboxRow, Row as _, TransferRow, WishKind, WishRow, number, set_number,
};
use crate::view::{ConversationId, ConversationState, MessageStatus, Trust};

impl Ctx<'_> {
    pub(super) fn command(&mut self, command: Command) -> Result<(), Error> {
        let answer = match command {
            Command::LookUp(name) => self.look_up(name)?,
            Command::Direct(identity) => self.direct(identity)?,
            Command::CreateGroup { name, members, suite } => self.create_group(name, members, suite)?,
            Command::Send { conversation, body, fallback, in_reply_to, key } => {
                self.send(conversation, body, fallback, in_reply_to, key.as_deref())?
            }
            Command::React { conversation, number, emoji, removed } => {
                self.react(conversation, number, emoji, removed)?
            }
            Command::Edit { conversation, number, text } => self.edit(conversation, number, text)?,
            Command::TakeBack { conversation, number } => self.take_back(conversation, number)?,
            Command::Change { conversation, kind } => self.change(conversation, kind)?,
            Command::Mend(conversation) => self.mend(conversation)?,
            Command::SetTrust { identity, trust } => self.set_trust(identity, trust)?,
            Command::ImportContact { name, identity } => self.import_contact(name, identity)?,
            Command::Accept(conversation) => self.accept(conversation)?,
            Command::Block { identity, is_blocked } => self.block(identity, is_blocked)?,
            Command::Mute { conversation, is_muted } => self.mute(conversation, is_muted)?,
            Command::TellOthers(tell) => self.set_telling(tell)?,
            Command::Typing(conversation) => self.typing(conversation)?,
            Command::Transfer(row) => self.transfer(&row)?,
            Command::History(step) => self.history(step)?,
            Command::MarkRead(conversation) => self.mark_read(conversation)?,
            Command::Devices(change) => self.change_devices(change)?,
            Command::MoveConsumer { consumer, position } => {
                let name = format!("consumer {consumer}");
                // Also stored when it is 0: the consumer is known from now on. Never back: what was dealt with stays so.
                let position = position.max(number(self.store, &name)?);
                set_number(self.store, &name, position)?;
                Answer::Done
            }
        };
        self.effect(Effect::Answer(answer));
        Ok(())
    }

    fn look_up(&mut self, name: UserName) -> Result<Answer, Error> {
        if !self.connection.online {
            return Ok(Answer::Offline);
        }
        // A question that is already on its way is asked anew: its answer may have been lost with a connection.
        for row in OutboxRow::all(self.store)? {
            if row.purpose == Purpose::LookUp(name.clone()) {
                OutboxRow::delete(self.store, &row.id)?;
            }
        }
        self.request(Request::ByName(name.clone()), Purpose::LookUp(name))?;
        Ok(Answer::Done)
    }

    fn direct(&mut self, identity: IdentityId) -> Result<Answer, Error> {
        let id = ConversationId::Direct(identity);
        if identity != self.account.identity && ContactRow::load(self.store, &identity)?.is_none() {
            return Err(Error::BadInput("this identity is not known here; look up its name first".into()));
        }
        if ConversationRow::load(self.store, &id)?.is_none() {
            self.know(identity)?;
        }
        self.conversation(id)?.save(self.store)?;
        self.ensure_started(id)?;
        Ok(Answer::Conversation { id, wish: None })
    }

    /// A direct conversation that could not be made before is tried again whenever somebody wants it.
    pub(super) fn ensure_started(&mut self, id: ConversationId) -> Result<(), Error> {
        let ConversationId::Direct(with) = id else { return Ok(()) };
        let expected = self.conversation(id)?.expects.is_some();
        if self.group_of(id)?.is_none() && !expected && !self.is_starting(id)? {
            let members = if with == self.account.identity { vec![] } else { vec![with] };
            let suite = Suite::Hybrid.number();
            self.wish(id, WishKind::Start { suite, name: String::new(), members }, Duration::ZERO)?;
        }
        Ok(())
    }

    fn create_group(&mut self, name: String, members: Vec<IdentityId>, suite: u16) -> Result<Answer, Error> {
        check_group_name(&name)?;
        Suite::try_from(suite)?;
        let mut group = [0; 16];
        getrandom::fill(&mut group)?;
        let id = ConversationId::Group(GroupId(group));
        self.conversation(id)?.save(self.store)?;
        let members = self.others(members)?;
        let wish = self.wish(id, WishKind::Start { suite, name, members }, Duration::ZERO)?;
        Ok(Answer::Conversation { id, wish: Some(wish) })
    }

    fn send(
        &mut self,
        id: ConversationId,
        body: Body,
        fallback: String,
        in_reply_to: Option<u64>,
        key: Option<&str>,
    ) -> Result<Answer, Error> {
        let message = match key {
            Some(key) => send_key::message_id(&self.account, id, key)?,
            None => MessageId(random()?),
        };
        if key.is_some()
            && let Some(stored) = self.store.message(id, self.account.identity, message)?
        {
            return Ok(Answer::Message { id: message, number: stored.number });
        }
        let mut conversation = self.existing(id)?;
        let in_reply_to = in_reply_to.map(|number| self.quoted(id, number)).transpose()?;
        let content = Content { id: message, sent_at: self.now, in_reply_to, expires_after: None, fallback, body };
        let text = content.text().to_owned();
        check_text(&text)?;
        self.take_up(&mut conversation)?;
        self.ensure_started(id)?;
        for blob in content.blobs() {
            TransferRow::delete(self.store, &blob)?;
        }
        conversation.last_number += 1;
        conversation.last_activity = self.now;
        conversation.save(self.store)?;
        self.store.insert_message(&MessageRow {
            conversation: id,
            number: conversation.last_number,
            id: content.id,
            seq: None,
            sender: self.account.identity,
            device: self.account.device,
            sent_at: self.now,
            received_at: self.now,
            status: MessageStatus::Waiting,
            held: false,
            expires_at: None,
            text,
            content: content.encode(),
        })?;
        self.wish(id, WishKind::Send { message: content.id }, Duration::ZERO)?;
        Ok(Answer::Message { id: content.id, number: conversation.last_number })
    }

    /// Those that nobody went on with are forgotten, too: the server has forgotten them before.
    fn transfer(&mut self, row: &TransferRow) -> Result<Answer, Error> {
        self.existing(row.conversation)?;
        for other in TransferRow::all(self.store)? {
            if self.now.since(other.begun) > TRANSFERS_KEPT {
                TransferRow::delete(self.store, &other.blob)?;
            }
        }
        TransferRow { begun: self.now, ..row.clone() }.save(self.store)?;
        Ok(Answer::Done)
    }

    fn change(&mut self, id: ConversationId, kind: WishKind) -> Result<Answer, Error> {
        self.existing(id)?;
        let direct = matches!(id, ConversationId::Direct(_));
        let kind = match kind {
            WishKind::Add { who } => WishKind::Add { who: self.others(who)? },
            WishKind::Remove { who } if who == self.account.identity => WishKind::Leave,
            WishKind::Rename { name } => {
                check_group_name(&name)?;
                WishKind::Rename { name }
            }
            WishKind::SetExpiry { after: Some(after) } if !(1000..=limits::EXPIRY_MS).contains(&after) => {
                return Err(Error::BadInput("messages can stay between a second and a year".into()));
            }
            WishKind::Start { .. }
            | WishKind::Send { .. }
            | WishKind::RemoveLeavers
            | WishKind::Rejoin
            | WishKind::Annotate { .. }
            | WishKind::Receipt { .. }
            | WishKind::RemoveOwn { .. }
            | WishKind::Tell { .. } => {
                return Err(Error::BadInput("this is not a change of a group".into()));
            }
            kind @ (WishKind::Remove { .. }
            | WishKind::Leave
            | WishKind::SetAdmin { .. }
            | WishKind::SetExpiry { .. }
            | WishKind::UpdateKey) => kind,
        };
        if direct && !matches!(kind, WishKind::UpdateKey | WishKind::SetExpiry { .. }) {
            return Err(Error::BadInput("a direct conversation has no members, name or roles to change".into()));
        }
        Ok(Answer::Wish(self.wish(id, kind, Duration::ZERO)?))
    }

    /// A conversation that can be written to.
    pub(super) fn existing(&mut self, id: ConversationId) -> Result<ConversationRow, Error> {
        let row = ConversationRow::load(self.store, &id)?
            .ok_or_else(|| Error::BadInput("there is no such conversation".into()))?;
        if let ConversationId::Direct(identity) = id {
            self.may_write_to(identity)?;
        }
        match self.group_of(id)?.map(|group| group.state) {
            Some(ConversationState::Left) => Err(Error::BadInput("you left this group".into())),
            Some(ConversationState::Removed) => Err(Error::BadInput("you were removed from this group".into())),
            Some(ConversationState::Starting | ConversationState::Active | ConversationState::Broken) => Ok(row),
            None if self.is_starting(id)? || matches!(id, ConversationId::Direct(_)) => Ok(row),
            None => Err(Error::BadInput("this group could not be created".into())),
        }
    }

    /// Whether the user has decided against writing to somebody, or has to decide first.
    fn may_write_to(&mut self, identity: IdentityId) -> Result<(), Error> {
        let contact = self.contact(identity)?;
        let name = contact.name.as_ref().map_or_else(|| identity.short(), ToString::to_string);
        if contact.trust == Trust::Rejected {
            return Err(Error::BadInput("you rejected this identity; trust it again to write to it".into()));
        }
        if contact.is_blocked {
            return Err(Error::BadInput(format!("you blocked @{name}; /unblock @{name} first")));
        }
        if contact.replaced_by.is_some() {
            return Err(Error::BadInput(format!(
                "the identity behind @{name} changed, and nothing is sent until you decide: compare safety numbers (verify \
                 @{name}), then trust @{name} verified, unverified or rejected"
            )));
        }
        Ok(())
    }

    fn is_starting(&self, id: ConversationId) -> Result<bool, Error> {
        let start = |wish: &WishRow| wish.conversation == id && matches!(wish.kind, WishKind::Start { .. });
        Ok(WishRow::all(self.store)?.iter().any(start))
    }

    /// Without oneself and without duplicates; all must be known.
    fn others(&mut self, mut who: Vec<IdentityId>) -> Result<Vec<IdentityId>, Error> {
        who.sort_unstable();
        who.dedup();
        who.retain(|identity| *identity != self.account.identity);
        for identity in &who {
            match ContactRow::load(self.store, identity)? {
                Some(contact) if contact.trust == Trust::Rejected => {
                    return Err(Error::BadInput("you rejected this identity; trust it again to add it".into()));
                }
                Some(contact) if contact.is_blocked => {
                    return Err(Error::BadInput("you blocked this identity; unblock it to add it".into()));
                }
                Some(_) => self.know(*identity)?,
                None => return Err(Error::BadInput("this identity is not known here; look up its name first".into())),
            }
        }
        Ok(who)
    }
}

/// The kind of a conversation.
pub fn kind_of(id: ConversationId) -> GroupKind {
    match id {
        ConversationId::Group(_) => GroupKind::Group,
        ConversationId::Direct(_) => GroupKind::Direct,
    }
}

/// Whether it can be sent.
pub fn check_text(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::BadInput("an empty message is not sent".into()));
    }
    if text.len() > limits::TEXT {
        return Err(Error::BadInput(format!(
            "the message is too large: {} bytes, at most {} are allowed",
            text.len(),
            limits::TEXT
        )));
    }
    Ok(())
}

fn check_group_name(name: &str) -> Result<(), Error> {
    if name.trim().is_empty() || name.len() > limits::GROUP_NAME || name.chars().any(char::is_control) {
        let limit = limits::GROUP_NAME;
        return Err(Error::BadInput(format!("a group name has 1 to {limit} bytes and no control characters")));
    }
    Ok(())
}

/// Random bytes of the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Uploads that nobody has gone on with for so long.
const TRANSFERS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
