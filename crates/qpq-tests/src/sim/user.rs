//! The users: what they do, to whom, and when.

use anyhow::Result;
use qpq_core::engine::{Answer, Command, Effect, Input};
use qpq_core::store::Store as _;
use qpq_core::store::rows::{ContactRow, ConversationRow, GroupRow, Row as _, WishKind};
use qpq_core::view::{ConversationId, ConversationState};
use qpq_proto::content::Body;
use qpq_proto::ids::IdentityId;
use qpq_trust::suite::Suite;

use super::agenda::{Event, SECOND};
use super::world::World;

/// A group that is being made.
pub struct NextGroup {
    number: u64,
    members: Vec<IdentityId>,
    suite: u16,
}

impl NextGroup {
    /// The command that makes it.
    pub fn command(&self) -> Command {
        let (members, suite) = (self.members.clone(), self.suite);
        Command::CreateGroup { name: format!("group {}", self.number), members, suite }
    }

    /// The engine goes through its groups in the order of their ids. So that this order repeats, groups are made again until
    /// their random ids are in the order of their numbers.
    pub fn fits(&self, effects: &[Effect]) -> bool {
        effects.iter().all(|effect| match effect {
            Effect::Answer(Answer::Conversation { id: ConversationId::Group(group), .. }) => {
                u64::from(group.0[0] >> 5) == self.number % 8
            }
            _ => true,
        })
    }
}

impl World {
    /// Somebody does something, or several do at once, or something breaks.
    pub(super) fn act(&mut self) -> Result<()> {
        self.actions += 1;
        self.harm()?;
        let at_once = if self.random.chance(250) { self.random.between(2, 3) } else { 1 };
        for _ in 0..at_once {
            let index = self.random.below(self.devices.len() as u64) as usize;
            if self.devices[index].is_up {
                self.do_something(index)?;
            }
        }
        if self.actions < self.plan.actions {
            let is_burst = self.random.chance(500);
            let most = if is_burst { SECOND / 5 } else { self.plan.pause };
            let pause = self.random.below(most);
            self.agenda.after(pause, Event::Act);
        } else {
            self.heal();
        }
        Ok(())
    }

    /// Faults that are not bound to a message or a transaction.
    fn harm(&mut self) -> Result<()> {
        let index = self.random.below(self.devices.len() as u64) as usize;
        if self.random.chance(self.plan.cuts)
            && let Some(link) = self.devices[index].link
        {
            self.network.borrow_mut().cut(link, SECOND);
        }
        if self.random.chance(self.plan.absences)
            && let Some(link) = self.devices[index].link
        {
            self.devices[index].away_until = self.agenda.micros() + self.random.below(90 * SECOND);
            self.tell_of(index, format_args!("goes offline"));
            self.agenda.after(0, Event::CutAtDevice(link));
            self.agenda.after(SECOND, Event::CutAtServer(link));
        }
        if self.random.chance(self.plan.crashes) {
            let soon = self.random.below(2 * SECOND);
            self.agenda.after(soon, Event::ServerCrash);
        }
        self.set_back(index)
    }

    fn do_something(&mut self, index: usize) -> Result<()> {
        let conversations = self.conversations(index)?;
        let other = self.somebody_else(index);
        let chosen = self.random.pick(&conversations).copied();
        match (self.random.below(100), chosen) {
            (0..58, Some(id)) => self.send(index, id),
            (58..63, Some(id)) => self.change(index, id, WishKind::Rename { name: format!("name {}", self.actions) }),
            (63..71, Some(id)) => {
                self.meet(index, other)?;
                self.change(index, id, WishKind::Add { who: vec![other] })
            }
            (71..76, Some(id)) => self.change(index, id, WishKind::Remove { who: other }),
            (76..79, Some(id)) => self.change(index, id, WishKind::Leave),
            (79..82, Some(id)) => {
                let is_admin = self.random.chance(700);
                self.change(index, id, WishKind::SetAdmin { who: other, is_admin })
            }
            (82..87, Some(id)) => self.change(index, id, WishKind::UpdateKey),
            (87, Some(id)) if self.plan.receipts => self.react(index, id),
            (87..89, Some(id)) => self.command(index, "marks as read", Command::MarkRead(id)).map(|_| ()),
            (89..93, _) => {
                self.meet(index, other)?;
                if self.command(index, "opens a direct conversation", Command::Direct(other))?.is_some() {
                    self.send(index, ConversationId::Direct(other))?;
                }
                Ok(())
            }
            (_, chosen) => match self.groups < self.plan.groups {
                true => self.create_group(index),
                false => chosen.map_or(Ok(()), |id| self.send(index, id)),
            },
        }
    }

    /// Writes a message.
    pub(super) fn send(&mut self, index: usize, conversation: ConversationId) -> Result<()> {
        self.texts += 1;
        let text = format!("message {}", self.texts);
        let what = format!("writes {text} to {}", self.conversation_name(index, conversation)?);
        self.oracle.writing = Some(text.clone());
        let (body, fallback) = (Body::Text(text), String::new());
        self.command(index, &what, Command::Send { conversation, body, fallback, in_reply_to: None, key: None })?;
        self.oracle.writing = None;
        Ok(())
    }

    /// Reacts to one of the newest messages, if there is any.
    fn react(&mut self, index: usize, conversation: ConversationId) -> Result<()> {
        let newest = self.devices[index].store.messages(conversation, None, 10, None)?;
        let Some(number) = self.random.pick(&newest).map(|row| row.number) else { return Ok(()) };
        let (emoji, removed) = ("👍".to_owned(), self.random.chance(300));
        self.command(index, "reacts", Command::React { conversation, number, emoji, removed }).map(|_| ())
    }

    fn change(&mut self, index: usize, conversation: ConversationId, kind: WishKind) -> Result<()> {
        let what = match &kind {
            WishKind::Add { who } => format!("adds {} to", self.name_of(who[0])),
            WishKind::Remove { who } => format!("removes {} from", self.name_of(*who)),
            WishKind::SetAdmin { who, is_admin } => format!("sets admin {is_admin} of {} in", self.name_of(*who)),
            WishKind::Rename { name } => format!("gives the name {name:?} to"),
            WishKind::Leave => "leaves".into(),
            _ => "refreshes the key in".into(),
        };
        let what = format!("{what} {}", self.conversation_name(index, conversation)?);
        self.command(index, &what, Command::Change { conversation, kind })?;
        Ok(())
    }

    fn create_group(&mut self, index: usize) -> Result<()> {
        let count = self.random.between(1, 4);
        let mut members = Vec::new();
        for _ in 0..count {
            let other = self.somebody_else(index);
            if self.knows(index, other)? {
                members.push(other);
            } else {
                self.meet(index, other)?;
            }
        }
        if members.is_empty() {
            return Ok(());
        }
        self.groups += 1;
        let suite = if self.random.chance(500) { Suite::Hybrid } else { Suite::Classic }.number();
        let next = NextGroup { number: self.groups, members, suite };
        let command = next.command();
        self.next_group = Some(next);
        self.command(index, "creates a group", command)?;
        self.next_group = None;
        Ok(())
    }

    /// Asks the directory for somebody whom this user does not know yet.
    pub(super) fn meet(&mut self, index: usize, other: IdentityId) -> Result<()> {
        if self.knows(index, other)? {
            return Ok(());
        }
        let who = self.devices.iter().find(|device| device.account.identity == other);
        let Some(name) = who.map(|device| device.account.name.clone()) else { return Ok(()) };
        let what = format!("looks {name} up");
        self.command(index, &what, Command::LookUp(name))?;
        Ok(())
    }

    fn knows(&self, index: usize, other: IdentityId) -> Result<bool> {
        Ok(ContactRow::load(&self.devices[index].store, &other)?.is_some_and(|contact| contact.name.is_some()))
    }

    fn command(&mut self, index: usize, what: &str, command: Command) -> Result<Option<Answer>> {
        self.tell_of(index, format_args!("{what}"));
        self.step(index, Input::Command(command))
    }

    /// What this user could write to.
    pub(super) fn conversations(&self, index: usize) -> Result<Vec<ConversationId>> {
        let store = &self.devices[index].store;
        let mut open = Vec::new();
        for row in ConversationRow::all(store)? {
            let state = match row.group {
                Some(group) => GroupRow::load(store, &group)?.map(|group| group.state),
                None => None,
            };
            // Now and then somebody tries to write where that is not possible any more.
            match state {
                Some(ConversationState::Left | ConversationState::Removed) if !self.actions.is_multiple_of(8) => {}
                _ => open.push(row.id),
            }
        }
        Ok(open)
    }

    fn somebody_else(&mut self, index: usize) -> IdentityId {
        let mut other = self.random.below(self.devices.len() as u64 - 1) as usize;
        if other >= index {
            other += 1;
        }
        self.devices[other].account.identity
    }

    /// Who that is, for the trace.
    pub(super) fn name_of(&self, identity: IdentityId) -> String {
        let device = self.devices.iter().find(|device| device.account.identity == identity);
        device.map_or_else(|| "nobody".into(), |device| device.account.name.to_string())
    }

    fn conversation_name(&self, index: usize, id: ConversationId) -> Result<String> {
        Ok(match id {
            ConversationId::Direct(with) => self.name_of(with),
            ConversationId::Group(group) => match GroupRow::load(&self.devices[index].store, &group)? {
                Some(row) => format!("{:?}", row.name),
                None => "a group in the making".into(),
            },
        })
    }
}
