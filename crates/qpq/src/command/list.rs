//! `qpq list`

use clap::Args;
use qpq_client::Conversation;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::table::Table;
use crate::view::time::Clock;
use crate::view::{content, conversation, json};

/// List the conversations, the most recently used first.
#[derive(Args)]
pub struct List {}

impl List {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let conversations = ctx.client()?.conversations()?;
        if let Some(session) = &mut ctx.session {
            session.listed = conversations.iter().map(|conversation| conversation.id).collect();
        }
        if ctx.output.json {
            return conversations.iter().try_for_each(|one| ctx.output.line(&json::line(&json::conversation(one))));
        }
        if conversations.is_empty() {
            return ctx.output.line("no conversations yet; begin one with /dm @user or /create-group NAME");
        }
        let mut table = Table::new(&[">#", "conversation", ">unread", "last", "message"]);
        let clock = Clock::system();
        for (number, one) in (1..).zip(&conversations) {
            table.row(row(number, one, &clock));
        }
        ctx.output.line(&table.render(ctx.output.theme, ctx.output.width()))
    }
}

fn row(number: usize, one: &Conversation, clock: &Clock) -> [String; 5] {
    let unread = if one.unread == 0 { String::new() } else { one.unread.to_string() };
    let state = conversation::state(one.state);
    let state = if state.is_empty() { String::new() } else { format!("({state}) ") };
    let last = one.last.as_ref();
    [
        number.to_string(),
        conversation::label(one),
        unread,
        last.map(|message| clock.short(message.received_at)).unwrap_or_default(),
        format!("{state}{}", last.map(|message| content::preview(&message.content)).unwrap_or_default()),
    ]
}
