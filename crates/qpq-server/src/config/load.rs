//! Reading the file, and the environment over it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::{Table, Value};

use super::Config;

/// Settings that cannot be used; the text says where and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}: {detail}", path.display())]
    File { path: PathBuf, detail: String },
    #[error("environment variable {name}: {detail}")]
    Environment { name: String, detail: String },
    /// Two settings do not fit together, or one is out of range.
    #[error("{key}: {detail}")]
    Value { key: &'static str, detail: String },
}

impl Config {
    /// The file (none: the defaults) with the process's environment over it.
    ///
    /// # Errors
    /// [`ConfigError`], at the first thing that is wrong.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with(file, std::env::vars_os())
    }

    fn load_with(
        file: Option<&Path>,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut table = match file {
            Some(path) => read(path)?,
            None => Table::new(),
        };
        for (name, value) in environment {
            if let Some(path) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) {
                let name = name.to_string_lossy().into_owned();
                let keys: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
                table = override_with(table, &keys, &value.to_string_lossy())
                    .map_err(|detail| ConfigError::Environment { name, detail })?;
            }
        }
        let config = from_table(&table).map_err(|detail| ConfigError::Environment { name: PREFIX.into(), detail })?;
        config.check()?;
        Ok(config)
    }
}

/// `QPQ_SERVER__LISTEN` stands for `listen`, `QPQ_SERVER__TLS__CERT` for `cert` in `[tls]`.
const PREFIX: &str = "QPQ_SERVER__";

/// Deserialises from the text once, only because those errors name the line.
fn read(path: &Path) -> Result<Table, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let wrong = |detail: toml::de::Error| ConfigError::File { path: path.to_owned(), detail: detail.to_string() };
    toml::from_str::<Config>(&text).map_err(wrong)?;
    text.parse::<Table>().map_err(wrong)
}

/// A value is text first; where text does not fit it is read as TOML (`12`, `true`).
fn override_with(table: Table, keys: &[String], value: &str) -> Result<Table, String> {
    let as_text = insert(table.clone(), keys, Value::String(value.to_owned()))?;
    let Err(detail) = from_table(&as_text) else {
        return Ok(as_text);
    };
    let Ok(literal) = format!("value = {value}").parse::<Table>() else {
        return Err(detail);
    };
    let literal = literal.into_iter().next().map_or(Value::Boolean(false), |(_, value)| value);
    let as_literal = insert(table, keys, literal)?;
    from_table(&as_literal).map(|_| as_literal)
}

fn insert(mut table: Table, keys: &[String], value: Value) -> Result<Table, String> {
    let Some((last, sections)) = keys.split_last() else {
        return Ok(table);
    };
    let mut place = &mut table;
    for section in sections {
        place = match place.entry(section).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => inner,
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => return Err(format!("`{section}` is not a section")),
        };
    }
    place.insert(last.clone(), value);
    Ok(table)
}

fn from_table(table: &Table) -> Result<Config, String> {
    Config::deserialize(table.clone()).map_err(|error| error.message().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Policy;
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        Config::load_with(Some(&path), environment).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(load("", &[]), Ok(Config::default()));
    }

    #[test]
    fn errors_name_file_line_and_what_would_be_right() {
        let check = |text: &str, parts: &[&str]| {
            let error = load(text, &[]).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{error:?} should name {part:?}");
            }
        };
        check("domain = \"x\"\nlisten = 7", &["server.toml", "line 2", "listen"]);
        check("[limits]\nmax_conections = 1", &["line 2", "max_conections", "max_connections"]);
        check("[limits]\n\nmax_message = \"1 kilo\"", &["line 3", "KiB"]);
        check("[registration]\npolicy = \"nobody\"", &["line 2", "`open`", "`invite`", "`closed`"]);
        check("[retention]\nentries = \"soon\"", &["line 2", "30d"]);
        check("[limits]\nmax_message = \"1GiB\"", &["limits.max_message", "128KiB"]);
    }

    #[test]
    fn the_environment_is_above_the_file() {
        let config = load(
            "listen = \"127.0.0.1:1\"\n[tls]\ncert = \"a\"\nkey = \"b\"",
            &[
                ("QPQ_SERVER__LISTEN", "127.0.0.1:2"),
                ("QPQ_SERVER__TLS__CERT", "c"),
                ("QPQ_SERVER__LIMITS__MAX_CONNECTIONS", "12"),
                ("QPQ_SERVER__REGISTRATION__POLICY", "closed"),
                ("QPQ_SERVER__DOMAIN", "123"),
                ("UNRELATED", "x"),
            ],
        )
        .unwrap();
        assert_eq!((config.listen.port(), config.limits.max_connections), (2, 12));
        assert_eq!((config.tls.cert.to_str(), config.tls.key.to_str()), (Some("c"), Some("b")));
        assert_eq!((config.policy(), &config.domain[..]), (Policy::Closed, "123"));
    }

    #[test]
    fn errors_from_the_environment_name_the_variable() {
        for (name, value) in [
            ("QPQ_SERVER__LISTEN", "nowhere"),
            ("QPQ_SERVER__NO_SUCH", "1"),
            ("QPQ_SERVER__LIMITS__MAX_CONNECTIONS", "many"),
            ("QPQ_SERVER__LISTEN__PORT", "1"),
        ] {
            let error = load("listen = \"127.0.0.1:1\"", &[(name, value)]).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
