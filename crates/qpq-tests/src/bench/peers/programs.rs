//! Which programs there are, and how each is started on loopback with a folder of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::mqtt::MqttClient;
use super::xmpp::XmppClient;

/// A server of somebody else.
pub struct Program {
    pub name: &'static str,
    /// Tells whether it is installed.
    executable: &'static str,
    wire: Wire,
    prepare: fn(&Path, u16) -> Result<Command>,
}

#[derive(Clone, Copy)]
enum Wire {
    Mqtt,
    Xmpp,
}

pub const PROGRAMS: &[Program] = &[
    Program { name: "mosquitto", executable: "mosquitto", wire: Wire::Mqtt, prepare: mosquitto },
    Program { name: "Prosody", executable: "prosody", wire: Wire::Xmpp, prepare: prosody },
    Program { name: "ejabberd", executable: "ejabberdctl", wire: Wire::Xmpp, prepare: ejabberd },
];

/// One that runs. Dropping it ends it.
pub struct Other {
    child: Child,
    port: u16,
    wire: Wire,
    _folder: TempDir,
}

impl Other {
    /// None: not installed.
    pub fn start(program: &Program) -> Result<Option<Self>> {
        if find(program.executable).is_none() {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = (program.prepare)(folder.path(), port)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut other = Self { child, port, wire: program.wire, _folder: folder };
        other.wait().with_context(|| format!("starting {}", program.name))?;
        Ok(Some(other))
    }

    fn wait(&mut self) -> Result<()> {
        let begin = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            ensure!(self.child.try_wait()?.is_none(), "it ended at once");
            ensure!(begin.elapsed() < PATIENCE, "it does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A client of this name, ready to send and to receive.
    pub async fn connect(&self, name: &str) -> Result<Client> {
        Ok(match self.wire {
            Wire::Mqtt => Client::Mqtt(MqttClient::connect(self.address(), name).await?),
            Wire::Xmpp => Client::Xmpp(XmppClient::connect(self.address(), name).await?),
        })
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of either protocol.
pub enum Client {
    Mqtt(MqttClient),
    Xmpp(XmppClient),
}

impl Client {
    /// Sends without waiting.
    pub async fn send(&mut self, to: &str, text: &str) -> Result<()> {
        match self {
            Self::Mqtt(client) => client.publish(to, text).await,
            Self::Xmpp(client) => client.send(to, text).await,
        }
    }

    /// Waits until the server says that it has what was sent.
    pub async fn acknowledged(&mut self) -> Result<()> {
        match self {
            Self::Mqtt(client) => client.acknowledged().await,
            Self::Xmpp(client) => client.acknowledged().await,
        }
    }

    /// The length of the next message's text.
    pub async fn receive(&mut self) -> Result<usize> {
        match self {
            Self::Mqtt(client) => client.receive().await,
            Self::Xmpp(client) => client.receive().await,
        }
    }
}

/// Servers are installed where not everybody's shell looks.
fn find(executable: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    folders.map(|folder| folder.join(executable)).find(|file| file.is_file())
}

fn mosquitto(folder: &Path, port: u16) -> Result<Command> {
    let config = folder.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {}/\n\
         max_queued_messages 0\nmax_inflight_messages 0\nlog_type none\n",
        folder.display()
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(find("mosquitto").context("mosquitto")?);
    command.arg("-c").arg(config);
    Ok(command)
}

/// With an archive in SQLite, as a server that people use has it.
fn prosody(folder: &Path, port: u16) -> Result<Command> {
    let config = folder.join("prosody.cfg.lua");
    let data = folder.display();
    let text = format!(
        r#"data_path = "{data}"
pidfile = "{data}/prosody.pid"
run_as_root = true
c2s_ports = {{ {port} }}
c2s_interfaces = {{ "127.0.0.1" }}
modules_enabled = {{ "roster", "saslauth", "disco", "register", "mam", "smacks" }}
modules_disabled = {{ "s2s", "tls", "http" }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
allow_registration = true
registration_throttle_max = 100000
authentication = "internal_plain"
storage = {{ archive = "sql" }}
default_storage = "internal"
sql = {{ driver = "SQLite3", database = "{data}/archive.sqlite" }}
default_archive_policy = true
log = {{ error = "{data}/errors.log" }}
VirtualHost "localhost"
"#
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(find("prosody").context("prosody")?);
    command.arg("-F").arg("--config").arg(config);
    Ok(command)
}

/// Without Erlang's distribution, which would start a daemon of its own.
fn ejabberd(folder: &Path, port: u16) -> Result<Command> {
    let config = folder.join("ejabberd.yml");
    let data = folder.display();
    let text = format!(
        r#"hosts: [localhost]
loglevel: error
default_db: sql
sql_type: sqlite
sql_database: "{data}/ejabberd.sqlite"
auth_method: internal
registration_timeout: infinity
acl: {{}}
access_rules:
  everybody: [allow: all]
shaper: {{}}
listen:
  -
    port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    access: everybody
modules:
  mod_mam: {{db_type: sql, default: always}}
  mod_offline: {{db_type: mnesia}}
  mod_stream_mgmt: {{}}
  mod_register: {{access: everybody, ip_access: everybody}}
"#
    );
    std::fs::write(&config, text)?;
    // Its own script says where its libraries are; the script itself would leave a daemon behind.
    let script = std::fs::read_to_string(find("ejabberdctl").context("ejabberdctl")?)?;
    let libraries = script.lines().find_map(|line| line.strip_prefix("ERL_LIBS="));
    let libraries = libraries.context("ejabberdctl does not say where its libraries are")?.trim_matches(['\'', '"']);
    let mut command = Command::new(find("erl").context("erl")?);
    command.env("ERL_LIBS", libraries).env("ERL_CRASH_DUMP", folder.join("crash"));
    let quoted = |text: String| format!("\"{text}\"");
    command.env("HOME", folder).args(["-noinput", "-mnesia", "dir"]).arg(quoted(format!("{data}/mnesia")));
    command.args(["-ejabberd", "config"]).arg(quoted(config.display().to_string()));
    command.args(["log_path"]).arg(quoted(format!("{data}/ejabberd.log")));
    command.args(["-s", "ejabberd"]);
    Ok(command)
}

const PATIENCE: Duration = Duration::from_secs(60);
