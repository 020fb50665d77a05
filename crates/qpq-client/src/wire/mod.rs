//! The engine's requests as Cap'n Proto calls, and back. The only place of the client that knows the schemas.

mod authenticate;
mod blobs;
mod call;
mod link;
mod own_account;
mod sent;
mod sink;

use qpq_io::rpc::connect::ClientConnection;
use qpq_io::rpc::frame::FrameLimit;
use qpq_io::rpc::vat::connect_vat;
use qpq_proto::account::ServerHello;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::generated::{gateway_capnp, session_capnp};
use qpq_proto::{PROTOCOL, limits};

pub use authenticate::{Authentication, DeviceKey, authenticate, login, not_linked, resume};
pub use blobs::{BlobAnswer, BlobCall, blob_call};
pub use call::{Called, call};
pub use link::{link_put, link_take};
pub use own_account::{Kept, change_password, delete, finish_recovery, recover, set_recovery};
pub use sink::{Incoming, acknowledge, open, subscribe, whisper};

use sent::Sent;

/// The server's end of the stream.
pub type StreamClient = qpq_proto::generated::stream_capnp::stream::Client;

/// A gateway that has introduced itself.
pub struct Greeted {
    opened: Opened,
    pub hello: ServerHello,
}

impl std::ops::Deref for Greeted {
    type Target = Opened;

    fn deref(&self) -> &Opened {
        &self.opened
    }
}

/// The capabilities of an authenticated device.
#[derive(Clone)]
pub struct Session {
    pub directory: qpq_proto::generated::keys_capnp::directory::Client,
    pub key_packages: qpq_proto::generated::keys_capnp::key_packages::Client,
    pub groups: qpq_proto::generated::groups_capnp::groups::Client,
    pub delivery: qpq_proto::generated::stream_capnp::delivery::Client,
    pub blobs: qpq_proto::generated::blobs_capnp::blobs::Client,
    pub account: qpq_proto::generated::account_capnp::own_account::Client,
    sent: Sent,
}

impl Session {
    fn read(reader: session_capnp::session::Reader<'_>) -> Result<Self, capnp::Error> {
        Ok(Self {
            directory: reader.get_directory()?,
            key_packages: reader.get_key_packages()?,
            groups: reader.get_groups()?,
            delivery: reader.get_delivery()?,
            blobs: reader.get_blobs()?,
            account: reader.get_account()?,
            sent: Sent::default(),
        })
    }
}

/// A session and a stream of a server that never answers anything.
#[cfg(test)]
pub fn deaf() -> (Session, StreamClient) {
    use std::future::pending;
    let session = Session {
        directory: capnp_rpc::new_future_client(pending()),
        key_packages: capnp_rpc::new_future_client(pending()),
        groups: capnp_rpc::new_future_client(pending()),
        delivery: capnp_rpc::new_future_client(pending()),
        blobs: capnp_rpc::new_future_client(pending()),
        account: capnp_rpc::new_future_client(pending()),
        sent: Sent::default(),
    };
    (session, capnp_rpc::new_future_client(pending()))
}

/// Opens the RPC stream of a connection and says hello. Must run inside a `LocalSet`.
///
/// # Errors
/// The connection failed, or the server speaks another protocol.
pub async fn greet(connection: &ClientConnection) -> Result<Greeted, crate::Error> {
    let opened = Opened::new(connection).await?;
    let hello = opened.hello().await?;
    Ok(Greeted { opened, hello })
}

/// The same, and comes back with the device's proof alone, without waiting for the one to do the other.
///
/// # Errors
/// As [`greet`]; [`crate::Error::DeviceUnknown`], or refused.
pub async fn greet_again(
    connection: &ClientConnection,
    device: &DeviceKey,
) -> Result<(Greeted, Session), crate::Error> {
    let opened = Opened::new(connection).await?;
    // A server of another protocol says so in its hello, and perhaps nothing to the rest.
    let proved = async { Ok(authenticate::prove(connection, &opened, device).await) };
    let (hello, resumed) = futures::try_join!(opened.hello(), proved)?;
    let session = device.recognize(hello.incarnation, resumed)?;
    Ok((Greeted { opened, hello }, session))
}

/// A gateway, and what drives its connection.
pub struct Opened {
    pub gateway: gateway_capnp::gateway::Client,
    driver: tokio::task::JoinHandle<()>,
}

impl Opened {
    async fn new(connection: &ClientConnection) -> Result<Self, crate::Error> {
        let (sender, receiver) = connection.open_stream().await.map_err(crate::Error::from)?;
        let limit = FrameLimit::new(limits::AUTHENTICATED_MESSAGE);
        let (gateway, driver, _disconnector) =
            connect_vat::<gateway_capnp::gateway::Client, _, _>(receiver, sender, limit);
        let driver = tokio::task::spawn_local(async move {
            let _ = driver.await;
        });
        Ok(Self { gateway, driver })
    }

    async fn hello(&self) -> Result<ServerHello, crate::Error> {
        let mut request = self.gateway.hello_request();
        request.get().set_protocol(PROTOCOL);
        request.get().set_client(concat!("qpq/", env!("CARGO_PKG_VERSION")));
        let response = request.send().promise.await.map_err(offline)?;
        let hello = response.get().and_then(|reader| reader.get_server()).map_err(offline)?;
        let hello = ServerHello::read(hello).map_err(|error| crate::Error::Refused(error.to_string()))?;
        if hello.protocol != PROTOCOL {
            return Err(crate::Error::Refused(format!(
                "the server speaks protocol {}, this client {PROTOCOL}; update the older one",
                hello.protocol
            )));
        }
        Ok(hello)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A call that got no answer: the connection is gone.
pub fn offline(error: capnp::Error) -> crate::Error {
    crate::Error::Offline(error.to_string())
}

/// A call that failed instead of being refused, as a refusal that time may heal.
fn failed(error: &capnp::Error) -> Refusal {
    match error.kind {
        capnp::ErrorKind::Overloaded => Refusal::new(Code::Overloaded, "the server is overloaded"),
        _ => Refusal::new(Code::Internal, "the server failed to answer"),
    }
}
