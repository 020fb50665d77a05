//! The thread that prints what arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use qpq_client::{Client, Error, Event, EventKind, EventStream, GroupKind};

use super::printer::Printer;
use super::shared::Shared;
use crate::exit::Failure;
use crate::output::{Output, signals};
use crate::view::{content, conversation, event, json, message};

/// The running thread. It has to be told to stop before it is waited for.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), Failure>>,
}

impl Feed {
    pub fn start(client: &Client, shared: &Arc<Shared>, output: &Output, printer: Printer) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut worker = Worker {
            stream: client.events_from_now("repl")?,
            client: client.clone(),
            shared: Arc::clone(shared),
            output: output.clone(),
            printer,
            stop: Arc::clone(&stop),
            told_typing: None,
        };
        let thread = thread::Builder::new().name("events".into()).spawn(move || worker.run());
        let thread = thread.map_err(|error| Failure::Refused(format!("cannot start a thread: {error}")))?;
        Ok(Self { stop, thread })
    }

    /// Whether it has ended by itself, because of an error.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Prints what is there, and ends.
    pub fn finish(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap_or_else(|_| Err(Error::Internal("the event thread stopped".into()).into()))
    }
}

struct Worker {
    stream: EventStream,
    client: Client,
    shared: Arc<Shared>,
    output: Output,
    printer: Printer,
    stop: Arc<AtomicBool>,
    /// When the others were last told that the user is typing.
    told_typing: Option<Instant>,
}

impl Worker {
    fn run(&mut self) -> Result<(), Failure> {
        loop {
            let stopping = self.stop.load(Ordering::SeqCst);
            let events = self.batch(if stopping { Duration::ZERO } else { LOOK })?;
            if events.is_empty() && stopping {
                return Ok(());
            }
            let lines: Vec<String> = events.iter().flat_map(|event| self.lines(event)).collect();
            if !self.printer.print(&lines)? {
                return Ok(());
            }
            if self.output.is_terminal && events.iter().any(|event| self.is_worth_a_signal(event)) {
                signals::ring();
            }
            self.tell_typing()?;
            if !events.is_empty() {
                self.stream.acknowledge()?;
                self.mark_read(&events)?;
            }
            self.update_prompt()?;
        }
    }

    /// Waits for an event, and takes what has come with it.
    fn batch(&mut self, timeout: Duration) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        let mut next = self.stream.next(timeout)?;
        while let Some(event) = next {
            events.push(event);
            next = if events.len() < BATCH { self.stream.next(Duration::ZERO)? } else { None };
        }
        Ok(events)
    }

    fn lines(&self, event: &Event) -> Vec<String> {
        if let (EventKind::Joined { by }, Some(group)) = (&event.kind, &event.conversation)
            && !by.is_self
        {
            self.shared.remember_joined(conversation::label(group));
        }
        if self.output.json {
            return vec![json::event(event)];
        }
        let layout = self.output.layout();
        let elsewhere = event.conversation.as_ref().filter(|place| Some(place.id) != self.shared.current());
        let label = elsewhere.map(conversation::label);
        match &event.kind {
            EventKind::Message(message) if content::is_shown(&message.content) => {
                self.client.has_spoken(message.conversation, message.sender.identity);
                let day = self.shared.new_day(message, &layout).filter(|_| self.output.is_terminal);
                day.into_iter().chain([message::row(message, label.as_deref(), &layout)]).collect()
            }
            // Marks: /info and /history show them.
            EventKind::Message(_) | EventKind::Receipt { .. } => Vec::new(),
            EventKind::Sent { message } if self.shared.take_waiting(*message) => {
                let place = event.conversation.as_ref().map(conversation::label).unwrap_or_default();
                vec![layout.theme.event(&format!("— ↑ what waited for {place} is sent —"))]
            }
            EventKind::Sent { .. } => Vec::new(),
            EventKind::NotSent { .. }
            | EventKind::Joined { .. }
            | EventKind::MemberAdded { .. }
            | EventKind::MemberRemoved { .. }
            | EventKind::Removed { .. }
            | EventKind::Left
            | EventKind::Renamed { .. }
            | EventKind::RoleChanged { .. }
            | EventKind::KeyChanged { .. }
            | EventKind::UntrustedDevice { .. }
            | EventKind::Gap { .. }
            | EventKind::DeviceAdded { .. }
            | EventKind::DeviceRemoved { .. }
            | EventKind::Refused { .. }
            | EventKind::Edited(_)
            | EventKind::Deleted(_)
            | EventKind::Reaction { .. }
            | EventKind::Request { .. }
            | EventKind::ExpiryChanged { .. } => {
                event::line(event, label.as_deref(), layout.theme).into_iter().collect()
            }
        }
    }

    /// Whether somebody at another window wants to know at once: a direct message or a mention, unless it is in front of them.
    fn is_worth_a_signal(&self, event: &Event) -> bool {
        let (EventKind::Message(message), Some(place)) = (&event.kind, &event.conversation) else {
            return matches!(event.kind, EventKind::KeyChanged { .. } | EventKind::Request { .. });
        };
        let is_mentioned = self.shared.is_mentioned(message.content.text());
        let is_elsewhere = Some(place.id) != self.shared.current();
        let is_for_me = is_mentioned || place.kind == GroupKind::Direct;
        !message.sender.is_self && !place.is_muted && is_elsewhere && is_for_me
    }

    /// Tells the others that the user is typing, and the user that others are.
    fn tell_typing(&mut self) -> Result<(), Error> {
        let Some(current) = self.shared.current() else { return Ok(()) };
        if self.told_typing.is_none_or(|told| told.elapsed() >= TYPING_AGAIN) && self.shared.take_typed() {
            self.client.typing(current)?;
            self.told_typing = Some(Instant::now());
        }
        if self.shared.set_typing(&self.client.who_is_typing(current)?) {
            self.printer.repaint();
        }
        Ok(())
    }

    /// What is on the screen in the open conversation has been read.
    fn mark_read(&self, events: &[Event]) -> Result<(), Error> {
        let Some(current) = self.shared.current() else { return Ok(()) };
        let is_here = |event: &Event| {
            matches!(event.kind, EventKind::Message(_))
                && event.conversation.as_ref().is_some_and(|place| place.id == current)
        };
        if events.iter().any(is_here) { self.client.mark_read(current) } else { Ok(()) }
    }

    fn update_prompt(&self) -> Result<(), Error> {
        if self.output.is_terminal {
            let online = self.client.status()?.online;
            if self.shared.update(&self.client.conversations()?, &self.client.contacts()?, online) {
                self.printer.repaint();
            }
        }
        Ok(())
    }
}

/// Others forget after six seconds that somebody is typing.
const TYPING_AGAIN: Duration = Duration::from_secs(3);
/// How often the prompt is brought up to date, and how soon the end is noticed.
const LOOK: Duration = Duration::from_millis(300);
/// Events printed together; afterwards the editor gets a chance.
const BATCH: usize = 200;
