//! Limits as people meet them: who is too fast is slowed and loses nothing, what is too large is refused by name, and
//! somebody whose key packages are taken can still be reached.

use anyhow::{Context as _, Result};
use qpq_tests::world::{Person, Server};
use tempfile::tempdir;

/// One counter of the server.
fn counter(server: &Server, line: &str) -> Result<u64> {
    let (_, metrics) = server.http("/metrics")?;
    let found = metrics.lines().find_map(|known| known.strip_prefix(line));
    found.map_or(Ok(0), |value| value.trim().parse()).context("a number")
}

#[test]
fn who_is_too_fast_is_slowed_and_loses_nothing() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start_with(data.path(), "127.0.0.1:0", &[("QPQ_SERVER__LIMITS__POSTS_PER_MINUTE", "60")])?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    let lines: Vec<String> = (0..66).map(|number| format!("line {number}")).collect();
    alice.run(&["send", "@bob", "first"])?.success()?;
    alice.repl(&[&["/switch @bob".to_owned()], &lines[..]].concat())?.success()?;
    assert!(counter(&server, "qpq_rate_limited_total{limit=\"posts_per_minute\"}")? > 0);
    // Bob is not slowed by what Alice does.
    bob.run(&["send", "@alice", "slow down"])?.success()?;
    let received = bob.texts(67)?;
    assert_eq!((&received[0][..], &received[1..]), ("first", &lines[..]));
    Ok(())
}

#[test]
fn what_the_operator_limits_is_refused_by_name() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let settings = [
        ("QPQ_SERVER__LIMITS__MAX_MESSAGE", "2KiB"),
        ("QPQ_SERVER__LIMITS__LOG_ENTRIES_PER_GROUP", "3"),
        ("QPQ_SERVER__LIMITS__REGISTRATIONS_PER_HOUR_PER_ADDRESS", "2"),
        ("QPQ_SERVER__LIMITS__LOGINS_PER_MINUTE_PER_ACCOUNT", "1"),
    ];
    let server = Server::start_with(data.path(), "127.0.0.1:0", &settings)?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let large = alice.run(&["send", "@alice", &"x".repeat(3000)])?.exit(1)?;
    assert!(large.stderr.contains("limits.max_message"), "{}", large.stderr);
    for text in ["one", "two", "three"] {
        alice.run(&["send", "@alice", text])?.success()?;
    }
    let full = alice.run(&["send", "@alice", "four"])?.exit(1)?;
    assert!(full.stderr.contains("log_entries_per_group"), "{}", full.stderr);

    let name = "n".repeat(128);
    alice.run(&["group", "create", &name])?.success()?;
    let long = alice.run(&["group", "create", &format!("{name}n")])?.exit(1)?;
    assert!(long.stderr.contains("128"), "{}", long.stderr);

    let _bob = Person::registered(&folder, "bob", &server.address)?;
    let carol = Person::new(&folder, "carol", &server.address);
    let third = carol.run(&["register", "carol"])?;
    assert_ne!(third.code, 0);
    assert!(third.stderr.contains("registrations_per_hour_per_address"), "{}", third.stderr);
    Ok(())
}

#[test]
fn whose_key_packages_are_drained_is_still_reached_and_recovers() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let mallory = Person::registered(&folder, "mallory", &server.address)?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    let claims = |kind: &str| counter(&server, &format!("qpq_key_package_claims_total{{kind=\"{kind}\"}}"));

    let drain: Vec<String> = (0..32).map(|number| format!("/create-group g{number} @bob")).collect();
    mallory.repl(&drain)?.success()?;
    assert!(claims("last_resort")? > 0, "{} one-time key packages were taken", claims("one_time")?);
    alice.run(&["send", "@bob", "can you hear me?"])?.success()?;
    let drained = claims("last_resort")?;

    // Bob comes online: he reads it, and his next friends get key packages of their own again.
    assert_eq!(bob.texts(1)?, ["can you hear me?"]);
    bob.run(&["send", "@alice", "now I can"])?.success()?;
    let one_time = claims("one_time")?;
    alice.run(&["group", "create", "Plans", "@bob"])?.success()?;
    assert_eq!((claims("one_time")?, claims("last_resort")?), (one_time + 1, drained));
    assert_eq!(alice.texts(1)?, ["now I can"]);
    Ok(())
}
