//! How things end: a code for scripts, and one line for people that says why and what to do next.

use std::io;
use std::process::ExitCode;

use qpq_client::Error;

use crate::view::sanitize;

pub const FAILED: u8 = 1;
pub const USAGE: u8 = 2;
pub const OFFLINE: u8 = 3;
pub const TRUST: u8 = 4;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    Client(Error),
    /// The command cannot be meant like this.
    Usage(String),
    Refused(String),
    /// Offline or out of time; what was to be sent is stored.
    Offline(String),
    Trust(String),
    /// Commands of a script failed, each with its reason; the first one's code.
    Told(u8),
    /// Standard output cannot be written.
    Output(io::Error),
}

impl Failure {
    pub fn code(&self) -> u8 {
        match self {
            Self::Client(Error::Offline(_) | Error::TimedOut(_)) | Self::Offline(_) => OFFLINE,
            Self::Client(Error::TrustDecision { .. } | Error::CertificateChanged { .. }) | Self::Trust(_) => TRUST,
            Self::Usage(_) => USAGE,
            Self::Told(code) => *code,
            // Whoever closed the pipe has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Client(_) | Self::Refused(_) | Self::Output(_) => FAILED,
        }
    }

    /// The reason; none when there is nobody to tell.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Told(_) => None,
            Self::Output(error) => Some(format!("cannot write: {error}")),
            Self::Client(error) => Some(sanitize::line(&error.to_string())),
            Self::Usage(text) | Self::Refused(text) | Self::Offline(text) | Self::Trust(text) => {
                Some(sanitize::line(text))
            }
        }
    }

    /// Whether the output is gone, so that nothing further can be shown.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Tells the reason, and makes the code.
pub fn conclude(outcome: Result<(), Failure>) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if let Some(text) = failure.text() {
        complain(&text);
    }
    ExitCode::from(failure.code())
}

/// One line on standard error.
pub fn complain(text: &str) {
    use io::Write as _;
    // When standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "qpq: {text}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn codes_are_what_scripts_rely_on() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let cases = [
            (Failure::Client(Error::Offline("x".into())), OFFLINE),
            (Failure::Client(Error::TimedOut(Duration::ZERO)), OFFLINE),
            (Failure::Client(Error::WrongPassword), FAILED),
            (Failure::Client(Error::BadInput("x".into())), FAILED),
            (Failure::Usage("x".into()), USAGE),
            (Failure::Trust("x".into()), TRUST),
            (Failure::Output(pipe()), 0),
        ];
        for (failure, code) in cases {
            assert_eq!(failure.code(), code, "{failure:?}");
        }
        assert!(Failure::Output(pipe()).text().is_none());
    }

    #[test]
    fn reasons_from_elsewhere_are_harmless() {
        let failure = Failure::Client(Error::Refused("no\u{1b}[2J\nreally".into()));
        assert_eq!(failure.text().as_deref(), Some("no\u{fffd}[2J really"));
    }
}
