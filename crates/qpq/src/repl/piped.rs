//! The REPL without a terminal: lines from standard input, one after the other.

use std::io::{self, BufRead as _, Read as _};
use std::sync::Arc;

use qpq_client::{Client, Error, limits};

use super::feed::Feed;
use super::printer::Printer;
use super::session::Session;
use super::shared::Shared;
use crate::context::Ctx;
use crate::exit::{self, Failure};

/// Reads until the end of the input or `/quit`, and then waits until everything has been sent.
pub fn run(ctx: &mut Ctx, client: &Client, shared: Arc<Shared>) -> Result<(), Failure> {
    ctx.begin();
    ctx.connect_within(ctx.timeout())?;
    ctx.session = Some(Session::new(Arc::clone(&shared), false));
    let feed = Feed::start(client, &shared, &ctx.output, Printer::Plain(ctx.output.clone()))?;
    let commands = read(ctx, &feed);
    let settled = settle(ctx, client);
    let printed = feed.finish();
    commands.and(settled).and(printed)
}

/// The first failure decides about the exit code; every one is told at once.
fn read(ctx: &mut Ctx, feed: &Feed) -> Result<(), Failure> {
    let mut outcome = Ok(());
    let mut input = io::stdin().lock();
    while let Some(line) = next_line(&mut input)? {
        if feed.has_ended() {
            break;
        }
        if let Err(failure) = super::execute(ctx, &line) {
            if failure.is_closed_pipe() {
                return Err(failure);
            }
            exit::complain(&failure.text().unwrap_or_default());
            outcome = outcome.and(Err(Failure::Told(failure.code())));
        }
        if ctx.session.as_ref().is_some_and(|session| session.quit) {
            break;
        }
    }
    outcome
}

fn next_line(input: &mut impl io::BufRead) -> Result<Option<String>, Failure> {
    let mut line = Vec::new();
    let read = input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
    read.map_err(|error| Failure::Refused(format!("cannot read standard input: {error}")))?;
    if line.is_empty() {
        return Ok(None);
    }
    let line = String::from_utf8(line).map_err(|_| Failure::Refused("standard input is not UTF-8 text".into()))?;
    Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
}

fn settle(ctx: &mut Ctx, client: &Client) -> Result<(), Failure> {
    ctx.begin();
    match ctx.wait("sending", |slice| client.wait_settled(slice)) {
        Err(Failure::Client(Error::Offline(_) | Error::TimedOut(_))) => {
            let waiting = client.status()?.waiting;
            if waiting == 0 {
                return Ok(());
            }
            Err(Failure::Offline(format!("{waiting} still to be sent; stored, and goes out with the next connection")))
        }
        outcome => outcome,
    }
}

/// A command with the longest text, and some room.
const LONGEST_LINE: u64 = limits::TEXT as u64 + 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_the_input() {
        let mut input = io::Cursor::new(b"one\r\n\ntwo".to_vec());
        let mut lines = Vec::new();
        while let Ok(Some(line)) = next_line(&mut input) {
            lines.push(line);
        }
        assert_eq!(lines, ["one", "", "two"]);
        assert!(next_line(&mut io::Cursor::new(vec![0xff, b'\n'])).is_err());
    }
}
