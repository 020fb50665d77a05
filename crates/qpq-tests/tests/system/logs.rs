//! The server's log at its most talkative: one JSON object a line, requests can be followed, and nobody is named.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use qpq_tests::world::{Person, Server, binaries};
use serde_json::Value;
use tempfile::tempdir;

#[test]
fn a_debug_log_is_json_with_request_ids_and_without_anybody_in_it() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let settings = [
        ("QPQ_SERVER__LOG__LEVEL", "trace"),
        ("QPQ_SERVER__LOG__FORMAT", "json"),
        ("QPQ_SERVER__LIMITS__POSTS_PER_MINUTE", "60"),
        ("QPQ_SERVER__LIMITS__LOGINS_PER_MINUTE_PER_ACCOUNT", "1"),
    ];
    let server = Server::start_with(data.path(), "127.0.0.1:0", &settings)?;
    let alice = Person::registered(&folder, "alicia", &server.address)?;
    let bob = Person::registered(&folder, "robert", &server.address)?;
    alice.run(&["group", "create", "Zanzibar", "@robert"])?.success()?;
    alice.run(&["send", "@robert", "wallaby"])?.success()?;
    assert!(bob.texts(1)?.contains(&"wallaby".to_owned()));
    // Refusals too: too fast, unknown people, wrong names.
    let lines: Vec<String> = std::iter::once("/switch @robert".to_owned())
        .chain((0..66).map(|number| format!("wallaby {number}")))
        .collect();
    alice.repl(&lines)?.success()?;
    assert_ne!(alice.run(&["send", "@nobodyhere", "wallaby"])?.code, 0);
    let twin = Person::new(&folder, "twin", &server.address);
    assert_ne!(twin.run(&["register", "alicia"])?.code, 0);
    alice.run(&["group", "leave", "#Zanzibar"])?.success()?;
    let whoami = alice.json(&["whoami"])?;
    let ids: BTreeSet<String> = long_ids(&whoami);
    ensure!(!ids.is_empty(), "whoami prints ids: {whoami:?}");
    let audit = std::process::Command::new(binaries().join("qpq-server"))
        .arg("--data-dir")
        .arg(data.path())
        .args(["audit", "--user", "alicia"])
        .output()?;
    let audit = String::from_utf8(audit.stdout)?;
    let port = server.address.rsplit(':').next().context("a port")?.to_owned();
    assert_eq!(server.terminate()?, 0);

    let log = std::fs::read_to_string(data.path().join("stderr.log"))?;
    let (mut requests, mut methods) = (BTreeSet::new(), BTreeSet::new());
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        ensure!(entry["timestamp"].is_string() && entry["level"].is_string(), "{line}");
        let fields = &entry["fields"];
        if fields["message"] == "call" {
            let request = fields["request"].as_str().with_context(|| format!("no request id: {line}"))?.to_owned();
            ensure!(requests.insert(request), "a request id came twice: {line}");
            methods.insert(fields["method"].as_str().context("a method")?.to_owned());
            ensure!(fields["outcome"].is_string() && fields["micros"].is_u64(), "{line}");
        }
    }
    for method in ["gateway.resume", "groups.post", "groups.create", "stream.subscribe"] {
        assert!(methods.contains(method), "{method} is not among {methods:?}");
    }

    for word in ["alicia", "robert", "Zanzibar", "wallaby", "nobodyhere", "twin"] {
        assert!(!log.contains(word), "the log contains {word}");
    }
    // Clients come from the loopback address; the server's own is in no line either.
    for (number, line) in (1..).zip(log.lines()) {
        assert!(!line.contains("127.0.0.1") && !line.contains(&port), "line {number}: {line}");
    }
    // Whole ids: of people, devices and groups. What is logged is a short beginning.
    let audited = audit.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() >= 32).map(str::to_owned);
    for id in audited.chain(ids) {
        let beginning = &id[..16];
        assert!(!log.contains(beginning), "the log contains {beginning}");
    }
    Ok(())
}

/// Hexadecimal words that are long enough for an id.
fn long_ids(values: &[Value]) -> BTreeSet<String> {
    let text = serde_json::to_string(values).unwrap_or_default();
    let words = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() >= 32);
    words.map(str::to_owned).collect()
}
