//! The server of the demo, and profiles on it.

use std::time::Duration;

use qpq_client::{Client, Fingerprint, Options, SecretString, ServerAddress};
use qpq_server::{Config, RunningServer, Server};
use tempfile::TempDir;

use crate::exit::Failure;

/// A running server in a temporary directory.
pub struct World {
    server: RunningServer,
    folder: TempDir,
}

impl World {
    pub fn start() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("qpq-demo-").tempdir().map_err(failed)?;
        let server = Server::start(Config::development(folder.path().join("server"))).map_err(failed)?;
        Ok(Self { server, folder })
    }

    pub fn address(&self) -> ServerAddress {
        let address = self.server.address();
        ServerAddress { host: address.ip().to_string(), port: address.port() }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.server.fingerprint()
    }

    /// A new profile with a password that nobody will ever know.
    pub fn register(&self, name: &str) -> Result<Client, Failure> {
        let options = Options {
            home: self.folder.path().join(name),
            server: Some(self.address()),
            ca_cert: None,
            fingerprint: Some(self.fingerprint()),
        };
        let name = name.parse().map_err(failed)?;
        let client = Client::register(&options, &name, &random_password()?, None)?;
        client.connect();
        client.wait_settled(STARTING)?;
        Ok(client)
    }

    /// Stops the server and removes the directory.
    pub fn stop(self) -> Result<(), Failure> {
        let _ = self.server.stop();
        self.folder.close().map_err(failed)
    }
}

fn random_password() -> Result<SecretString, Failure> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(SecretString::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Refused(format!("the demo does not work: {error}"))
}

/// Registering computes a lot in debug builds.
const STARTING: Duration = Duration::from_secs(30);
