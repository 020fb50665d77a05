//! The lines of the REPL, and what the commands are called there.
//!
//! A slash command is a spelling of a command of [`Command`]: its words are put where the command line has them, and
//! the same parser reads them.

use clap::Parser;
use clap::error::ErrorKind;

use super::split;
use crate::command::Command;
use crate::view::style::Theme;
use crate::view::wrap::pad;

/// What a line means.
pub enum Line {
    Empty,
    Text(String),
    Command(Box<Command>),
}

/// How a command is written in the REPL.
pub struct Slash {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// The same on the command line.
    argv: &'static [&'static str],
    /// After this many words the rest of the line is one text.
    text_after: Option<usize>,
    pub usage: &'static str,
    pub about: &'static str,
}

/// Reads a line; the error says what to type instead.
pub fn parse(line: &str) -> Result<Line, String> {
    let line = line.trim_end_matches(['\n', '\r']);
    if line.trim().is_empty() {
        return Ok(Line::Empty);
    }
    let Some(command) = line.strip_prefix('/') else { return Ok(Line::Text(line.to_owned())) };
    if command.starts_with('/') {
        return Ok(Line::Text(command.to_owned()));
    }
    let (name, arguments) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let slash = find(name).ok_or_else(|| unknown(name))?;
    parse_command(slash, arguments).map(|command| Line::Command(Box::new(command)))
}

/// By its name or another one.
pub fn find(name: &str) -> Option<&'static Slash> {
    SLASHES.iter().find(|slash| slash.name == name || slash.aliases.contains(&name))
}

/// `/help`: everything on one screen of 80 by 24.
pub fn overview(theme: Theme) -> String {
    let mut lines = vec![theme.dim("plain text is sent; //text begins with a slash; Tab completes; /help COMMAND")];
    let rows = SLASHES.len().div_ceil(2);
    for row in 0..rows {
        let cells = [SLASHES.get(row), SLASHES.get(row + rows)];
        let cells: Vec<String> = cells.into_iter().flatten().map(|slash| cell(slash, theme)).collect();
        lines.push(cells.concat().trim_end().to_owned());
    }
    lines.join("\n")
}

/// A command in one of the two columns.
fn cell(slash: &Slash, theme: Theme) -> String {
    let name = pad(&format!("/{}", slash.name), NAME);
    format!("{}{}", theme.bold(&name), pad(slash.about, COLUMN - NAME))
}

/// Cells of a column, and of the name in it.
const COLUMN: usize = 40;
const NAME: usize = 15;

/// `/help command`
pub fn explain(name: &str, theme: Theme) -> Result<String, String> {
    let slash = find(name.trim_start_matches('/')).ok_or_else(|| unknown(name.trim_start_matches('/')))?;
    let also: String = slash.aliases.iter().map(|alias| format!("\nalso: /{alias}")).collect();
    Ok(format!("{}\n{}{also}", theme.bold(usage(slash).trim_end()), slash.about))
}

fn parse_command(slash: &Slash, arguments: &str) -> Result<Command, String> {
    let words = match slash.text_after {
        None => split::words(arguments)?,
        Some(count) => {
            let (mut words, rest) = split::words_and_rest(arguments, count)?;
            words.extend((!rest.is_empty()).then(|| rest.to_owned()));
            words
        }
    };
    let argv = slash.argv.iter().map(|word| (*word).to_owned()).chain(words);
    match Commands::try_parse_from(argv) {
        Ok(parsed) => Ok(parsed.command),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Err(format!("{} — {}", usage(slash).trim_end(), slash.about))
        }
        Err(error) => Err(format!("{}; it is written {}", reason(&error), usage(slash).trim_end())),
    }
}

#[derive(Parser)]
#[command(no_binary_name = true, disable_help_subcommand = true)]
struct Commands {
    #[command(subcommand)]
    command: Command,
}

fn usage(slash: &Slash) -> String {
    format!("/{} {}", slash.name, slash.usage)
}

/// The first line of what the parser complains about.
fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    if error.kind() == ErrorKind::MissingRequiredArgument {
        return "something is missing".into();
    }
    let first = text.lines().next().unwrap_or_default();
    first.trim_start_matches("error: ").trim_end_matches(':').to_owned()
}

fn unknown(name: &str) -> String {
    let names = SLASHES.iter().flat_map(|slash| slash.aliases.iter().chain([&slash.name]));
    let nearest = names.map(|known| (distance(name, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= 2 && distance * 2 < name.chars().count() => {
            format!("there is no /{name}; did you mean /{known}? (/help shows all, //{name} sends it as a text)")
        }
        _ => format!("there is no /{name}; /help shows all commands, //{name} sends it as a text"),
    }
}

/// Levenshtein's distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(LONGEST_NAME).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other.len()]
}

/// Nobody means a command with a word longer than this.
const LONGEST_NAME: usize = 32;

/// All commands, in the order of `/help`.
pub const SLASHES: &[Slash] = &[
    slash("dm", &[], &["dm"], Some(1), "@user [text]", "talk to somebody"),
    slash("create-group", &["cg"], &["group", "create"], None, "NAME [@user…] [--classic]", "make a group"),
    slash("invite", &[], &["group", "invite"], None, "@user…", "add people to this group"),
    slash("remove", &[], &["group", "remove"], None, "@user", "remove somebody"),
    slash("join", &[], &["join"], None, "", "groups you are new in"),
    slash("leave", &[], &["group", "leave"], None, "", "leave this group"),
    slash("switch", &[], &["switch"], None, "@user|#group|number", "go to a conversation"),
    slash("list", &["ls"], &["list"], None, "", "all conversations"),
    slash("members", &[], &["group", "members"], None, "", "who is in this group"),
    slash("group-info", &["gi"], &["group", "info"], None, "", "id, epoch, suite"),
    slash("rename", &[], &["group", "rename"], Some(0), "NAME", "rename this group"),
    slash("history", &["hist"], &["history"], None, "[N]", "earlier messages"),
    slash("search", &[], &["search"], Some(0), "WORDS", "find messages here"),
    slash("reply", &[], &["reply"], Some(1), "N TEXT", "answer message N"),
    slash("react", &[], &["react"], None, "N EMOJI [--remove]", "react to message N"),
    slash("edit", &[], &["edit"], Some(1), "N TEXT", "change your message N"),
    slash("delete", &[], &["delete"], None, "N", "take your message N back"),
    slash("info", &[], &["info"], None, "N", "who has message N"),
    slash("disappear", &[], &["disappear"], None, "30m|1h|1d|7d|off", "how long messages stay"),
    slash("typing-notify", &[], &["typing-notify"], None, "on|off", "show that you type, read"),
    slash("mute", &[], &["mute"], None, "[on|off]", "no signals from here"),
    slash("requests", &[], &["requests"], None, "", "what strangers began"),
    slash("accept", &[], &["accept"], None, "[@user|#group]", "take up a request"),
    slash("block", &[], &["block"], None, "[@user]", "hear nothing of somebody"),
    slash("unblock", &[], &["unblock"], None, "@user", "hear of somebody again"),
    slash("contact", &[], &["contact"], None, "[import LINK]", "your link; pin another's"),
    slash("send-file", &["sf"], &["send-file"], None, "PATH", "send a file"),
    slash("download", &["dl"], &["download"], None, "N [DIR] [--force]", "save a message's file"),
    slash("verify", &[], &["verify"], None, "[@user]", "the safety number"),
    slash("trust", &[], &["trust"], None, "@user [verified|unverified|rejected]", "how far you trust them"),
    slash("role", &[], &["group", "role"], None, "@user admin|member", "make admins, or not"),
    slash("export", &[], &["export"], None, "FILE [--format markdown|json]", "write it all down"),
    slash("update-key", &["rotate-key"], &["group", "update-key"], None, "", "refresh your keys here"),
    slash("whoami", &[], &["whoami"], None, "", "name, identity, device"),
    slash("status", &[], &["status"], None, "", "connection, what waits"),
    slash("doctor", &[], &["doctor"], None, "[--mend]", "what is wrong; mend it"),
    slash("devices", &[], &["devices"], None, "[rename NAME]", "your devices"),
    slash("link", &[], &["link"], None, "CODE|yes|no", "take in a new device"),
    slash("unlink", &[], &["unlink"], None, "DEVICE", "lock a device out"),
    slash("change-password", &[], &["change-password"], None, "", "another password"),
    slash("delete-account", &[], &["delete-account"], None, "YOUR-NAME", "the end"),
    slash("help", &[], &["help"], None, "[command]", "this; a command's help"),
    slash("quit", &[], &["quit"], None, "", "leave; nothing is lost"),
];

const fn slash(
    name: &'static str,
    aliases: &'static [&'static str],
    argv: &'static [&'static str],
    text_after: Option<usize>,
    usage: &'static str,
    about: &'static str,
) -> Slash {
    Slash { name, aliases, argv, text_after, usage, about }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::command::group;

    fn kind(line: &str) -> String {
        match parse(line) {
            Ok(Line::Empty) => "empty".into(),
            Ok(Line::Text(text)) => format!("text {text}"),
            Ok(Line::Command(command)) => format!("command {}", name(&command)),
            Err(error) => format!("error {error}"),
        }
    }

    fn name(command: &Command) -> &'static str {
        match command {
            Command::Dm(_) => "dm",
            Command::Group(group::Command::Create(_)) => "create",
            Command::Group(group::Command::Invite(_)) => "invite",
            Command::Group(group::Command::Rename(_)) => "rename",
            Command::Group(group::Command::Members(_)) => "members",
            Command::Group(group::Command::UpdateKey(_)) => "update-key",
            Command::SendFile(_) => "send-file",
            Command::Download(_) => "download",
            Command::History(_) => "history",
            Command::Search(_) => "search",
            Command::Switch(_) => "switch",
            Command::Trust(_) => "trust",
            Command::Quit(_) => "quit",
            _ => "another",
        }
    }

    #[test]
    fn lines_are_commands_or_texts() {
        let cases = [
            ("", "empty"),
            ("   ", "empty"),
            ("hello /there", "text hello /there"),
            (" /not a command", "text  /not a command"),
            ("//shrug", "text /shrug"),
            ("/dm @bob", "command dm"),
            ("/dm @bob it's -- \"fine", "command dm"),
            ("/dm @bob --json", "command dm"),
            ("/cg team @bob @carol --classic", "command create"),
            ("/create-group \"two words\"", "command create"),
            ("/invite @bob", "command invite"),
            ("/rename Bob's group", "command rename"),
            ("/rename -", "command rename"),
            ("/members", "command members"),
            ("/rotate-key", "command update-key"),
            ("/hist 20", "command history"),
            ("/search it's -here", "command search"),
            ("/sf \"two words.pdf\"", "command send-file"),
            ("/send-file @bob x", "command send-file"),
            ("/dl 7", "command download"),
            ("/download 7 ~/Downloads --force", "command download"),
            ("/switch 2", "command switch"),
            ("/switch #\"two words\"", "command switch"),
            ("/trust @bob verified", "command trust"),
            ("/quit", "command quit"),
        ];
        for (line, expected) in cases {
            assert_eq!(kind(line), expected, "{line}");
        }
    }

    #[test]
    fn mistakes_are_answered_with_what_to_type() {
        let cases = [
            ("/invit @bob", "did you mean /invite?"),
            ("/lst", "did you mean /l"),
            ("/nope", "error there is no /nope; /help"),
            ("/xyzzy", "/help shows all commands, //xyzzy sends it"),
            ("/invite", "something is missing; it is written /invite @user…"),
            ("/cg \"open", "the quote \" is not closed"),
            ("/trust @bob maybe", "it is written /trust @user [verified|unverified|rejected]"),
            ("/dm @Bob", "it is written /dm @user [text]"),
            ("/", "/help shows all commands"),
        ];
        for (line, expected) in cases {
            let answer = kind(line);
            assert!(answer.starts_with("error ") && answer.contains(expected), "{line}: {answer}");
        }
    }

    #[test]
    fn every_spelling_leads_to_a_command() {
        for slash in SLASHES {
            let error = parse_command(slash, "--definitely-unknown").err().unwrap_or_default();
            assert!(!error.contains("unrecognized subcommand"), "/{}: {error}", slash.name);
        }
    }

    #[test]
    fn help_fits_the_smallest_screen() {
        let help = overview(Theme::PLAIN);
        assert!(help.lines().count() <= 23, "{} lines", help.lines().count());
        for line in help.lines() {
            assert!(line.width() <= 80, "{line}");
        }
        assert!(explain("/cg", Theme::PLAIN).is_ok_and(|text| text.starts_with("/create-group NAME")));
    }
}
