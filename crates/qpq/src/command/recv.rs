//! `qpq recv`

use std::time::{Duration, Instant};

use clap::Args;
use qpq_client::{Client, ConversationId, Error, Event, EventKind, EventStream};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::output::Output;
use crate::view::{content, conversation, event, json, message, sanitize};

/// Print what has arrived since the last time, and then exit.
///
/// When there is nothing new it waits for --timeout (5s). An event is acknowledged after it has been printed, so
/// nothing is lost when this is killed. With --json it prints one object per message and per other event.
#[derive(Args)]
pub struct Recv {
    /// Go on until Ctrl-C or SIGTERM.
    #[arg(long)]
    follow: bool,
    /// Wait for this many messages, or until nothing has come for --timeout.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    /// Whose position is kept: several programs can read the same profile's events, each from where it was.
    #[arg(long, value_name = "NAME", default_value = "recv", conflicts_with = "after")]
    consumer: String,
    /// Begin after this `position` (of a line with --json), and leave it to the caller to keep it.
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
}

impl Recv {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let client = ctx.client()?;
        if self.follow {
            ctx.signals.listen();
        }
        let stream = match self.after {
            Some(position) => client.events_after(position),
            None => client.events(&self.consumer)?,
        };
        let mut printer = Printer::new(stream, ctx);
        client.connect();
        let offline = if self.follow { None } else { catch_up(ctx, &client)? };
        let limit = self.max.unwrap_or(u64::MAX);
        printer.drain(limit)?;
        if let Some(reason) = offline {
            return Err(Failure::Offline(format!("{reason}; only what was already here has been printed")));
        }
        let idle = ctx.global.timeout.unwrap_or(IDLE);
        let enough = |printer: &Printer| printer.messages >= limit || (self.max.is_none() && printer.printed > 0);
        let mut last = Instant::now();
        let mut connection = Connection::default();
        while !ctx.signals.ended() && (self.follow || last.elapsed() < idle) {
            if if self.follow { printer.messages >= limit } else { enough(&printer) } {
                break;
            }
            let left = if self.follow { LOOK } else { idle.saturating_sub(last.elapsed()).min(LOOK) };
            if printer.wait(left, limit)? {
                last = Instant::now();
            }
            if self.follow {
                connection.watch(&client, &ctx.output);
            }
        }
        Ok(())
    }
}

/// Takes what the server has. The reason, if the server could not be reached.
fn catch_up(ctx: &Ctx, client: &Client) -> Result<Option<String>, Failure> {
    let timeout = ctx.global.timeout.map_or(ctx.timeout(), |timeout| timeout.max(CATCH_UP));
    let what = "waiting for the server";
    let wait = crate::wait::Wait { what, timeout, output: &ctx.output, signals: &ctx.signals };
    match wait.run(|slice| client.wait_settled(slice)) {
        Ok(()) => Ok(None),
        // Something of ours may still wait to be sent although everything has been taken.
        Err(Error::TimedOut(_)) if client.status()?.online => Ok(None),
        Err(error @ (Error::Offline(_) | Error::TimedOut(_))) => Ok(Some(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Says on standard error when the connection is lost and when it is back.
#[derive(Default)]
struct Connection {
    has_been_online: bool,
    is_lost: bool,
}

impl Connection {
    fn watch(&mut self, client: &Client, output: &Output) {
        match client.offline() {
            Some(reason) if !self.is_lost && (self.has_been_online || !reason.is_empty()) => {
                self.is_lost = true;
                output.note(&format!("offline: {}; connecting again", sanitize::line(&reason)));
            }
            Some(_) => {}
            None => {
                if self.is_lost {
                    output.note("online again");
                }
                (self.has_been_online, self.is_lost) = (true, false);
            }
        }
    }
}

/// Prints the events of the consumer `recv`.
struct Printer {
    stream: EventStream,
    output: Output,
    messages: u64,
    printed: u64,
    day: Option<jiff::civil::Date>,
}

impl Printer {
    fn new(stream: EventStream, ctx: &Ctx) -> Self {
        Self { stream, output: ctx.output.clone(), messages: 0, printed: 0, day: None }
    }

    /// Everything that is there already, up to `limit` messages.
    fn drain(&mut self, limit: u64) -> Result<(), Failure> {
        while self.messages < limit && self.wait(Duration::ZERO, limit)? {}
        Ok(())
    }

    /// Waits for one event, prints it and what has come with it, and acknowledges that. Whether something came.
    fn wait(&mut self, timeout: Duration, limit: u64) -> Result<bool, Failure> {
        let mut next = self.stream.next(timeout)?;
        let came = next.is_some();
        let mut batch = 0;
        while let Some(event) = next {
            self.print(&event)?;
            batch += 1;
            let full = batch >= BATCH || self.messages >= limit;
            next = if full { None } else { self.stream.next(Duration::ZERO)? };
        }
        if came {
            self.stream.acknowledge()?;
        }
        Ok(came)
    }

    fn print(&mut self, event: &Event) -> Result<(), Failure> {
        if let EventKind::Message(_) = event.kind {
            self.messages += 1;
        }
        let lines = if self.output.json { vec![json::event(event)] } else { self.for_people(event) };
        for line in lines {
            self.printed += 1;
            self.output.line(&line)?;
        }
        Ok(())
    }

    fn for_people(&mut self, event: &Event) -> Vec<String> {
        let label = event.conversation.as_ref().map(conversation::label);
        let layout = self.output.layout();
        match &event.kind {
            EventKind::Message(message) if content::is_shown(&message.content) => {
                let day = message::new_day(&mut self.day, message, &layout).break_value();
                // In a direct conversation the sender says it all.
                let is_direct =
                    matches!(message.conversation, ConversationId::Direct(who) if who == message.sender.identity);
                let row = message::row(message, label.as_deref().filter(|_| !is_direct), &layout);
                day.into_iter().filter(|_| self.output.is_terminal).chain([row]).collect()
            }
            EventKind::Message(_) | EventKind::Receipt { .. } | EventKind::Sent { .. } | EventKind::NotSent { .. } => {
                Vec::new()
            }
            EventKind::Joined { .. }
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
}

const IDLE: Duration = Duration::from_secs(5);
/// However short the wait for news is, connecting gets this long.
const CATCH_UP: Duration = Duration::from_secs(5);
/// How soon a signal is noticed.
const LOOK: Duration = Duration::from_millis(250);
/// Events printed between two acknowledgements, each of which is a write to disk.
const BATCH: usize = 64;
