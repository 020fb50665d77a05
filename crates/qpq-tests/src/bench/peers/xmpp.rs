//! As much of XMPP as it takes to register (XEP-0077), log in (RFC 6120), and send messages whose acceptance the server
//! acknowledges (XEP-0198). What the servers send is looked through for what is waited for, not parsed.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A client that is online.
pub struct XmppClient {
    stream: TcpStream,
    /// What came and was not asked for yet.
    text: String,
    sent: u32,
}

const OPEN: &str = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
                    xmlns:stream='http://etherx.jabber.org/streams'>";

impl XmppClient {
    pub async fn connect(address: SocketAddr, name: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, text: String::new(), sent: 0 };
        client.ask(OPEN, "</stream:features>").await?;
        let register = format!(
            "<iq type='set' id='register'><query xmlns='jabber:iq:register'><username>{name}</username>\
             <password>password</password></query></iq>"
        );
        client.result(&register, "register").await?;
        let plain = BASE64_STANDARD.encode(format!("\0{name}\0password"));
        let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
        client.ask(&auth, "<success").await?;
        client.text.clear();
        client.ask(OPEN, "</stream:features>").await?;
        let bind = "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource>\
                    </bind></iq>";
        client.result(bind, "bind").await?;
        client.write("<presence/>").await?;
        client.ask("<enable xmlns='urn:xmpp:sm:3'/>", "<enabled").await?;
        Ok(client)
    }

    pub async fn send(&mut self, to: &str, text: &str) -> Result<()> {
        self.sent += 1;
        let id = self.sent;
        let message = format!(
            "<message to='{to}@localhost/bench' type='chat' id='m{id}'><body>{text}</body></message>\
             <r xmlns='urn:xmpp:sm:3'/>"
        );
        self.write(&message).await
    }

    /// The server counts the stanzas that it has taken: our presence, and the messages.
    pub async fn acknowledged(&mut self) -> Result<()> {
        loop {
            let answer = self.until("<a ").await?;
            ensure!(!answer.contains("<stream:error"), "{answer}");
            let attributes = self.until(">").await?;
            let count: u32 = attribute(&attributes, "h")?.parse()?;
            if count >= self.sent {
                return Ok(());
            }
        }
    }

    pub async fn receive(&mut self) -> Result<usize> {
        self.until("<body>").await?;
        let body = self.until("</body>").await?;
        self.until("</message>").await?;
        Ok(body.len() - "</body>".len())
    }

    /// Sends a request, and waits for the result with this id.
    async fn result(&mut self, request: &str, id: &str) -> Result<()> {
        self.write(request).await?;
        let answer = loop {
            self.until("<iq ").await?;
            let attributes = self.until(">").await?;
            if attribute(&attributes, "id")? == id {
                break attributes;
            }
        };
        ensure!(attribute(&answer, "type")? == "result", "{id} was refused: {answer}{}", self.text);
        Ok(())
    }

    async fn ask(&mut self, request: &str, answer: &str) -> Result<()> {
        self.write(request).await?;
        self.until(answer).await?;
        Ok(())
    }

    async fn write(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.write_all(text.as_bytes()).await?)
    }

    /// Takes everything up to and including `end`.
    async fn until(&mut self, end: &str) -> Result<String> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.text[searched..].find(end) {
                let rest = self.text.split_off(searched + at + end.len());
                return Ok(std::mem::replace(&mut self.text, rest));
            }
            // All of it is ASCII.
            searched = self.text.len().saturating_sub(end.len());
            let mut buf = [0; 8 * 1024];
            let read = self.stream.read(&mut buf).await?;
            ensure!(read > 0, "the server hung up instead of {end}: {}", self.text);
            self.text.push_str(std::str::from_utf8(&buf[..read])?);
        }
    }
}

/// The value of an attribute in either kind of quotes.
fn attribute<'a>(attributes: &'a str, name: &str) -> Result<&'a str> {
    let found = ['\'', '"'].iter().find_map(|quote| {
        let (_, value) = attributes.split_once(&format!("{name}={quote}"))?;
        value.split_once(*quote).map(|(value, _)| value)
    });
    found.with_context(|| format!("no {name} in {attributes}"))
}
