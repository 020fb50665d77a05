//! Values that are well-formed but out of range.

use qpq_proto::limits;

use super::{ByteSize, Config, ConfigError};

impl Config {
    /// Checks every range. Files are checked when they are opened.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, detail: String| Err(ConfigError::Value { key, detail });
        if self.domain.is_empty() || self.domain.len() > 255 || self.domain.contains(|c: char| c.is_whitespace()) {
            return wrong("domain", "should be a host name such as \"chat.example.org\"".into());
        }
        let sizes = [
            ("limits.max_message", self.limits.max_message, limits::POST),
            ("limits.max_commit", self.limits.max_commit, limits::HANDSHAKE),
        ];
        for (key, size, most) in sizes {
            if size.0 == 0 || size.0 > most {
                return wrong(key, format!("should be between 1B and {}", ByteSize(most)));
            }
        }
        let counts = [
            ("limits.max_connections", self.limits.max_connections, usize::MAX),
            ("limits.connections_per_address", self.limits.connections_per_address, usize::MAX),
            ("limits.calls_in_flight", self.limits.calls_in_flight, 256),
            ("limits.devices_per_account", self.limits.devices_per_account, limits::DEVICES),
        ];
        for (key, count, most) in counts {
            if count == 0 || count > most {
                return wrong(
                    key,
                    if most == usize::MAX {
                        "should be at least 1".into()
                    } else {
                        format!("should be between 1 and {most}")
                    },
                );
            }
        }
        let rates = [
            ("limits.posts_per_minute", self.limits.posts_per_minute),
            ("limits.claims_per_minute", self.limits.claims_per_minute),
            ("limits.claims_per_minute_per_target", self.limits.claims_per_minute_per_target),
            ("limits.logins_per_minute_per_account", self.limits.logins_per_minute_per_account),
            ("limits.logins_per_minute_per_address", self.limits.logins_per_minute_per_address),
            ("limits.registrations_per_hour_per_address", self.limits.registrations_per_hour(self.mode)),
        ];
        match rates.into_iter().find(|(_, rate)| *rate == 0) {
            Some((key, _)) => wrong(key, "should be at least 1".into()),
            None => Ok(()),
        }
    }
}
