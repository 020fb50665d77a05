//! `qpq recover`

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use qpq_client::{Client, Error, SecretString};

use super::whoami;
use crate::context::Ctx;
use crate::exit::Failure;
use crate::password;
use crate::target::User;
use crate::view::count::counted;

/// Get your account back with the 24 words, into a new profile. All other devices are locked out.
///
/// The password that you give becomes the account's; the old one is not needed. The words come from the terminal, from
/// standard input, or from QPQ_RECOVERY_WORDS.
#[derive(Args)]
pub struct Recover {
    /// The registered name.
    name: User,
}

impl Recover {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        let options = ctx.options()?;
        if Client::exists(&options.home) {
            return Err(Error::ProfileExists(options.home.display().to_string()).into());
        }
        let words = words()?;
        let password = password::new(&ctx.global)?;
        let client = ctx.ask(|_| Client::recover(&options, self.name.name(), words.expose(), &password))?;
        ctx.adopt(client.clone());
        ctx.begin();
        match ctx.wait("coming into your groups", |slice| client.wait_settled(slice)) {
            Ok(()) | Err(Failure::Client(Error::Offline(_) | Error::TimedOut(_))) => {}
            Err(failure) => return Err(failure),
        }
        whoami::show(ctx, "recovered")?;
        let (groups, failed) = client.groups_joined()?;
        let groups = counted(groups as u64, "group");
        ctx.output.say(&format!("{groups} joined, {failed} failed; all other devices are locked out"))
    }
}

fn words() -> Result<SecretString, Failure> {
    if let Ok(words) = std::env::var("QPQ_RECOVERY_WORDS") {
        return Ok(SecretString::new(words));
    }
    let is_terminal = io::stdin().is_terminal();
    if is_terminal {
        // A question that cannot be shown is not answered with 24 words.
        let mut error = io::stderr();
        let _ = write!(error, "the 24 words, in one line: ").and_then(|()| error.flush());
    }
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::Refused(format!("cannot read standard input: {error}")))?;
    if line.trim().is_empty() {
        return Err(Failure::Refused("no words: type them, pipe them in, or set QPQ_RECOVERY_WORDS".into()));
    }
    Ok(SecretString::new(line))
}
