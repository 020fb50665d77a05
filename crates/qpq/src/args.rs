//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use qpq_client::{Fingerprint, ServerAddress};

use crate::command::Command;

/// End-to-end encrypted group messages, on your own server.
///
/// Start with `qpq demo`, or `qpq register NAME` and then `qpq repl`. The password comes from the terminal, from
/// QPQ_PASSWORD or from --password-file.
///
/// Exit codes: 0 done, 1 refused or failed, 2 usage, 3 offline or timed out (nothing is lost), 4 trust decision needed.
#[derive(Parser)]
#[command(
    name = "qpq",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What goes with every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The profile: one directory per account [default: the XDG data directory for qpq].
    #[arg(long, value_name = "DIR", env = "QPQ_HOME", global = true)]
    pub home: Option<PathBuf>,
    /// The server; remembered in the profile [default: 127.0.0.1:7000].
    #[arg(long, value_name = "HOST:PORT", env = "QPQ_SERVER", global = true, value_parser = server)]
    pub server: Option<ServerAddress>,
    /// Trust only this certificate authority (a PEM file).
    #[arg(long, value_name = "FILE", global = true)]
    pub ca_cert: Option<PathBuf>,
    /// Trust only the server certificate with this fingerprint.
    #[arg(long, value_name = "SHA256", global = true, value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,
    /// Print one JSON object per line.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing on standard error but errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on standard error.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Read the password from the first line of a file.
    #[arg(long, value_name = "FILE", global = true)]
    pub password_file: Option<PathBuf>,
    /// How long to wait, such as 500ms, 5s or 2m [default: 15s].
    #[arg(long, value_name = "TIME", global = true, value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// `500ms`, `5s`, `2m`, `1h`; a bare number means seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| WANTED_DURATION.to_owned())?;
    let milliseconds = match unit.trim_start() {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" | "min" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    let longest = LONGEST_WAIT.as_millis();
    match milliseconds {
        Some(milliseconds) if u128::from(milliseconds) <= longest => Ok(Duration::from_millis(milliseconds)),
        Some(_) => Err("at most 24h".into()),
        None => Err(WANTED_DURATION.into()),
    }
}

fn server(text: &str) -> Result<ServerAddress, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    text.parse().map_err(|error| format!("{error}"))
}

const WANTED_DURATION: &str = "a number with a unit is needed, such as 500ms, 5s or 2m";
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        let cases = [
            ("500ms", Some(500)),
            ("5s", Some(5000)),
            ("5", Some(5000)),
            ("2m", Some(120_000)),
            ("0s", Some(0)),
            ("1h", Some(3_600_000)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("5 parsecs", None),
            ("99999999999999999999s", None),
            ("25h", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration(text).ok(), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in ["qpq --json list", "qpq list --json"] {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            assert!(cli.global.json);
        }
    }
}
