//! A request as it comes: how long to wait, and what for.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::status::Failure;

pub struct Asked {
    patience: Duration,
    fields: Map<String, Value>,
}

impl Asked {
    /// `usual`: how long to wait when "timeout_ms" is left out.
    pub fn parse(json: &str, usual: Duration) -> Result<Self, Failure> {
        let mut fields: Map<String, Value> = serde_json::from_str(json).map_err(unreadable)?;
        let patience = match fields.remove("timeout_ms") {
            None | Some(Value::Null) => usual,
            Some(value) => {
                let milliseconds = value.as_u64().filter(|milliseconds| *milliseconds <= LONGEST_MS);
                let wrong = || Failure::bad_input(format!("\"timeout_ms\" is a number from 0 to {LONGEST_MS}"));
                Duration::from_millis(milliseconds.ok_or_else(wrong)?)
            }
        };
        Ok(Self { patience, fields })
    }

    pub fn into<R: DeserializeOwned>(self) -> Result<(Duration, R), Failure> {
        Ok((self.patience, serde_json::from_value(Value::Object(self.fields)).map_err(unreadable)?))
    }
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::bad_input(format!("the request: {error}"))
}

/// A day.
const LONGEST_MS: u64 = 24 * 3600 * 1000;
