//! `cargo xtask image`: the container image, built and tried.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context as _, Result, bail, ensure};

use crate::run;

/// Build the container image with Docker, Podman or Buildah, start it, ask its health check, and end it.
#[derive(clap::Args)]
pub struct Args {
    /// Which of them; the first that works if it is not said
    #[arg(long)]
    engine: Option<Engine>,
    /// Try the image that was built before
    #[arg(long)]
    built: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Engine {
    Docker,
    Podman,
    /// Runs the image in a changed root instead of a container: where containers cannot be had, such as inside of one.
    Buildah,
}

const ENGINES: [Engine; 3] = [Engine::Docker, Engine::Podman, Engine::Buildah];

impl Engine {
    fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Buildah => "buildah",
        }
    }

    fn command(self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.args(arguments);
        if self == Self::Buildah {
            command.env("BUILDAH_ISOLATION", "chroot");
        }
        command
    }

    /// `docker info` fails without a daemon, which the others do not need.
    fn is_there(self) -> bool {
        run::is_available(self.program(), "info")
    }

    fn build(self) -> Result<()> {
        let format: &[&str] = if self == Self::Docker { &[] } else { &["--format", "docker"] };
        run::checked(&mut self.command(&[&["build", "--tag", IMAGE], format, &["."]].concat()))
    }
}

pub fn run(args: &Args) -> Result<()> {
    let engine = args.engine.or_else(|| ENGINES.into_iter().find(|engine| engine.is_there()));
    let engine = engine.context("neither docker (with its daemon) nor podman nor buildah is here")?;
    if !args.built {
        engine.build()?;
    }
    let folder = std::env::current_dir()?.join("target/image");
    fs::create_dir_all(&folder).context("making room for a configuration")?;
    fs::write(folder.join("qpq-server.toml"), CONFIG).context("writing a configuration")?;
    let volume = format!("{}:/etc/qpq:ro", folder.display());
    let begin = Instant::now();
    match engine {
        Engine::Docker | Engine::Podman => contained(engine, &volume)?,
        Engine::Buildah => in_changed_root(engine, &volume)?,
    }
    println!("the image serves and ends in order ({} s)", begin.elapsed().as_secs());
    Ok(())
}

/// As the documentation starts it, but without network: a read-only system and no capabilities.
fn contained(engine: Engine, volume: &str) -> Result<()> {
    let start = ["run", "--detach", "--network=none", "--read-only", "--cap-drop=ALL"];
    let more = ["--security-opt=no-new-privileges", "--volume", volume, IMAGE];
    let id = run::output(&mut engine.command(&[&start[..], &more].concat()))?;
    let id = id.trim();
    let ask = ["exec", id, "/usr/bin/qpq-server", "healthcheck", "--config", FILE, "--data-dir", DATA];
    let outcome = healthy(|| engine.command(&ask))
        .and_then(|()| run::checked(&mut engine.command(&["stop", id])))
        .and_then(|()| run::output(&mut engine.command(&["inspect", "--format", "{{.State.ExitCode}}", id])));
    let _ = engine.command(&["rm", "--force", id]).stdout(Stdio::null()).status();
    ensure!(outcome?.trim() == "0", "the server did not end in order");
    Ok(())
}

fn in_changed_root(engine: Engine, volume: &str) -> Result<()> {
    let id = run::output(&mut engine.command(&["from", "--pull-never", IMAGE]))?;
    let id = id.trim();
    let inside = |arguments: &[&str]| {
        let start = ["run", "--user", "65532:65532", "--volume", volume, id, "--", "/usr/bin/qpq-server"];
        engine.command(&[&start[..], arguments].concat())
    };
    let server = inside(&["run", "--config", FILE, "--data-dir", DATA]).spawn().context("starting the server")?;
    let answered = healthy(|| inside(&["healthcheck", "--config", FILE, "--data-dir", DATA]));
    let outcome = end(server).and(answered);
    let _ = engine.command(&["rm", id]).stdout(Stdio::null()).status();
    outcome
}

fn healthy(ask: impl Fn() -> Command) -> Result<()> {
    let begin = Instant::now();
    while !ask().stdout(Stdio::null()).stderr(Stdio::null()).status()?.success() {
        if begin.elapsed() > PATIENCE {
            bail!("the health check is not content after {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Asks the server, which is a grandchild of the program that was started, to end.
fn end(mut child: Child) -> Result<()> {
    let mut processes = vec![child.id()];
    while let Some(process) = processes.pop() {
        let program = fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
        if program.file_name().is_some_and(|name| name == "qpq-server") {
            run::checked(Command::new("kill").arg(process.to_string()))?;
            break;
        }
        for thread in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            processes.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
    }
    let status = child.wait().context("waiting for the server")?;
    ensure!(status.success(), "the server did not end in order: {status}");
    Ok(())
}

const IMAGE: &str = "localhost/quicproquo";
const FILE: &str = "/etc/qpq/qpq-server.toml";
const DATA: &str = "/var/lib/qpq";

/// A production server needs a certificate; whether it is refused without one is not the question here.
const CONFIG: &str = "mode = \"development\"\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n";

/// How long a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);
