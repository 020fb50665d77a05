//! The operator's commands on the data of a real server: audit, another key, a smaller file.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use qpq_tests::world::{Done, Person, Server, binaries, finish_child};
use tempfile::tempdir;

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binaries().join("qpq-server"));
    command.arg("--data-dir").arg(data).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn qpq_server(data: &Path, arguments: &[&str]) -> Result<Done> {
    finish_child(command(data, arguments).spawn()?)
}

#[test]
fn an_audit_shows_what_there_is_and_no_more() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let refused = qpq_server(data.path(), &["audit"])?.exit(1)?;
    assert!(refused.stderr.contains("db.key"), "{}", refused.stderr);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.run(&["group", "create", "Secret Plans", "@bob"])?.success()?;
    alice.run(&["send", "@bob", "a secret text"])?.success()?;

    // While the server runs.
    let about = qpq_server(data.path(), &["audit", "--user", "alice"])?.success()?.stdout;
    for part in ["name alice", "identity ", "opaque_record (192 bytes)", "devices: ", "key_packages: ", "members: "] {
        assert!(about.contains(part), "{part} is missing:\n{about}");
    }
    assert!(!about.contains("bob"), "{about}");
    let group = about.split("group_id ").nth(1).and_then(|rest| rest.get(..32)).context("the id of a group")?;
    let of_group = qpq_server(data.path(), &["audit", "--group", group])?.success()?.stdout;
    assert!(of_group.contains("kind commit") && of_group.matches("device ").count() >= 2, "{of_group}");
    let all = qpq_server(data.path(), &["audit"])?.success()?.stdout;
    assert!(all.lines().any(|line| line.starts_with("accounts ") && line.contains(" 2 ")), "{all}");
    for text in [&about, &of_group, &all] {
        assert!(!text.contains("Plans") && !text.contains("secret text"), "{text}");
    }
    let nobody = qpq_server(data.path(), &["audit", "--user", "nobody"])?.exit(1)?;
    assert!(nobody.stderr.contains("there is no account nobody"), "{}", nobody.stderr);
    assert!(bob.run(&["recv", "--timeout", "5s"])?.success()?.stdout.contains("a secret text"));
    Ok(())
}

#[test]
fn another_key_and_a_smaller_file_leave_everything_as_it_was() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.run(&["send", "@bob", "before"])?.success()?;
    for name in ["rotate-key", "vacuum"] {
        let refused = qpq_server(data.path(), &[name])?.exit(1)?;
        assert!(refused.stderr.contains("another server is running"), "{}", refused.stderr);
    }
    let address = server.address.clone();
    assert_eq!(server.terminate()?, 0);
    let key = || fs::read_to_string(data.path().join("db.key"));
    let old = key()?;
    let said = qpq_server(data.path(), &["rotate-key"])?.success()?.stdout;
    assert!(said.contains("db.key") && said.contains("new backup"), "{said}");
    assert_ne!(key()?, old);
    qpq_server(data.path(), &["vacuum"])?.success()?;
    #[cfg(unix)]
    for file in ["db.key", "qpq.db"] {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(data.path().join(file))?.permissions().mode() & 0o777, 0o600, "{file}");
    }

    let server = Server::start_with(data.path(), &address, &[])?;
    alice.run(&["send", "@bob", "after"])?.success()?;
    assert_eq!(bob.texts(2)?, ["before", "after"]);
    assert_eq!(server.terminate()?, 0);
    fs::write(data.path().join("db.key"), old)?;
    let refused = qpq_server(data.path(), &["run", "--listen", "127.0.0.1:0"])?.exit(1)?;
    assert!(refused.stderr.contains("wrong database key"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn a_change_of_the_key_that_is_killed_leaves_a_server_that_starts() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let bob = Person::registered(&folder, "bob", &server.address)?;
    alice.run(&["send", "@bob", "kept"])?.success()?;
    let address = server.address.clone();
    assert_eq!(server.terminate()?, 0);
    // Wherever these moments are on this machine: before, in between, or when it is over.
    for milliseconds in (0..120).step_by(6) {
        let mut running = command(data.path(), &["rotate-key"]).spawn()?;
        std::thread::sleep(Duration::from_millis(milliseconds));
        running.kill()?;
        running.wait()?;
        let listed = qpq_server(data.path(), &["user", "list"])?.success()?.stdout;
        ensure!(listed.contains("alice") && listed.contains("bob"), "after {milliseconds} ms: {listed}");
    }
    let _server = Server::start_with(data.path(), &address, &[])?;
    let mut left: Vec<_> = fs::read_dir(data.path())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    left.retain(|name| name.contains(".next") || name.contains("rewriting"));
    assert_eq!(left, [] as [String; 0], "nothing is left of it");
    assert_eq!(bob.texts(1)?, ["kept"]);
    Ok(())
}
