//! The server under test, and its disk.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::Faults;
use crate::disk::Disk;
use crate::world::{Server, start_and_kill};

/// A server that can be killed and started again, at the same address.
pub struct Victim {
    server: Option<Server>,
    storage: Storage,
    pub address: String,
}

enum Storage {
    Folder(PathBuf),
    Disk(Disk),
}

impl Victim {
    pub fn start(folder: &TempDir, faults: Faults) -> Result<Self> {
        let storage = match faults {
            Faults::Kills => Storage::Folder(folder.path().join("server")),
            Faults::PowerCuts => Storage::Disk(Disk::ext4("")?),
        };
        let data = storage.data();
        std::fs::create_dir_all(&data)?;
        let server = Server::start(&data)?;
        let address = server.address.clone();
        Ok(Self { server: Some(server), storage, address })
    }

    /// Whether that was a power cut.
    pub fn kill(&mut self) -> Result<bool> {
        let server = self.server.take().context("it runs")?;
        match &self.storage {
            Storage::Folder(_) => {
                server.kill()?;
                Ok(false)
            }
            Storage::Disk(disk) => {
                // Without power nobody answers any more, whatever the dead disk tells.
                server.freeze()?;
                disk.cut_power()?;
                server.kill()?;
                disk.power_on()?;
                Ok(true)
            }
        }
    }

    /// Begins to start, and is killed after this time.
    pub fn start_and_kill(&self, after: Duration) -> Result<()> {
        start_and_kill(&self.storage.data(), &self.address, after)
    }

    pub fn start_again(&mut self) -> Result<()> {
        self.server = Some(Server::start_with(&self.storage.data(), &self.address, &[])?);
        Ok(())
    }

    /// What it has logged; after a power cut perhaps not all of it.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(self.storage.data().join("stderr.log"))?).into_owned())
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.storage.data()
    }
}

impl Storage {
    fn data(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.clone(),
            Self::Disk(disk) => disk.path().join("server"),
        }
    }
}
