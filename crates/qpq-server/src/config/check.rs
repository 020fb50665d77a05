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
        if let Err(detail) = self.traces.authority() {
            return wrong("traces.collector", detail);
        }
        if self.traces.one_in == 0 {
            return wrong("traces.one_in", "should be at least 1".into());
        }
        let sizes = [
            ("limits.max_message", self.limits.max_message, limits::POST),
            ("limits.max_commit", self.limits.max_commit, limits::HANDSHAKE),
            ("limits.max_file", self.limits.max_file, limits::FILE),
            ("limits.file_bytes_per_account", self.limits.file_bytes_per_account, usize::MAX),
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
        // Clients bring up to thirty-odd key packages at a time, before the old ones have expired.
        let kept = [
            ("limits.key_packages_per_device", self.limits.key_packages_per_device, 100),
            ("limits.log_entries_per_group", self.limits.log_entries_per_group, 1),
            ("limits.inbox_entries_per_device", self.limits.inbox_entries_per_device, 1),
        ];
        if let Some((key, _, least)) = kept.into_iter().find(|(_, count, least)| count < least) {
            return wrong(key, format!("should be at least {least}"));
        }
        let rates = [
            ("limits.file_parts_per_minute", self.limits.file_parts_per_minute),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Limits;
    use super::*;

    #[test]
    fn a_collector_has_a_host_and_a_port() {
        let traces = |collector: &str| super::super::Traces { collector: collector.into(), one_in: 1 };
        assert_eq!(traces("").authority(), Ok(None));
        for (good, authority) in [
            ("http://127.0.0.1:4318", "127.0.0.1:4318"),
            ("http://otel-collector.local:4318/", "otel-collector.local:4318"),
            ("http://[::1]:4318", "[::1]:4318"),
        ] {
            assert_eq!(traces(good).authority(), Ok(Some(authority.into())));
        }
        for wrong in [
            "127.0.0.1:4318",
            "http://collector",
            "https://a:1",
            "http://a:1/v1/traces",
            "http://me@a:1",
            "http://:1",
            "?",
        ] {
            assert!(traces(wrong).authority().is_err(), "{wrong}");
            let config = Config { traces: traces(wrong), ..Config::default() };
            assert!(config.check().unwrap_err().to_string().contains("traces.collector"));
        }
    }

    /// A value inside of the range is taken, the next one outside is refused by its name.
    fn check<T>(key: &str, set: impl Fn(&mut Limits, T), good: [T; 2], bad: impl IntoIterator<Item = T>) {
        let outcome = |value| {
            let mut config = Config::default();
            set(&mut config.limits, value);
            config.check().map_err(|error| error.to_string())
        };
        for value in good {
            assert_eq!(outcome(value), Ok(()), "{key}");
        }
        for value in bad {
            assert!(outcome(value).unwrap_err().contains(key), "{key}");
        }
    }

    #[test]
    fn every_limit_has_a_range() {
        let (post, handshake) = (limits::POST, limits::HANDSHAKE);
        check("limits.max_message", |l, v| l.max_message = ByteSize(v), [1, post], [0, post + 1]);
        check("limits.max_commit", |l, v| l.max_commit = ByteSize(v), [1, handshake], [0, handshake + 1]);
        check("limits.max_file", |l, v| l.max_file = ByteSize(v), [1, limits::FILE], [0, limits::FILE + 1]);
        check("limits.file_bytes_per_account", |l, v| l.file_bytes_per_account = ByteSize(v), [1, usize::MAX], [0]);
        check("limits.file_parts_per_minute", |l, v| l.file_parts_per_minute = v, [1, u32::MAX], [0]);
        check("limits.max_connections", |l, v| l.max_connections = v, [1, usize::MAX], [0]);
        check("limits.connections_per_address", |l, v| l.connections_per_address = v, [1, usize::MAX], [0]);
        check("limits.calls_in_flight", |l, v| l.calls_in_flight = v, [1, 256], [0, 257]);
        check("limits.devices_per_account", |l, v| l.devices_per_account = v, [1, limits::DEVICES], [0, 17]);
        check("limits.key_packages_per_device", |l, v| l.key_packages_per_device = v, [100, u64::MAX], [0, 99]);
        check("limits.log_entries_per_group", |l, v| l.log_entries_per_group = v, [1, u64::MAX], [0]);
        check("limits.inbox_entries_per_device", |l, v| l.inbox_entries_per_device = v, [1, u64::MAX], [0]);
        check("limits.posts_per_minute", |l, v| l.posts_per_minute = v, [1, u32::MAX], [0]);
        check("limits.claims_per_minute", |l, v| l.claims_per_minute = v, [1, u32::MAX], [0]);
        check("limits.claims_per_minute_per_target", |l, v| l.claims_per_minute_per_target = v, [1, u32::MAX], [0]);
        check("limits.logins_per_minute_per_account", |l, v| l.logins_per_minute_per_account = v, [1, u32::MAX], [0]);
        check("limits.logins_per_minute_per_address", |l, v| l.logins_per_minute_per_address = v, [1, u32::MAX], [0]);
        let registrations = |l: &mut Limits, v| l.registrations_per_hour_per_address = Some(v);
        check("limits.registrations_per_hour_per_address", registrations, [1, u32::MAX], [0]);
    }
}
