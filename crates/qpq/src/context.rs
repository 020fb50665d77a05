//! What every command gets: options, output, the opened profile, and the REPL's state when there is one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use etcetera::BaseStrategy as _;
use qpq_client::{Client, Conversation, ConversationId, Error, Options};

use crate::args::Global;
use crate::command::go_on_with_history;
use crate::exit::Failure;
use crate::output::Output;
use crate::password;
use crate::repl::session::Session;
use crate::signals::Signals;
use crate::view::sanitize;
use crate::wait::Wait;

/// The surroundings of a command.
pub struct Ctx {
    pub global: Global,
    pub output: Output,
    pub signals: Signals,
    /// Only in the REPL.
    pub session: Option<Session>,
    client: Option<Client>,
    /// When the present command has waited long enough.
    deadline: Option<Instant>,
}

impl Ctx {
    pub fn new(global: Global) -> Self {
        let output = Output::new(global.json, global.quiet, global.verbose);
        Self { global, output, signals: Signals::default(), session: None, client: None, deadline: None }
    }

    /// A new command begins, with all its time.
    pub fn begin(&mut self) {
        self.deadline = Some(Instant::now() + self.whole_timeout());
    }

    /// How long the present command may still wait: all its waits together take no longer than `--timeout`.
    pub fn timeout(&self) -> Duration {
        self.deadline.map_or(self.whole_timeout(), |deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// How long a command may wait in all.
    pub fn whole_timeout(&self) -> Duration {
        self.global.timeout.unwrap_or(TIMEOUT)
    }

    pub fn home(&self) -> Result<PathBuf, Failure> {
        if let Some(home) = &self.global.home {
            return Ok(home.clone());
        }
        let strategy = etcetera::choose_base_strategy()
            .map_err(|_| Failure::Refused("there is no home directory; name one with --home or QPQ_HOME".into()))?;
        Ok(strategy.data_dir().join("qpq"))
    }

    pub fn options(&self) -> Result<Options, Failure> {
        Ok(Options {
            home: self.home()?,
            server: self.global.server.clone(),
            ca_cert: self.global.ca_cert.clone(),
            fingerprint: self.global.fingerprint,
        })
    }

    /// The opened profile; asks for the password the first time.
    pub fn client(&mut self) -> Result<Client, Failure> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let options = self.options()?;
        if !Client::exists(&options.home) {
            return Err(Error::NoProfile(options.home.display().to_string()).into());
        }
        let password = password::existing(&self.global)?;
        self.output.detail(&format!("opening the profile in {}", options.home.display()));
        let client = Client::open(&options, &password)?;
        Ok(self.adopt(client))
    }

    /// The profile, if it has been opened.
    pub fn opened(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Uses a profile that was opened elsewhere.
    pub fn adopt(&mut self, client: Client) -> Client {
        self.client = Some(client.clone());
        client
    }

    /// The profile, after giving it the time to get online and to catch up. Being offline is not an error here: much
    /// works without.
    pub fn connected(&mut self) -> Result<Client, Failure> {
        let client = self.client()?;
        if self.session.is_some() {
            // The REPL connected when it began, and reconnects by itself.
            return Ok(client);
        }
        self.begin();
        self.connect_within(self.timeout())
    }

    /// Starts to connect and waits that long.
    pub fn connect_within(&mut self, timeout: Duration) -> Result<Client, Failure> {
        let client = self.client()?;
        client.connect();
        let wait = Wait { what: "connecting", timeout, output: &self.output, signals: &self.signals };
        let online = wait.until(|| client.status().map(|status| status.online));
        let settled = online.and_then(|()| {
            // What waits for somebody else must not use up the time for what was asked now.
            let wait = Wait { what: "catching up", timeout: self.timeout().min(timeout) / 2, ..wait };
            wait.run(|slice| client.wait_settled(slice))
        });
        let status = client.status()?;
        self.output.detail(&format!("online: {}; {}", status.online, sanitize::line(&status.detail)));
        match settled {
            Ok(()) | Err(Error::Offline(_) | Error::TimedOut(_)) => {}
            Err(error) => return Err(error.into()),
        }
        go_on_with_history(self, &client)?;
        Ok(client)
    }

    /// Waits for something of the server, with a sign of life.
    pub fn wait<T>(&self, what: &str, attempt: impl FnMut(Duration) -> Result<T, Error>) -> Result<T, Failure> {
        let wait = Wait { what, timeout: self.timeout(), output: &self.output, signals: &self.signals };
        let outcome = wait.run(attempt);
        if self.session.is_some() {
            self.signals.forget_interrupt();
        }
        Ok(outcome?)
    }

    /// Asks the server something, with a sign of life.
    pub fn ask<T>(&self, question: impl FnOnce(Duration) -> Result<T, Error>) -> Result<T, Failure> {
        self.ask_for("asking the server", question)
    }

    /// The same under another name: it is somebody else for whom one waits.
    pub fn ask_for<T>(&self, what: &str, question: impl FnOnce(Duration) -> Result<T, Error>) -> Result<T, Failure> {
        let wait = Wait { what, timeout: self.timeout(), output: &self.output, signals: &self.signals };
        Ok(wait.once(question)?)
    }

    /// A conversation as the client has it now.
    pub fn conversation(&mut self, id: ConversationId) -> Result<Conversation, Failure> {
        let found = self.client()?.conversations()?.into_iter().find(|conversation| conversation.id == id);
        found.ok_or_else(|| Error::UnknownConversation("it is not in the list (any more)".into()).into())
    }

    /// The conversation on the screen.
    pub fn current(&self) -> Result<ConversationId, Failure> {
        match &self.session {
            None => Err(Failure::Usage("name the conversation: @USER or #GROUP".into())),
            Some(session) => session.current().ok_or_else(|| {
                Failure::Refused("no conversation is open; choose one with /dm @user or /switch #group".into())
            }),
        }
    }

    /// A conversation by its number in `/list`.
    pub fn numbered(&mut self, number: usize) -> Result<ConversationId, Failure> {
        let Some(session) = &self.session else {
            return Err(Failure::Usage("name the conversation: @USER or #GROUP; numbers are for the REPL".into()));
        };
        let listed = session.listed.clone();
        let listed = if listed.is_empty() { self.ids()? } else { listed };
        let found = number.checked_sub(1).and_then(|index| listed.get(index).copied());
        found.ok_or_else(|| Failure::Refused(format!("/list has no number {number}")))
    }

    fn ids(&mut self) -> Result<Vec<ConversationId>, Failure> {
        Ok(self.client()?.conversations()?.into_iter().map(|conversation| conversation.id).collect())
    }

    /// Ends the connection and releases the profile.
    pub fn close(&mut self) {
        self.session = None;
        if let Some(client) = self.client.take() {
            client.close();
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(15);
