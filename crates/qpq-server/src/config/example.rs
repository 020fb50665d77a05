//! The commented example file, made from the defaults, so that it stays true.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::Config;

/// The text of `deploy/qpq-server.toml`: every setting with its meaning and default.
pub fn example() -> String {
    let defaults = Table::try_from(Config::default()).unwrap_or_default();
    let mut text = String::from(HEADER);
    for setting in SETTINGS {
        let (section, key) = setting.path.split_once('.').unwrap_or(("", setting.path));
        if !section.is_empty() && !text.contains(&format!("\n[{section}]\n")) {
            let _ = write!(text, "\n[{section}]\n");
        }
        let default = setting.default.map_or_else(|| value_of(&defaults, section, key), str::to_owned);
        for line in setting.doc.lines() {
            let _ = writeln!(text, "# {line}");
        }
        let _ = match setting.example {
            Some(example) => writeln!(text, "# Default: {default}\n{key} = {example}"),
            None => writeln!(text, "{key} = {default}"),
        };
    }
    text
}

fn value_of(defaults: &Table, section: &str, key: &str) -> String {
    let table = match defaults.get(section) {
        Some(Value::Table(inner)) => inner,
        _ => defaults,
    };
    table.get(key).map_or_else(String::new, ToString::to_string)
}

const HEADER: &str = "\
# quicproquo server, as an example for production. Everything may be left out; a line that shows no other default shows
# the default itself. Durations are a number with s, m, h or d; sizes a number with B, KiB, MiB or GiB; relative paths
# are inside of data_dir. An environment variable overrides any of it: QPQ_SERVER__LISTEN, QPQ_SERVER__TLS__CERT, ...

";

/// A setting and what it means.
struct Setting {
    path: &'static str,
    doc: &'static str,
    /// What the file shows instead of the default.
    example: Option<&'static str>,
    /// Where the default is not one value.
    default: Option<&'static str>,
}

const fn plain(path: &'static str, doc: &'static str) -> Setting {
    Setting { path, doc, example: None, default: None }
}

const fn shown(path: &'static str, doc: &'static str, example: &'static str) -> Setting {
    Setting { path, doc, example: Some(example), default: None }
}

const fn described(path: &'static str, doc: &'static str, example: &'static str, default: &'static str) -> Setting {
    Setting { path, doc, example: Some(example), default: Some(default) }
}

const SETTINGS: &[Setting] = &[
    shown("listen", "UDP address and port that clients connect to; port 0 picks a free one.", "\"0.0.0.0:7000\""),
    shown("domain", "The part after @ in names.", "\"chat.example.org\""),
    described(
        "data_dir",
        "Where the database and the keys are kept.",
        "\"/var/lib/qpq\"",
        "qpq-server in the XDG data directory of the user",
    ),
    shown(
        "mode",
        "\"development\" or \"production\"; production refuses self-made certificates, open file modes and missing keys.",
        "\"production\"",
    ),
    plain("workers", "Threads that serve connections; 0 means one per processor."),
    shown(
        "tls.cert",
        "PEM files, read again on SIGHUP. A development server makes them itself if they are missing.",
        "\"/etc/qpq/tls/fullchain.pem\"",
    ),
    shown("tls.key", "Mode 0600.", "\"/etc/qpq/tls/privkey.pem\""),
    plain("store.backend", "The only one so far."),
    plain("store.path", "The database, encrypted."),
    plain("store.key_file", "The key that opens it: 64 hexadecimal digits, mode 0600. Without it everything is lost."),
    described(
        "registration.policy",
        "Who may register: \"open\", \"invite\" (codes from `qpq-server invite`) or \"closed\".",
        "\"invite\"",
        "\"open\" in development, \"invite\" in production",
    ),
    plain("metrics.listen", "TCP address of /metrics, /healthz and /readyz. Keep it private."),
    plain("limits.max_connections", "Connections in all; each costs about 50 KiB while idle."),
    plain("limits.connections_per_address", "Connections from one address."),
    plain("limits.calls_in_flight", "Calls of one connection that may wait for an answer at a time, at most 256."),
    plain("limits.max_message", "Largest application message, at most 128KiB."),
    plain("limits.max_commit", "Largest commit, group info or ratchet tree, at most 4MiB."),
    plain("limits.devices_per_account", "Devices in one account, at most 16."),
    plain("limits.key_packages_per_device", "Key packages that a device may have in stock, at least 100."),
    plain("limits.log_entries_per_group", "Entries that are kept per group, whatever their age."),
    plain("limits.inbox_entries_per_device", "Entries that may wait for one device."),
    plain("limits.max_file", "Largest file, at most 2GiB. With padding it takes up to 12 % more."),
    plain("limits.file_bytes_per_account", "Files that are kept for one account, together and with padding."),
    plain("limits.file_parts_per_minute", "Parts of files, 64 KiB each, that one account may send or fetch."),
    plain("limits.posts_per_minute", "Messages and group changes of one account."),
    plain("limits.claims_per_minute", "Key packages that one account may ask for, and directory look-ups."),
    plain("limits.claims_per_minute_per_target", "Key packages that are given out for one account, whoever asks."),
    plain("limits.logins_per_minute_per_account", "Attempts with a password, for one name and from one address."),
    plain("limits.logins_per_minute_per_address", "See above."),
    described(
        "limits.registrations_per_hour_per_address",
        "Registrations from one address.",
        "60",
        "1000 in development, 60 in production",
    ),
    plain("retention.entries", "How long an entry is kept that not everybody has acknowledged."),
    plain("retention.blobs", "How long files are kept after the last message that refers to them."),
    plain(
        "retention.unreferenced_blobs",
        "How long files are kept that no message refers to, such as unfinished ones.",
    ),
    plain(
        "log.level",
        "\"error\", \"warn\", \"info\", \"debug\" or \"trace\". None of them logs names, addresses or content.",
    ),
    plain("log.format", "\"text\" or \"json\"."),
    plain(
        "traces.collector",
        "Where spans of requests go: an OpenTelemetry collector (OTLP over HTTP) such as \"http://127.0.0.1:4318\"; \"\": nowhere.",
    ),
    plain("traces.one_in", "Of so many requests one is traced."),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_described_and_exists() {
        let mut known: Vec<String> = Vec::new();
        let example: Table = example().parse().unwrap();
        for (key, value) in Table::try_from(Config::default()).unwrap() {
            match value {
                Value::Table(inner) => known.extend(inner.keys().map(|inner| format!("{key}.{inner}"))),
                _ => known.push(key),
            }
        }
        for path in &known {
            assert!(SETTINGS.iter().any(|setting| setting.path == path), "{path} has no description");
        }
        assert_eq!(SETTINGS.len(), known.len() + 2, "two settings have no single default");
        toml::from_str::<Config>(&toml::to_string(&example).unwrap()).unwrap().check().unwrap();
    }

    #[test]
    fn the_file_in_the_repository_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/qpq-server.toml");
        let file = std::fs::read_to_string(path).unwrap_or_default();
        assert!(file == example(), "write the output of `qpq-server example-config` to deploy/qpq-server.toml");
    }

    #[test]
    fn the_configuration_in_the_kubernetes_manifest_is_good() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kubernetes/qpq-server.yaml");
        let manifest = std::fs::read_to_string(path).unwrap();
        let (_, rest) = manifest.split_once("qpq-server.toml: |\n").unwrap();
        let lines = rest.lines().take_while(|line| *line != "---").map(str::trim_start);
        let config: Config = toml::from_str(&lines.collect::<Vec<_>>().join("\n")).unwrap();
        config.check().unwrap();
        assert_eq!(config.mode, crate::config::Mode::Production);
    }
}
