//! A bot that answers every message with its text, on the Rust API.
//!
//! ```sh
//! cargo run -p qpq-client --example echo -- ~/bot 127.0.0.1:7000 echo
//! ```
//!
//! The password comes from `QPQ_PASSWORD`. The account is registered when there is none yet. Events come from a queue on disk,
//! and one is acknowledged when its answer is stored: a bot that is killed misses nothing.

use std::time::Duration;

use qpq_client::{Body, Client, EventKind, Options, SecretString};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(home), Some(server), Some(name)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: echo DIRECTORY HOST:PORT NAME".into());
    };
    let options = Options { home: home.into(), server: Some(server.parse()?), ca_cert: None, fingerprint: None };
    let password = SecretString::new(std::env::var("QPQ_PASSWORD")?);
    let client = if Client::exists(&options.home) {
        Client::open(&options, &password)?
    } else {
        Client::register(&options, &name.parse()?, &password, None)?
    };
    client.connect();
    let mut events = client.events("echo")?;
    loop {
        let Some(event) = events.next(Duration::from_secs(60))? else { continue };
        if let EventKind::Message(message) = &event.kind
            && let Body::Text(text) = &message.content.body
            && !message.sender.is_self
        {
            // Stored when this returns, and sent as soon as there is a connection.
            client.send_text(message.conversation, text)?;
        }
        events.acknowledge()?;
    }
}
