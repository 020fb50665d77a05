//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use qpq_proto::account::UserName;
use qpq_proto::ids::GroupId;
use qpq_server::config::Lifetime;

/// The server of quicproquo, a self-hosted end-to-end encrypted messenger.
#[derive(Debug, Parser)]
#[command(name = "qpq-server", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that every command understands.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file; without one, development defaults
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where databases and keys are kept, instead of what the configuration says
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// UDP address and port to listen on, instead of what the configuration says; port 0 picks a free one
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<Format>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve; this is the default
    Run,
    /// Check the configuration and print the effective settings
    CheckConfig,
    /// Print one-time registration codes
    Invite {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
        count: u16,
        /// How long they are good
        #[arg(long, default_value = "7d", value_name = "DURATION")]
        expires: Lifetime,
    },
    /// Look after accounts
    #[command(subcommand)]
    User(User),
    /// Write a consistent snapshot of everything but the database key, also while the server runs
    Backup {
        /// The new file; an existing one is not replaced
        file: PathBuf,
    },
    /// Bring a backup back, into an empty data directory that holds its database key
    Restore {
        /// What `backup` wrote
        file: PathBuf,
    },
    /// Print everything that is stored: how much of it, or all about one user or group
    Audit {
        /// The name of an account
        #[arg(long, value_name = "NAME", conflicts_with = "group")]
        user: Option<UserName>,
        /// The id of a group, as `--user` shows it
        #[arg(long, value_name = "ID")]
        group: Option<GroupId>,
    },
    /// Give the database another key; the server must be stopped
    RotateKey,
    /// Make the database file as small as it can be; the server must be stopped
    Vacuum,
    /// Exit with 0 if the running server is ready
    Healthcheck,
    /// Print the commented example configuration
    #[command(hide = true)]
    ExampleConfig,
    /// Print the table of metrics for the documentation
    #[command(hide = true)]
    MetricsTable,
}

#[derive(Debug, Subcommand)]
pub enum User {
    /// All accounts
    List,
    /// What the server knows of one account
    Show { name: UserName },
    /// Lock an account out; its sessions end at once
    Disable { name: UserName },
    /// Let a disabled account in again
    Enable { name: UserName },
    /// Forget an account for good
    Delete { name: UserName },
}
