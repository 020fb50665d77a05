//! Real servers and real people: the built binaries, each in a folder of its own.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// The password of everybody here.
pub const PASSWORD: &str = "correct horse battery staple";

/// The file of this program. Asked for before anything is built, for that may put another file into its place.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::current_exe().expect("a program knows its path"))
}

/// Builds the binaries once, in the profile this program was built in, and tells where they are.
pub fn binaries() -> &'static Path {
    static BINARIES: OnceLock<PathBuf> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let folder = program().ancestors().find(|folder| folder.ends_with("debug") || folder.ends_with("release"));
        let folder = folder.expect("built by cargo").to_owned();
        // The cargo that runs us, or the shell's: the one that built us, called by its path, would not tell rustup which
        // compiler it belongs to.
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--locked", "--workspace", "--bins"]);
        build.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let built = build.status().expect("cargo is there");
        assert!(built.success(), "the binaries do not build");
        folder
    })
}

/// A running `qpq-server`, killed when dropped.
pub struct Server {
    child: Child,
    /// `127.0.0.1:port`.
    pub address: String,
    /// The HTTP port.
    pub metrics: String,
}

impl Server {
    /// Starts one on this data folder and a free port, and waits until it is ready.
    pub fn start(data: &Path) -> Result<Self> {
        Self::start_with(data, "127.0.0.1:0", &[])
    }

    /// Starts one at an address of one's choice, with settings as environment variables.
    pub fn start_with(data: &Path, listen: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let mut child = spawn_server(data, listen, settings)?;
        let stdout = child.stdout.take().context("piped")?;
        let (mut address, mut metrics) = (None, None);
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(rest) = line.strip_prefix("listening on ") {
                address = Some(rest.to_owned());
            } else if let Some(rest) = line.strip_prefix("metrics on ") {
                metrics = Some(rest.to_owned());
            }
            if let (Some(address), Some(metrics)) = (&address, &metrics) {
                return Ok(Self { child, address: address.clone(), metrics: metrics.clone() });
            }
        }
        let status = child.wait()?;
        bail!("the server did not start ({status}): {}", std::fs::read_to_string(data.join("stderr.log"))?)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) -> Result<i32> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let status = wait(&mut self.child, Duration::from_secs(20))?;
        status.code().context("ended by a signal")
    }

    /// SIGSTOP: from now on it does nothing, until it is killed.
    pub fn freeze(&self) -> Result<()> {
        let sent = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status()?;
        ensure!(sent.success(), "the server cannot be stopped");
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// One GET request to the HTTP port: status and body.
    pub fn http(&self, path: &str) -> Result<(u16, String)> {
        use std::io::Read as _;
        let mut stream = std::net::TcpStream::connect(&self.metrics)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).context("an HTTP status")?.parse()?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status, body.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server and kills it after this time, ready or not.
pub fn start_and_kill(data: &Path, listen: &str, after: Duration) -> Result<()> {
    let mut child = spawn_server(data, listen, &[])?;
    std::thread::sleep(after);
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn spawn_server(data: &Path, listen: &str, settings: &[(&str, &str)]) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(data.join("stderr.log"))?;
    let mut command = Command::new(binaries().join("qpq-server"));
    command
        .arg("--data-dir")
        .arg(data)
        .args(["--listen", listen])
        .env("QPQ_SERVER__METRICS__LISTEN", "127.0.0.1:0")
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    Ok(command.spawn()?)
}

/// Somebody with a profile of their own.
pub struct Person {
    pub name: String,
    pub home: PathBuf,
    pub server: String,
    /// What their programs find in the environment.
    pub environment: Vec<(&'static str, OsString)>,
}

/// What a command did.
pub struct Done {
    /// Whose command it was, for messages.
    pub what: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// Fails unless the command exited with 0.
    pub fn success(self) -> Result<Self> {
        self.exit(0)
    }

    /// Fails unless the command exited with this code.
    pub fn exit(self, code: i32) -> Result<Self> {
        let Self { what, stdout, stderr, .. } = &self;
        ensure!(self.code == code, "{what}\nexit code {} instead of {code}\n{stdout}\n{stderr}", self.code);
        ensure!(!self.stderr.contains("panicked"), "a panic: {}", self.stderr);
        Ok(self)
    }

    /// The JSON objects that it printed.
    pub fn json(&self) -> Result<Vec<Value>> {
        let lines = self.stdout.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
    }
}

impl Person {
    /// Somebody who has no profile yet.
    pub fn new(folder: &TempDir, name: &str, server: &str) -> Self {
        Self { name: name.to_owned(), home: folder.path().join(name), server: server.to_owned(), environment: vec![] }
    }

    /// Somebody who has registered.
    pub fn registered(folder: &TempDir, name: &str, server: &str) -> Result<Self> {
        let person = Self::new(folder, name, server);
        person.run(&["register", name])?.success()?;
        Ok(person)
    }

    /// `qpq` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binaries().join("qpq"));
        command
            .arg("--home")
            .arg(&self.home)
            .args(["--server", &self.server])
            .args(arguments)
            .env("QPQ_PASSWORD", PASSWORD)
            .env_remove("QPQ_HOME")
            .env_remove("QPQ_SERVER")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Done> {
        let mut done = finish(self.command(arguments))?;
        done.what = format!("{}: {}", self.name, arguments.join(" "));
        Ok(done)
    }

    /// Runs it with another password.
    pub fn run_with_password(&self, password: &str, arguments: &[&str]) -> Result<Done> {
        let mut command = self.command(arguments);
        command.env("QPQ_PASSWORD", password);
        finish(command)
    }

    /// Starts it, to be finished with [`finish_child`].
    pub fn spawn(&self, arguments: &[&str]) -> Result<Child> {
        Ok(self.command(arguments).spawn()?)
    }

    /// Runs it with `--json` and takes what it printed.
    pub fn json(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        self.run(&[&["--json"], arguments].concat())?.success()?.json()
    }

    /// Types these lines into a REPL through a pipe.
    pub fn repl(&self, lines: &[String]) -> Result<Done> {
        let mut child = self.command(&["repl"]).stdin(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("piped")?;
        let text = lines.join("\n") + "\n";
        let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let done = finish_child(child)?;
        writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        Ok(done)
    }

    /// Everything new, as JSON.
    pub fn receive(&self) -> Result<Vec<Value>> {
        self.json(&["recv", "--timeout", "2s"])
    }

    /// The texts of all new messages, waiting until there are `count` of them.
    pub fn texts(&self, count: usize) -> Result<Vec<String>> {
        let received = self.json(&["recv", "--timeout", "30s", "--max", &count.to_string()])?;
        Ok(texts(&received))
    }
}

/// The texts of the messages among some JSON objects.
pub fn texts(events: &[Value]) -> Vec<String> {
    let messages = events.iter().filter(|event| event["type"] == "message");
    messages.filter_map(|event| event["content"]["text"].as_str().map(str::to_owned)).collect()
}

fn finish(mut command: Command) -> Result<Done> {
    finish_child(command.spawn()?)
}

/// Waits for a program that was started, with an end to all patience.
pub fn finish_child(mut child: Child) -> Result<Done> {
    let pid = child.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let stdin = child.stdin.take();
        drop(stdin);
        let _ = sender.send(child.wait_with_output());
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(output) => {
            let _ = waiter.join();
            let Output { status, stdout, stderr } = output?;
            Ok(Done {
                what: String::new(),
                code: status.code().context("ended by a signal")?,
                stdout: String::from_utf8(stdout)?,
                stderr: String::from_utf8_lossy(&stderr).into_owned(),
            })
        }
        Err(_) => {
            Command::new("kill").args(["-KILL", &pid.to_string()]).status()?;
            bail!("the command did not end within {} s", PATIENCE.as_secs())
        }
    }
}

/// Waits for the end of a process, but not for ever.
pub fn wait(child: &mut Child, patience: Duration) -> Result<std::process::ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        ensure!(Instant::now() < deadline, "the process did not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const PATIENCE: Duration = Duration::from_secs(180);
