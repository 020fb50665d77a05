//! The `qpq-server` program.

mod args;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use qpq_io::log::{self, Format};
use qpq_io::shutdown;
use qpq_proto::account::UserName;
use qpq_proto::ids::GroupId;
use qpq_server::config::{Config, LogFormat};
use qpq_server::operator::{self, Operator, Subject};
use qpq_server::store::account::AccountSummary;
use qpq_server::{RunningServer, Server};

use args::{Arguments, Command, Global, User};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qpq-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { global, command } = arguments;
    match command.unwrap_or(Command::Run) {
        Command::ExampleConfig => print(&qpq_server::config::example()),
        Command::MetricsTable => print(&qpq_server::metrics::Metrics::new().table()),
        Command::Run => serve(&global),
        Command::CheckConfig => check_config(&config(&global)?),
        Command::Invite { count, expires } => {
            let codes = Operator::open(&config(&global)?)?.invite(usize::from(count), expires.0)?;
            print(&(codes.join("\n") + "\n"))
        }
        Command::User(command) => user(&Operator::open(&config(&global)?)?, command),
        Command::Backup { file } => backup(&config(&global)?, &file),
        Command::Restore { file } => restore(&config(&global)?, &file),
        Command::Audit { user, group } => audit(&config(&global)?, user, group),
        Command::RotateKey => rotate_key(&config(&global)?),
        Command::Vacuum => vacuum(&config(&global)?),
        Command::Healthcheck => Ok(operator::healthcheck(&config(&global)?)?),
    }
}

fn config(global: &Global) -> anyhow::Result<Config> {
    let mut config = Config::load(global.config.as_deref())?;
    if let Some(data_dir) = &global.data_dir {
        config.data_dir.clone_from(data_dir);
    }
    if let Some(listen) = global.listen {
        config.listen = listen;
    }
    match global.log_format {
        Some(args::Format::Text) => config.log.format = LogFormat::Text,
        Some(args::Format::Json) => config.log.format = LogFormat::Json,
        None => {}
    }
    Ok(config)
}

fn serve(global: &Global) -> anyhow::Result<()> {
    let mut config = config(global)?;
    if global.config.is_none() && config.metrics == qpq_server::config::Metrics::default() {
        config.metrics.listen = usual_port_or_any(config.metrics.listen);
    }
    let format = match config.log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    let (listener, _exporting) = qpq_server::traces::start(&config.traces)?.unzip();
    log::init_with(config.log.level.directives(), format, listener)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime for signals")?;
    runtime.block_on(async {
        // Listen first, so that a signal during the start is not the end of the process.
        let mut terminate = std::pin::pin!(shutdown::terminate_signal());
        let mut reload = shutdown::reload_signals()?;
        let starting = tokio::task::spawn_blocking(move || Server::start(config));
        let server = tokio::select! {
            started = starting => started.context("the start was interrupted")??,
            outcome = &mut terminate => return Ok(outcome?),
        };
        print(&format!("listening on {}\nmetrics on {}\n", server.address(), server.metrics_address()))?;
        loop {
            tokio::select! {
                outcome = &mut terminate => {
                    outcome?;
                    break;
                }
                () = reload.next() => reload_certificate(&server),
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    if server.has_ended() {
                        break;
                    }
                }
            }
        }
        tokio::task::spawn_blocking(move || server.stop()).await.context("the stop was interrupted")??;
        Ok(())
    })
}

/// Without a configuration a second server on the same machine should just work.
fn usual_port_or_any(usual: SocketAddr) -> SocketAddr {
    match TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

fn reload_certificate(server: &RunningServer) {
    match server.reload_certificate() {
        Ok(fingerprint) => tracing::info!(%fingerprint, "certificate loaded again"),
        Err(error) => tracing::error!(%error, "the certificate was not loaded again, the old one stays"),
    }
}

fn check_config(config: &Config) -> anyhow::Result<()> {
    qpq_server::check_files(config)?;
    print(&toml::to_string(config).context("the settings cannot be shown")?)
}

fn backup(config: &Config, file: &Path) -> anyhow::Result<()> {
    let written = qpq_server::backup::backup(config, file)?;
    let with: String = written.enclosed.iter().map(|name| format!(", {name}")).collect();
    print(&format!(
        "{}: {} bytes (database{with}). It opens only with the key in {}, which is not in it: keep a copy of that \
         key, and not beside the backups.\n",
        file.display(),
        written.bytes,
        written.key_file.display()
    ))
}

fn restore(config: &Config, file: &Path) -> anyhow::Result<()> {
    let restored = qpq_server::backup::restore(config, file)?;
    for path in restored.kept {
        print(&format!("{} was there already and stays as it is\n", path.display()))?;
    }
    let minutes = restored.age.as_secs() / 60;
    print(&format!(
        "{} is as it was {} h {} min ago; the server can be started\n",
        restored.database.display(),
        minutes / 60,
        minutes % 60
    ))
}

fn audit(config: &Config, user: Option<UserName>, group: Option<GroupId>) -> anyhow::Result<()> {
    let (subject, missing) = match (user, group) {
        (Some(name), _) => (Subject::User(name.clone()), format!("there is no account {name}")),
        (None, Some(group)) => (Subject::Group(group), format!("there is no group {group}")),
        (None, None) => (Subject::Everything, String::new()),
    };
    print(&operator::audit(config, &subject)?.context(missing)?)
}

fn rotate_key(config: &Config) -> anyhow::Result<()> {
    qpq_server::rewrite::rotate_key(config)?;
    print(&format!(
        "The database has a new key, in {}: keep a copy of it, and not beside the backups. Backups that were made before \
         open with the old key only: keep that too for as long as you keep them, and make a new backup now.\n",
        config.path(&config.store.key_file).display()
    ))
}

fn vacuum(config: &Config) -> anyhow::Result<()> {
    let done = qpq_server::rewrite::vacuum(config)?;
    print(&format!("{} bytes before, {} bytes now\n", done.before, done.after))
}

fn user(operator: &Operator, command: User) -> anyhow::Result<()> {
    match command {
        User::List => {
            let lines: String = operator.users()?.iter().map(|account| summary(account) + "\n").collect();
            print(&lines)
        }
        User::Show { name } => {
            let found = operator.users()?.into_iter().find(|account| account.name == name);
            print(&details(&found.with_context(|| format!("there is no account {name}"))?))
        }
        User::Disable { name } => {
            let known = operator.disable(name.clone())?;
            done(known, &name, "disabled")
        }
        User::Enable { name } => {
            let known = operator.enable(name.clone())?;
            done(known, &name, "enabled")
        }
        User::Delete { name } => {
            let known = operator.delete(name.clone())?;
            done(known, &name, "deleted")
        }
    }
}

fn done(known: bool, name: &UserName, what: &str) -> anyhow::Result<()> {
    if !known {
        bail!("there is no account {name}");
    }
    print(&format!("{name} is {what}\n"))
}

fn summary(account: &AccountSummary) -> String {
    format!("{}\t{}\t{} devices", account.name, state(account), account.devices)
}

fn details(account: &AccountSummary) -> String {
    format!(
        "name      {}\nidentity  {}\nstate     {}\ndevices   {}\ncreated   {} (seconds since 1970)\n",
        account.name,
        account.identity,
        state(account),
        account.devices,
        account.created.as_seconds()
    )
}

fn state(account: &AccountSummary) -> &'static str {
    if account.disabled { "disabled" } else { "active" }
}

/// A closed pipe is an error like any other, not a panic.
fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}
