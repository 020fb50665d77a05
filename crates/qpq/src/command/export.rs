//! `qpq export`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use qpq_client::{ConversationId, Message, TranscriptFile, verify_transcript};

use crate::context::Ctx;
use crate::exit::Failure;
use crate::password;
use crate::target::Target;
use crate::view::json::time::rfc3339;
use crate::view::json::{self, ExportLine};
use crate::view::{content, conversation, people, sanitize};

/// Write down a conversation: an encrypted archive that shows every change, or a plain file.
///
/// An archive proves that it is what you exported, complete and in order. It does not prove to others that the senders wrote
/// what it says: nobody keeps their signatures. Its passphrase comes from where passwords come from.
#[derive(Args)]
pub struct Export {
    /// The conversation (in the REPL the current one), and the file.
    #[arg(value_name = "@USER|#GROUP FILE", required_unless_present = "verify")]
    words: Vec<String>,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Archive)]
    format: Format,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
    /// Check an archive, and print what is in it with --json.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["words", "format", "force"])]
    verify: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Encrypted and tamper-evident.
    Archive,
    /// Plain text that anybody can read.
    Markdown,
    /// Plain objects that anybody can read, one a line.
    Json,
}

impl Export {
    pub fn run(self, ctx: &mut Ctx) -> Result<(), Failure> {
        if let Some(file) = &self.verify {
            return verify(ctx, file);
        }
        let (id, file) = match &self.words[..] {
            [file] => (ctx.current()?, file),
            [target, file] => {
                let target: Target = target.parse().map_err(Failure::Usage)?;
                (target.existing(ctx)?, file)
            }
            _ => return Err(Failure::Usage("say what and where to: #team FILE".into())),
        };
        let count = self.write(ctx, id, Path::new(file))?;
        let label = conversation::label(&ctx.conversation(id)?);
        let shown = sanitize::line(file);
        let line = ExportLine { kind: "export", file: file.clone(), messages: count };
        ctx.output.show(&line, &format!("{count} messages of {label} are in {shown}"))
    }

    fn write(&self, ctx: &mut Ctx, id: ConversationId, file: &Path) -> Result<u64, Failure> {
        let client = ctx.client()?;
        let exported = ctx.conversation(id)?;
        let mut transcript = match self.format {
            Format::Archive => {
                let passphrase = password::new(&ctx.global)?;
                TranscriptFile::sealed(file, self.force, &passphrase)?
            }
            Format::Markdown | Format::Json => TranscriptFile::plain(file, self.force)?,
        };
        if self.format == Format::Markdown {
            transcript.line(&format!("# {}\n", escaped(&conversation::label(&exported))))?;
        }
        let lines = lines_of_all(ctx, id, |message| match self.format {
            Format::Markdown => markdown(message),
            Format::Archive | Format::Json => json::message(message, &exported),
        })?;
        for line in &lines {
            transcript.line(line)?;
        }
        transcript.finish(&client)?;
        Ok(lines.len() as u64)
    }
}

/// The lines of all messages, oldest first. The history is read from its end; where it was read up to may disappear meanwhile,
/// and then it is read anew.
fn lines_of_all(ctx: &mut Ctx, id: ConversationId, line: impl Fn(&Message) -> String) -> Result<Vec<String>, Failure> {
    let client = ctx.client()?;
    'anew: loop {
        let mut lines: Vec<String> = Vec::new();
        let mut before = None;
        loop {
            let page = client.history(id, before, PAGE, None)?;
            if let Some(border) = before
                && client.message(id, border).is_err()
            {
                continue 'anew;
            }
            lines.extend(page.iter().rev().map(&line));
            match page.first() {
                Some(first) if page.len() == PAGE => before = Some(first.number),
                _ => break,
            }
        }
        lines.reverse();
        return Ok(lines);
    }
}

/// What others wrote must neither look like another entry nor do anything in a program that shows it.
fn markdown(message: &Message) -> String {
    let text = content::text(&message.content);
    let quoted: String = text.lines().map(|line| format!("> {}\n", escaped(line))).collect();
    let sender = escaped(&people::in_sentence(&message.sender));
    format!("**{sender}** {}\n\n{quoted}", rfc3339(message.received_at))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\`*_[]<>#!|~&$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn verify(ctx: &mut Ctx, file: &Path) -> Result<(), Failure> {
    let passphrase = password::existing(&ctx.global)?;
    let (lines, identity) = verify_transcript(file, &passphrase)?;
    if ctx.output.json {
        for line in &lines {
            // Whoever made the archive chose what stands in it.
            let object: serde_json::Value = serde_json::from_str(line)
                .map_err(|_| Failure::Refused("the archive holds something else than messages".into()))?;
            if object["type"] != "message" {
                return Err(Failure::Refused("the archive holds something else than messages".into()));
            }
            ctx.output.line(&json::line(&object))?;
        }
        return ctx.output.line(&json::line(&json::VerifiedLine {
            kind: "verified",
            messages: lines.len(),
            exported_by: identity.to_string(),
        }));
    }
    ctx.output.line(&format!(
        "unchanged and complete: {} messages, exported by the identity {identity}\nthat its senders wrote them rests on that \
         identity's word",
        lines.len()
    ))
}

/// Messages in memory at a time.
const PAGE: usize = 2000;
