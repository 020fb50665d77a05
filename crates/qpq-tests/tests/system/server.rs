//! The operator's side: configuration, policies, health, and bytes that make no sense.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::Result;
use qpq_tests::world::{Person, Server, binaries};
use tempfile::tempdir;

fn qpq_server(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(binaries().join("qpq-server")).args(arguments).output()?)
}

#[test]
fn a_typo_in_the_configuration_is_named() -> Result<()> {
    let folder = tempdir()?;
    let config = folder.path().join("qpq-server.toml");
    let check = |text: &str| -> Result<(Option<i32>, String)> {
        std::fs::write(&config, text)?;
        let output = qpq_server(&["check-config", "--config", config.to_str().unwrap()])?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (code, _) = check("listen = \"127.0.0.1:7000\"\n")?;
    assert_eq!(code, Some(0));
    for (text, names) in [
        ("listen = \"127.0.0.1:7000\"\nlisten_port = 5\n", ["listen_port", "2"]),
        ("\n[limits]\nmax_connections = \"many\"\n", ["max_connections", "3"]),
        ("[registration]\npolicy = \"everybody\"\n", ["policy", "2"]),
        ("[retention]\nentries = \"30 bananas\"\n", ["entries", "2"]),
    ] {
        let (code, stderr) = check(text)?;
        assert_eq!(code, Some(1), "{text}");
        assert!(stderr.contains("qpq-server.toml"), "{stderr}");
        assert!(names.iter().all(|name| stderr.contains(name)), "{stderr}");
    }
    Ok(())
}

#[test]
fn invitations_are_good_for_one() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let settings = [("QPQ_SERVER__REGISTRATION__POLICY", "invite")];
    let server = Server::start_with(data.path(), "127.0.0.1:0", &settings)?;
    let alice = Person::new(&folder, "alice", &server.address);
    let refused = alice.run(&["register", "alice"])?.exit(1)?;
    assert!(refused.stderr.contains("invit"), "{}", refused.stderr);
    let data_dir = data.path().to_str().unwrap();
    let invited = qpq_server(&["--data-dir", data_dir, "invite", "--count", "2"])?;
    assert!(invited.status.success());
    let codes = String::from_utf8(invited.stdout)?;
    let codes: Vec<_> = codes.split_whitespace().collect();
    assert_eq!(codes.len(), 2);
    alice.run(&["register", "alice", "--invite", codes[0]])?.success()?;
    let bob = Person::new(&folder, "bob", &server.address);
    bob.run(&["register", "bob", "--invite", codes[0]])?.exit(1)?;
    bob.run(&["register", "bob", "--invite", codes[1]])?.success()?;
    Ok(())
}

#[test]
fn a_disabled_user_is_out() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    let data_dir = data.path().to_str().unwrap();
    let listed = qpq_server(&["--data-dir", data_dir, "user", "list"])?;
    assert!(String::from_utf8(listed.stdout)?.contains("alice"));
    assert!(qpq_server(&["--data-dir", data_dir, "user", "disable", "alice"])?.status.success());
    let out = alice.run(&["sync", "--timeout", "10s"])?.exit(1)?;
    assert!(out.stderr.contains("disabled"), "{}", out.stderr);
    Ok(())
}

#[test]
fn health_metrics_and_a_graceful_stop() -> Result<()> {
    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    alice.run(&["send", "@alice", "note"])?.success()?;
    assert_eq!(server.http("/healthz")?.0, 200);
    assert_eq!(server.http("/readyz")?.0, 200);
    assert_eq!(server.http("/nothing")?.0, 404);
    let (status, metrics) = server.http("/metrics")?;
    assert_eq!(status, 200);
    assert!(metrics.lines().any(|line| line.starts_with("qpq_posts_total") && line.ends_with(" 1")), "{metrics}");
    assert!(!metrics.contains("alice"));
    let data_dir = data.path().to_str().unwrap();
    assert!(qpq_server(&["--data-dir", data_dir, "healthcheck"])?.status.success());
    assert!(!second_server(data.path())?.status.success(), "two servers on one folder");
    assert_eq!(server.terminate()?, 0);
    assert!(!qpq_server(&["--data-dir", data_dir, "healthcheck"])?.status.success());
    Ok(())
}

fn second_server(data: &Path) -> Result<Output> {
    let data = data.to_str().unwrap();
    Ok(Command::new(binaries().join("qpq-server"))
        .args(["--data-dir", data, "--listen", "127.0.0.1:0"])
        .env("QPQ_SERVER__METRICS__LISTEN", "127.0.0.1:0")
        .output()?)
}

#[test]
fn bytes_that_make_no_sense_end_their_connection_and_nothing_else() -> Result<()> {
    use qpq_io::rpc::connect::{Connector, ServerAddress};
    use qpq_io::rpc::pin::ServerTrust;

    let (folder, data) = (tempdir()?, tempdir()?);
    let server = Server::start(data.path())?;
    let address: ServerAddress = server.address.parse()?;
    let nonsense: [&[u8]; 6] =
        [&[], &[0xff; 64], &[0; 4096], b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f], &[7; 100_000]];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for bytes in nonsense {
            let connector = Connector::new(ServerTrust::SystemRootsOrFirstUse)?;
            let connection = connector.connect(&address).await?;
            let (mut sender, _receiver) = connection.open_stream().await?;
            // The server may hang up while we are still talking.
            let _ = sender.write_all(bytes).await;
            let _ = sender.finish();
            let ended = tokio::time::timeout(std::time::Duration::from_secs(60), connection.closed()).await;
            anyhow::ensure!(ended.is_ok(), "the connection stays open");
        }
        anyhow::Ok(())
    })?;
    let alice = Person::registered(&folder, "alice", &server.address)?;
    alice.run(&["send", "@alice", "still there"])?.success()?;
    let log = std::fs::read_to_string(data.path().join("stderr.log"))?;
    assert!(!log.contains("panicked"), "{log}");
    Ok(())
}
