//! Where the password comes from: a file, the environment, or the terminal. Never an argument, which other users of
//! the machine could see.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::Path;
use std::{env, fs};

use qpq_client::SecretString;
use zeroize::Zeroizing;

use crate::args::Global;
use crate::exit::Failure;

/// For an existing profile or account.
pub fn existing(global: &Global) -> Result<SecretString, Failure> {
    match given(global)? {
        Some(password) => Ok(password),
        None => prompt("password: "),
    }
}

/// For a new account or archive: asked twice at a terminal.
pub fn new(global: &Global) -> Result<SecretString, Failure> {
    if let Some(password) = given(global)? {
        return Ok(password);
    }
    asked_twice()
}

fn asked_twice() -> Result<SecretString, Failure> {
    let password = prompt("new password: ")?;
    let again = prompt("once more: ")?;
    if password.expose() == again.expose() {
        Ok(password)
    } else {
        Err(Failure::Refused("the two passwords differ; nothing was done, try again".into()))
    }
}

/// For the profile of a new device: the account's, or another one.
pub fn for_new_profile(global: &Global) -> Result<SecretString, Failure> {
    new(global)
}

/// The account's, when it is another one than the profile's.
pub fn of_account() -> Result<Option<SecretString>, Failure> {
    from_environment("QPQ_ACCOUNT_PASSWORD")
}

/// The one that is to take the place of the present one.
pub fn changed() -> Result<SecretString, Failure> {
    match from_environment("QPQ_NEW_PASSWORD")? {
        Some(password) => Ok(password),
        None => asked_twice(),
    }
}

fn given(global: &Global) -> Result<Option<SecretString>, Failure> {
    if let Some(file) = &global.password_file {
        return from_file(file).map(Some);
    }
    from_environment("QPQ_PASSWORD")
}

fn from_environment(name: &str) -> Result<Option<SecretString>, Failure> {
    match env::var(name) {
        Ok(password) => not_empty(password, name).map(Some),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(Failure::Refused(format!("{name} is not valid UTF-8"))),
    }
}

fn from_file(file: &Path) -> Result<SecretString, Failure> {
    let unreadable = |error: io::Error| Failure::Refused(format!("cannot read {}: {error}", file.display()));
    let mut reader = io::BufReader::new(fs::File::open(file).map_err(unreadable)?);
    let mut line = Zeroizing::new(String::new());
    reader.read_line(&mut line).map_err(unreadable)?;
    not_empty(line.trim_end_matches(['\n', '\r']).to_owned(), &file.display().to_string())
}

fn prompt(question: &str) -> Result<SecretString, Failure> {
    if !io::stdin().is_terminal() && !io::stderr().is_terminal() {
        return Err(Failure::Refused(
            "no password: there is no terminal to ask at; set QPQ_PASSWORD or name a file with --password-file".into(),
        ));
    }
    let password = rpassword::prompt_password(question).map_err(|error| {
        let text = format!("no password ({error}); set QPQ_PASSWORD or name a file with --password-file");
        Failure::Refused(text)
    })?;
    not_empty(password, "the terminal")
}

fn not_empty(password: String, source: &str) -> Result<SecretString, Failure> {
    let password = SecretString::new(password);
    if password.is_empty() {
        return Err(Failure::Refused(format!("the password from {source} is empty; it must not be")));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_the_file_counts() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = folder.path().join("password");
        let read = |content: &str| {
            fs::write(&file, content).expect("writing");
            from_file(&file).ok().map(|password| password.expose().to_owned())
        };
        assert_eq!(read("secret\nrest\n").as_deref(), Some("secret"));
        assert_eq!(read(" spaces stay \r\n").as_deref(), Some(" spaces stay "));
        assert_eq!(read("no newline").as_deref(), Some("no newline"));
        assert_eq!(read("\n"), None);
        assert!(from_file(&folder.path().join("missing")).is_err());
    }
}
