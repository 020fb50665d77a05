//! People with profiles, and devices without.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use openmls::prelude::tls_codec::Serialize as _;
use qpq_client::{Client, Options, SecretString};
use qpq_io::rpc::connect::ServerAddress;
use qpq_proto::generated::keys_capnp::stock_reply;

use super::mls::Device;
use super::session::{Session, register};
use crate::world::{PASSWORD, Server};

/// Where somebody's profile is.
pub fn options(address: &str, folder: &Path, name: &str) -> Result<Options> {
    Ok(Options { home: folder.join(name), server: Some(address.parse()?), ca_cert: None, fingerprint: None })
}

/// Somebody with a profile in this folder, connected.
pub fn person(server: &Server, folder: &Path, name: &str) -> Result<Client> {
    person_at(&server.address, folder, name)
}

/// The same for a server behind something.
pub fn person_at(address: &str, folder: &Path, name: &str) -> Result<Client> {
    let options = options(address, folder, name)?;
    let client = Client::register(&options, &name.parse()?, &password(), None)?;
    client.wait_settled(PATIENCE)?;
    Ok(client)
}

/// Opens a profile that is there, without connecting.
pub fn open(options: &Options) -> Result<Client> {
    Ok(Client::open(options, &password())?)
}

pub fn password() -> SecretString {
    SecretString::new(PASSWORD.into())
}

/// Registers a device that can be added to groups, again and again, with its key package of last resort.
pub async fn member(server: &ServerAddress, name: &str) -> Result<Session> {
    stocked(server, name, 0).await
}

/// The same with so many more key packages, each for one group.
pub async fn stocked(server: &ServerAddress, name: &str, one_time: u32) -> Result<Session> {
    let session = register(server, name).await?;
    let device = Device::of(&session.account);
    let mut request = session.key_packages.publish_request();
    request.get().init_last_resort(1).set(0, &device.package(true)?.tls_serialize_detached()?);
    let mut list = request.get().init_one_time(one_time);
    for number in 0..one_time {
        list.set(number, &device.package(false)?.tls_serialize_detached()?);
    }
    let response = request.send().promise.await?;
    let stored = matches!(response.get()?.get_reply()?.which()?, stock_reply::Stock(_));
    ensure!(stored, "a key package was refused");
    Ok(session)
}

/// How long anything may take here.
pub const PATIENCE: Duration = Duration::from_secs(60);
