//! `@echo`: somebody to talk with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use qpq_client::{Body, Client, Contact, ConversationId, Error, EventKind, IdentityId, Suite, UserName};

use crate::exit::Failure;

/// A running bot.
pub struct Bot {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Bot {
    /// Greets `guest`, and answers from then on.
    pub fn start(client: Client, guest: UserName) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let body = move || {
            let outcome = greet(&client, &guest).and_then(|()| serve(&client, &flag));
            client.close();
            outcome
        };
        let thread = thread::Builder::new().name("echo".into()).spawn(body);
        let thread = thread.map_err(|error| Failure::Refused(format!("the demo cannot start: {error}")))?;
        Ok(Self { stop, thread })
    }

    /// Ends it. What goes wrong with a bot is nobody's concern at the end of a demo, except for bugs.
    pub fn finish(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::SeqCst);
        match self.thread.join() {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Internal("the bot stopped".into()).into()),
        }
    }
}

/// What the bot says to a text.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Say(String),
    /// Make a group with whoever asked.
    MakeGroup,
}

pub fn answer(text: &str, sender: &str) -> Answer {
    let words = text.trim().trim_end_matches(['!', '.', '?']).to_lowercase();
    Answer::Say(match words.as_str() {
        "help" => {
            "I repeat what you say. I also know: hello, thanks, group. And try /verify, /group-info, /help".into()
        }
        "hello" | "hi" | "hey" | "good morning" | "good evening" => format!("hello @{sender}, nice to see you"),
        "thanks" | "thank you" => "you are welcome".into(),
        "bye" | "goodbye" => "see you; /quit leaves, and nothing of this demo stays on your disk".into(),
        "group" => return Answer::MakeGroup,
        _ => text.to_owned(),
    })
}

fn greet(client: &Client, guest: &UserName) -> Result<(), Error> {
    let guest = client.resolve(guest, WAIT)?;
    let conversation = client.direct(guest.identity)?;
    client.send_text(conversation, GREETING)?;
    Ok(())
}

fn serve(client: &Client, stop: &AtomicBool) -> Result<(), Error> {
    let mut events = client.events("bot")?;
    while !stop.load(Ordering::SeqCst) {
        let Some(event) = events.next(LOOK)? else { continue };
        if let EventKind::Message(message) = event.kind
            && !message.sender.is_self
            && let Body::Text(text) = &message.content.body
        {
            reply(client, message.conversation, &message.sender, text)?;
        }
        events.acknowledge()?;
    }
    Ok(())
}

fn reply(client: &Client, conversation: ConversationId, sender: &Contact, text: &str) -> Result<(), Error> {
    let name = sender.name.as_ref().map(ToString::to_string).unwrap_or_default();
    match answer(text, &name) {
        Answer::Say(text) => client.send_text(conversation, &text).map(|_| ()),
        Answer::MakeGroup => make_group(client, sender.identity),
    }
}

fn make_group(client: &Client, with: IdentityId) -> Result<(), Error> {
    let (group, _) = client.create_group("playground", &[with], Suite::Hybrid)?;
    client
        .send_text(group, "this is a group: /switch #playground, then try /members, /group-info, or say something")?;
    Ok(())
}

const GREETING: &str = "welcome! Say something, and I repeat it. `help` tells what else I know.";
const WAIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bot_knows_a_few_words_and_repeats_the_others() {
        let say = |text: &str| Answer::Say(text.into());
        assert_eq!(answer("Hello!", "you"), say("hello @you, nice to see you"));
        assert_eq!(answer("anything, really", "you"), say("anything, really"));
        assert_eq!(answer(" group ", "you"), Answer::MakeGroup);
    }
}
