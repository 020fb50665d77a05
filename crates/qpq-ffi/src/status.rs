//! How calls end: a number, and an object that says why.

use qpq_client::Error;
use serde::Serialize;

/// What every function returns. The numbers and names never change; there may be more of them in later versions, so treat
/// an unknown one like QPQ_STATUS_INTERNAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum QpqStatus {
    /// Done.
    Ok = 0,
    /// qpq_next_event: nothing came in time. Not an error.
    NoEvent = 1,
    /// "bad_input": the request cannot be meant like this; the text says what is wrong.
    BadInput = 10,
    /// "bad_handle": no client is open under this handle (any more).
    BadHandle = 11,
    /// "null_pointer": an argument that must not be NULL is.
    NullPointer = 12,
    /// "invalid_utf8": an argument is not UTF-8 text.
    InvalidUtf8 = 13,
    /// "offline": there is no connection. What was to be sent is stored and goes out with the next one.
    Offline = 20,
    /// "timed_out": it takes longer than timeout_ms. It goes on by itself.
    TimedOut = 21,
    /// "canceled": qpq_cancel or qpq_close ended the call. What was stored goes on by itself.
    Canceled = 22,
    /// "refused": the server or the rules of the group said no.
    Refused = 30,
    /// "wrong_password": of the profile, or of the account; or the words of recovery are.
    WrongPassword = 31,
    /// "name_taken": somebody else registered that name.
    NameTaken = 32,
    /// "device_unknown": no account on the server lists this device (any more).
    DeviceUnknown = 33,
    /// "trust_decision": a name now belongs to another identity; the object has name, old_id and new_id. Nothing is sent
    /// until the user decides.
    TrustDecision = 40,
    /// "certificate": the server's certificate is not the right one.
    Certificate = 41,
    /// "no_profile": there is none in this directory.
    NoProfile = 50,
    /// "profile_exists": there is one in this directory already.
    ProfileExists = 51,
    /// "profile_in_use": another process, or another handle, has it open.
    ProfileInUse = 52,
    /// "file_exists": a download does not replace what is there, unless the request says so.
    FileExists = 53,
    /// "unknown_user": nobody on the server has that name.
    UnknownUser = 60,
    /// "unknown_conversation": there is none like that here.
    UnknownConversation = 61,
    /// "disk_full": nothing was lost; free some space and try again.
    DiskFull = 70,
    /// "store": the profile's files cannot be read or written, or are damaged.
    Store = 71,
    /// "internal": a defect of the library; the call has done nothing that can be relied on.
    Internal = 80,
}

impl QpqStatus {
    /// The stable name; the same as `code` in the error object.
    pub fn code(self) -> &'static str {
        self.c_code().to_str().unwrap_or_default()
    }

    /// As [`Self::code`], for C.
    pub fn c_code(self) -> &'static std::ffi::CStr {
        match self {
            Self::Ok => c"ok",
            Self::NoEvent => c"no_event",
            Self::BadInput => c"bad_input",
            Self::BadHandle => c"bad_handle",
            Self::NullPointer => c"null_pointer",
            Self::InvalidUtf8 => c"invalid_utf8",
            Self::Offline => c"offline",
            Self::TimedOut => c"timed_out",
            Self::Canceled => c"canceled",
            Self::Refused => c"refused",
            Self::WrongPassword => c"wrong_password",
            Self::NameTaken => c"name_taken",
            Self::DeviceUnknown => c"device_unknown",
            Self::TrustDecision => c"trust_decision",
            Self::Certificate => c"certificate",
            Self::NoProfile => c"no_profile",
            Self::ProfileExists => c"profile_exists",
            Self::ProfileInUse => c"profile_in_use",
            Self::FileExists => c"file_exists",
            Self::UnknownUser => c"unknown_user",
            Self::UnknownConversation => c"unknown_conversation",
            Self::DiskFull => c"disk_full",
            Self::Store => c"store",
            Self::Internal => c"internal",
        }
    }

    /// The status with this number.
    pub fn numbered(number: i32) -> Option<Self> {
        ALL.into_iter().find(|status| *status as i32 == number)
    }
}

/// Why a call failed.
#[derive(Debug)]
pub enum Failure {
    Client(Error),
    /// Found wrong at the border, with a text that says what.
    Misuse(QpqStatus, String),
}

impl Failure {
    pub fn bad_input(text: impl Into<String>) -> Self {
        Self::Misuse(QpqStatus::BadInput, text.into())
    }

    pub fn status(&self) -> QpqStatus {
        match self {
            Self::Misuse(status, _) => *status,
            Self::Client(error) => of_client(error),
        }
    }

    /// The object that goes where the reply would have gone.
    pub fn object(&self) -> String {
        let (text, name, old_id, new_id) = match self {
            Self::Misuse(_, text) => (text.clone(), None, None, None),
            Self::Client(error) => {
                let (name, old_id, new_id) = match error {
                    Error::TrustDecision { name, old, new } => (Some(name.to_string()), Some(old), Some(new)),
                    _ => (None, None, None),
                };
                (error.to_string(), name, old_id.map(ToString::to_string), new_id.map(ToString::to_string))
            }
        };
        let status = self.status();
        let line = ErrorLine { kind: "error", code: status.code(), status: status as i32, text, name, old_id, new_id };
        qpq_client::json::line(&line)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

#[derive(Serialize)]
struct ErrorLine {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'static str,
    status: i32,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_id: Option<String>,
}

fn of_client(error: &Error) -> QpqStatus {
    match error {
        Error::Offline(_) => QpqStatus::Offline,
        Error::TimedOut(_) => QpqStatus::TimedOut,
        Error::Interrupted | Error::Stopped => QpqStatus::Canceled,
        Error::Closed => QpqStatus::BadHandle,
        Error::CertificateChanged { .. } | Error::Certificate(_) => QpqStatus::Certificate,
        Error::Refused(_) => QpqStatus::Refused,
        Error::WrongCredentials | Error::WrongPassword | Error::WrongWords => QpqStatus::WrongPassword,
        Error::DeviceUnknown | Error::Unlinked => QpqStatus::DeviceUnknown,
        Error::NameTaken => QpqStatus::NameTaken,
        Error::NoProfile(_) => QpqStatus::NoProfile,
        Error::ProfileExists(_) => QpqStatus::ProfileExists,
        Error::ProfileInUse(_) => QpqStatus::ProfileInUse,
        Error::Exists(_) => QpqStatus::FileExists,
        Error::UnknownUser(_) => QpqStatus::UnknownUser,
        Error::UnknownConversation(_) => QpqStatus::UnknownConversation,
        Error::TrustDecision { .. } => QpqStatus::TrustDecision,
        Error::BadInput(_) => QpqStatus::BadInput,
        Error::DiskFull => QpqStatus::DiskFull,
        Error::Corrupt(_) | Error::Store(_) => QpqStatus::Store,
        Error::Internal(_) => QpqStatus::Internal,
    }
}

const ALL: [QpqStatus; 24] = [
    QpqStatus::Ok,
    QpqStatus::NoEvent,
    QpqStatus::BadInput,
    QpqStatus::BadHandle,
    QpqStatus::NullPointer,
    QpqStatus::InvalidUtf8,
    QpqStatus::Offline,
    QpqStatus::TimedOut,
    QpqStatus::Canceled,
    QpqStatus::Refused,
    QpqStatus::WrongPassword,
    QpqStatus::NameTaken,
    QpqStatus::DeviceUnknown,
    QpqStatus::TrustDecision,
    QpqStatus::Certificate,
    QpqStatus::NoProfile,
    QpqStatus::ProfileExists,
    QpqStatus::ProfileInUse,
    QpqStatus::FileExists,
    QpqStatus::UnknownUser,
    QpqStatus::UnknownConversation,
    QpqStatus::DiskFull,
    QpqStatus::Store,
    QpqStatus::Internal,
];

#[cfg(test)]
mod tests {
    use qpq_client::IdentityId;

    use super::*;

    /// Programs are compiled with these.
    #[test]
    fn numbers_and_names_stay_as_they_are() {
        let expected = "0 ok, 1 no_event, 10 bad_input, 11 bad_handle, 12 null_pointer, 13 invalid_utf8, 20 offline, \
                        21 timed_out, 22 canceled, 30 refused, 31 wrong_password, 32 name_taken, 33 device_unknown, \
                        40 trust_decision, 41 certificate, 50 no_profile, 51 profile_exists, 52 profile_in_use, \
                        53 file_exists, 60 unknown_user, 61 unknown_conversation, 70 disk_full, 71 store, 80 internal";
        let all: Vec<_> = ALL.iter().map(|status| format!("{} {}", *status as i32, status.code())).collect();
        assert_eq!(all.join(", "), expected);
        assert_eq!(QpqStatus::numbered(20), Some(QpqStatus::Offline));
        assert_eq!(QpqStatus::numbered(2), None);
    }

    #[test]
    fn an_error_is_an_object_with_a_code_and_a_text() {
        let misuse = Failure::bad_input("no \"op\"");
        assert_eq!(misuse.object(), r#"{"type":"error","code":"bad_input","status":10,"text":"no \"op\""}"#);
        let name = "bob".parse().expect("a name");
        let changed: Failure = Error::TrustDecision { name, old: IdentityId([1; 32]), new: IdentityId([2; 32]) }.into();
        let object = changed.object();
        let ids = format!(r#""name":"bob","old_id":"{}","new_id":"{}"}}"#, "01".repeat(32), "02".repeat(32));
        assert!(object.starts_with(r#"{"type":"error","code":"trust_decision","status":40,"#), "{object}");
        assert!(object.ends_with(&ids), "{object}");
    }
}
