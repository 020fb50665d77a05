//! One participant of the tour, and what it sees.

use std::time::{Duration, Instant};

use qpq_client::{Body, Client, Contact, Event, EventKind, EventStream, IdentityId};
use serde::Serialize;

use crate::context::Ctx;
use crate::exit::Failure;
use crate::view::wrap::pad;
use crate::view::{content, conversation, event, people};

pub struct Side {
    pub name: &'static str,
    pub client: Client,
    pub identity: IdentityId,
    events: EventStream,
}

/// What the tour prints with `--json`.
#[derive(Serialize)]
pub struct StepLine<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub side: Option<&'a str>,
    pub text: &'a str,
}

impl Side {
    pub fn new(name: &'static str, client: Client) -> Result<Self, Failure> {
        let events = client.events("tour")?;
        let identity = client.whoami()?.identity;
        Ok(Self { name, client, identity, events })
    }

    /// Shows everything that this side sees until it is what was expected.
    pub fn expect(&mut self, ctx: &Ctx, what: &str, is_it: impl Fn(&Event) -> bool) -> Result<Event, Failure> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if ctx.signals.ended() {
                return Err(Failure::Refused("the tour was interrupted".into()));
            }
            let Some(event) = self.events.next(LOOK)? else { continue };
            self.events.acknowledge()?;
            if let Some(seen) = seen(&event) {
                self.say(ctx, &format!("sees {seen}"))?;
            }
            if is_it(&event) {
                return Ok(event);
            }
        }
        Err(Failure::Refused(format!("it did not work: {} was to see {what}, and did not", self.name)))
    }

    /// The same for a text message.
    pub fn expect_text(&mut self, ctx: &Ctx, wanted: &str) -> Result<Event, Failure> {
        self.expect(ctx, &format!("the message {wanted:?}"), |event| match &event.kind {
            EventKind::Message(message) => matches!(&message.content.body, Body::Text(text) if text == wanted),
            _ => false,
        })
    }

    /// Finds somebody in the directory.
    pub fn find(&self, name: &str) -> Result<Contact, Failure> {
        let name = name.parse().map_err(|error| Failure::Refused(format!("{error}")))?;
        Ok(self.client.resolve(&name, PATIENCE)?)
    }

    /// A line about this side.
    pub fn say(&self, ctx: &Ctx, text: &str) -> Result<(), Failure> {
        let line = format!("     {} {text}", ctx.output.theme.person(self.identity, &pad(self.name, 6)));
        ctx.output.show(&StepLine { kind: "seen", side: Some(self.name), text }, &line)
    }
}

fn seen(event: &Event) -> Option<String> {
    let place = event.conversation.as_ref().map(conversation::label).unwrap_or_default();
    match &event.kind {
        EventKind::Message(message) => {
            let text = content::preview(&message.content);
            Some(format!("{place}  {}: {text}", people::name(&message.sender)))
        }
        _ => event::sentence(event).map(|sentence| format!("{place}  — {sentence} —")),
    }
}

/// Debug builds are slow, and a tour that hangs has to end.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
