//! People whose clocks are wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use qpq_tests::world::{Person, Server, texts};
use tempfile::tempdir;

/// A library that is loaded before all others and moves the time of day by `CLOCK_OFFSET` seconds.
fn moved_clock(folder: &Path) -> Result<PathBuf> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, SOURCE)?;
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status()?;
    ensure!(built.success(), "the library does not build");
    Ok(library)
}

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, id, now);
    const char *offset = getenv("CLOCK_OFFSET");
    if (result == 0 && id == CLOCK_REALTIME && offset) now->tv_sec += atol(offset);
    return result;
}
"#;

#[test]
fn clocks_that_are_wrong_by_days_hinder_nobody() -> Result<()> {
    if cfg!(not(target_os = "linux")) {
        println!("skipped: clocks are moved by means of Linux");
        return Ok(());
    }
    let (folder, data) = (tempdir()?, tempdir()?);
    let clock = moved_clock(folder.path())?;
    let server = Server::start(data.path())?;
    let at = |name: &str, offset: i64| -> Result<Person> {
        let mut person = Person::new(&folder, name, &server.address);
        person.environment = vec![("LD_PRELOAD", clock.clone().into()), ("CLOCK_OFFSET", offset.to_string().into())];
        person.run(&["register", name])?.success()?;
        Ok(person)
    };
    let (ahead, behind) = (at("ahead", DAY)?, at("behind", -5 * DAY)?);
    let right = Person::registered(&folder, "right", &server.address)?;

    // Whoever begins, and whoever is added.
    ahead.run(&["send", "@behind", "from the future"])?.success()?;
    behind.run(&["send", "@right", "from the past"])?.success()?;
    right.run(&["group", "create", "team", "@ahead", "@behind"])?.success()?;
    assert_eq!(behind.texts(1)?, ["from the future"]);
    assert_eq!(right.texts(1)?, ["from the past"]);
    for person in [&ahead, &behind] {
        person.run(&["sync"])?.success()?;
        person.run(&["accept", "#team"])?.success()?;
        person.run(&["send", "#team", &format!("by {}", person.name)])?.success()?;
    }
    for person in [&ahead, &behind, &right] {
        person.run(&["sync"])?.success()?;
        assert_eq!(texts(&person.json(&["history", "#team"])?), ["by ahead", "by behind"], "{}", person.name);
    }

    // What disappears does so after the time that was agreed on: neither at once nor after days.
    ahead.run(&["disappear", "#team", "20s"])?.success()?;
    behind.run(&["sync"])?.success()?;
    behind.run(&["send", "#team", "for a while"])?.success()?;
    let sent = Instant::now();
    for person in [&ahead, &right] {
        person.run(&["sync"])?.success()?;
        let is_there = texts(&person.json(&["history", "#team"])?).contains(&"for a while".to_owned());
        ensure!(is_there || sent.elapsed() > Duration::from_secs(18), "{} does not get it", person.name);
    }
    for person in [&ahead, &behind, &right] {
        while texts(&person.json(&["history", "#team"])?).contains(&"for a while".to_owned()) {
            ensure!(sent.elapsed() < Duration::from_secs(120), "{} still has it", person.name);
        }
    }
    Ok(())
}

/// In seconds.
const DAY: i64 = 24 * 3600;
