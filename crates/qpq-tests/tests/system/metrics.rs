//! What a collector gets from a server that is in use.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use qpq_tests::exposition::{self, Families};
use qpq_tests::world::{Person, Server};
use tempfile::tempdir;

#[test]
fn a_busy_server_is_scraped_and_everything_is_in_the_documentation() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", &[("QPQ_SERVER__LIMITS__POSTS_PER_MINUTE", "60")])?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.run(&["group", "create", "Plans", "@bob"])?.success()?;
    alice.run(&["send", "@bob", "first"])?.success()?;
    alice.run(&["group", "rename", "#Plans", "Party"])?.success()?;

    // While messages are posted, each more than the limit lets through at once, and somebody is online to get them.
    let follower = bob.spawn(&["recv", "--timeout", "60s", "--max", "67"])?;
    let lines: Vec<String> =
        std::iter::once("/switch @bob".to_owned()).chain((0..66).map(|number| format!("line {number}"))).collect();
    let scrapes = std::thread::scope(|scope| {
        let writing = scope.spawn(|| alice.repl(&lines));
        let mut scrapes = Vec::new();
        while !writing.is_finished() {
            scrapes.push(scrape(&server)?);
        }
        writing.join().expect("the writing thread")?.success()?;
        anyhow::Ok(scrapes)
    })?;
    qpq_tests::world::finish_child(follower)?.success()?;
    ensure!(!scrapes.is_empty(), "nobody has scraped in the meantime");
    let (text, last) = scrape(&server)?;

    // Counters only rise.
    let mut before = f64::MIN;
    for families in scrapes.iter().map(|(_, families)| families).chain([&last]) {
        let posts = sum(families, "qpq_posts_total", &[("outcome", "accepted")])?;
        assert!(posts >= before, "{posts} after {before}");
        before = posts;
    }

    assert_eq!(sum(&last, "qpq_accounts", &[])?, 2.0);
    assert_eq!(sum(&last, "qpq_devices", &[])?, 2.0);
    assert_eq!(sum(&last, "qpq_registrations_total", &[])?, 2.0);
    for (name, labels) in [
        ("qpq_rpc_calls_total", &[("method", "groups.post"), ("outcome", "ok")][..]),
        ("qpq_rpc_duration_seconds", &[("method", "groups.commit")]),
        ("qpq_rate_limited_total", &[("limit", "posts_per_minute")]),
        ("qpq_commits_total", &[("outcome", "accepted")]),
        ("qpq_logins_total", &[("kind", "resume"), ("outcome", "ok")]),
        ("qpq_handshakes_total", &[("outcome", "completed")]),
        ("qpq_key_package_claims_total", &[("kind", "one_time")]),
        ("qpq_deliveries_total", &[]),
        ("qpq_delivery_lag_seconds", &[]),
        ("qpq_fanout_devices", &[]),
        ("qpq_store_flush_seconds", &[]),
        ("qpq_store_transaction_jobs", &[]),
        ("qpq_log_entries", &[]),
        ("qpq_key_packages", &[]),
        ("qpq_store_database_bytes", &[]),
        ("qpq_disk_free_bytes", &[]),
        ("qpq_certificate_expiry_timestamp_seconds", &[]),
        ("process_resident_memory_bytes", &[]),
        ("process_cpu_seconds_total", &[]),
        ("process_open_fds", &[]),
        ("process_start_time_seconds", &[]),
    ] {
        assert!(sum(&last, name, labels)? > 0.0, "{name}{labels:?} is zero in\n{text}");
    }
    assert_eq!(sum(&last, "qpq_ready", &[])?, 1.0);
    assert_eq!(sum(&last, "qpq_panics_total", &[])?, 0.0);

    // Nothing that is served is undocumented; what is documented and not served has had no reason yet.
    let served: BTreeSet<&str> = last.keys().map(String::as_str).collect();
    let documented = documented()?;
    let documented: BTreeSet<&str> = documented.iter().map(String::as_str).collect();
    assert_eq!(served.difference(&documented).collect::<Vec<_>>(), [] as [&&str; 0]);
    assert_eq!(documented.difference(&served).collect::<Vec<_>>(), [] as [&&str; 0]);

    // No user data, and few enough series that a collector never minds.
    for word in ["alice", "bob", "Plans", "Party", "127.0.0.1"] {
        assert!(!text.contains(word), "{word}");
    }
    let series: usize = last.values().map(|family| family.samples.len()).sum();
    assert!(series < 1500, "{series} series");
    promtool(&text)
}

fn scrape(server: &Server) -> Result<(String, Families)> {
    let (status, text) = server.http("/metrics")?;
    ensure!(status == 200, "status {status}");
    let families = exposition::parse(&text)?;
    Ok((text, families))
}

/// The sum of the samples with these labels; of a histogram the number of observations.
fn sum(families: &Families, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let family = families.get(name).with_context(|| format!("{name} is missing"))?;
    let samples = family.samples.iter().filter(|sample| {
        let is_counted = family.kind != "histogram" || sample.name.ends_with("_count");
        is_counted && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|found| found == value))
    });
    Ok(samples.map(|sample| sample.value).sum())
}

fn documented() -> Result<Vec<String>> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/metrics.md"))?;
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    Ok(rows.map(|(name, _)| name.to_owned()).collect())
}

/// What Prometheus's own tool says about names, types and help.
fn promtool(text: &str) -> Result<()> {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = match started {
        Ok(tool) => tool,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("promtool is not installed (Debian: prometheus); the text was only read by our own parser");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    tool.stdin.take().context("piped")?.write_all(text.as_bytes())?;
    let outcome = tool.wait_with_output()?;
    let said = [outcome.stdout, outcome.stderr].concat();
    ensure!(outcome.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    Ok(())
}
