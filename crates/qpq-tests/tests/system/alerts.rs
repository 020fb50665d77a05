//! The shipped rules in a real Prometheus that watches a real server: quiet while it is well, and loud when its disk is full
//! or it is gone.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use qpq_tests::disk::{self, Disk};
use qpq_tests::world::{Person, Server};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

#[test]
fn prometheus_tells_of_a_full_disk_and_of_a_server_that_is_gone() -> Result<()> {
    if let Some(reason) = disk::unavailable() {
        println!("prometheus_tells_of_a_full_disk is skipped: {reason}");
        return Ok(());
    }
    let (folder, disk) = (tempdir()?, Disk::memory(24)?);
    let log = folder.path().join("server.log");
    std::os::unix::fs::symlink(&log, disk.path().join("stderr.log"))?;
    let server = Server::start(&disk.path())?;
    let Some(prometheus) = Prometheus::start(&server.metrics)? else {
        println!("prometheus_tells_of_a_full_disk is skipped: prometheus is not installed (Debian: prometheus)");
        return Ok(());
    };
    let alice = Person::registered(&folder, "alice", &server.address)?;
    alice.run(&["send", "@alice", "before"])?.success()?;
    prometheus.until("the server is scraped", |prometheus| {
        Ok(!prometheus.query("qpq_posts_total{outcome=\"accepted\"} > 0")?.is_empty())
    })?;
    let firing = prometheus.firing()?;
    // Not all of them: rules that do not wait are easily upset by what is slow for a second.
    let premature =
        ["QpqDown", "QpqNotReady", "QpqWritesFail", "QpqDiskAlmostFull", "QpqCertificateExpired", "QpqPanics"];
    assert!(!firing.iter().any(|alert| premature.contains(&alert.as_str())), "a server that is well: {firing:?}");

    let filler = disk.fill()?;
    let mut sent = 0;
    while alice.run(&["send", "--timeout", "3s", "@alice", &"x".repeat(60_000)])?.code == 0 {
        sent += 1;
        ensure!(sent < 1000, "a full disk takes everything");
    }
    for alert in ["QpqNotReady", "QpqWritesFail", "QpqDiskAlmostFull"] {
        prometheus.until(alert, |prometheus| Ok(prometheus.firing()?.iter().any(|firing| firing == alert)))?;
    }
    drop(filler);
    prometheus.until("it is ready again", |prometheus| {
        Ok(!prometheus.firing()?.iter().any(|firing| firing == "QpqNotReady"))
    })?;

    server.kill()?;
    prometheus.until("QpqDown", |prometheus| Ok(prometheus.firing()?.iter().any(|firing| firing == "QpqDown")))
}

/// Killed when dropped.
struct Prometheus {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Prometheus {
    /// With the shipped rules, which wait for nothing here: what is tried is whether they see it. None: not installed.
    fn start(target: &str) -> Result<Option<Self>> {
        let folder = tempdir()?;
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/prometheus/alerts.yml");
        let rules = std::fs::read_to_string(shipped)?;
        let hasty: Vec<&str> = rules.lines().filter(|line| !line.trim_start().starts_with("for:")).collect();
        std::fs::write(folder.path().join("alerts.yml"), hasty.join("\n"))?;
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [alerts.yml]\n\
             scrape_configs:\n  - job_name: qpq\n    static_configs: [{{targets: [\"{target}\"]}}]\n"
        );
        std::fs::write(folder.path().join("prometheus.yml"), config)?;
        let started = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut lines = BufReader::new(child.stderr.take().context("piped")?).lines();
        for line in lines.by_ref() {
            if let Some((_, address)) = line?.split_once("msg=\"Listening on\" address=") {
                let address = address.to_owned();
                // Whoever does not read what it says stops it in the end.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Some(Self { child, address, _folder: folder }));
            }
        }
        bail!("prometheus ended: {}", child.wait()?)
    }

    fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}"))?;
        answer["data"]["result"].as_array().cloned().with_context(|| format!("{expression}: {answer}"))
    }

    fn firing(&self) -> Result<Vec<String>> {
        let answer = self.get("/api/v1/alerts")?;
        let alerts = answer["data"]["alerts"].as_array().with_context(|| format!("{answer}"))?;
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        Ok(firing.filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned)).collect())
    }

    fn get(&self, path: &str) -> Result<Value> {
        let mut stream = TcpStream::connect(&self.address)?;
        // Version 1.0, so that the answer comes in one piece.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
        serde_json::from_str(body).with_context(|| body.to_owned())
    }

    fn until(&self, what: &str, condition: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self)? {
            ensure!(
                Instant::now() < deadline,
                "{what}: not within {} s, firing: {:?}",
                PATIENCE.as_secs(),
                self.firing()?
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(120);
