//! Bare sessions: the wire without the engine, so that the server is what is measured.

use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use opaque_ke::generic_array::{ArrayLength, GenericArray};
use opaque_ke::{ClientRegistration, ClientRegistrationFinishParameters, RegistrationResponse, Ristretto255, TripleDh};
use qpq_core::account::generate;
use qpq_core::store::rows::AccountRow;
use qpq_io::rpc::connect::{ClientConnection, Connector, ServerAddress};
use qpq_io::rpc::frame::FrameLimit;
use qpq_io::rpc::pin::ServerTrust;
use qpq_io::rpc::vat::connect_vat;
use qpq_proto::generated::stream_capnp::{event_sink, stream, subscribe_reply};
use qpq_proto::generated::{gateway_capnp, groups_capnp, keys_capnp, stream_capnp};
use qpq_proto::stream::LogId;
use qpq_trust::opaque::identifiers;
use qpq_trust::proof;
use rand_opaque::OsRng;

/// OPAQUE as the server speaks it, without the stretching of the password that is the client's affair.
pub struct Unstretched;

impl opaque_ke::CipherSuite for Unstretched {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, sha2_opaque::Sha512>;
    type Ksf = Identity;
}

/// Leaves the password as it is.
#[derive(Default)]
pub struct Identity;

impl opaque_ke::ksf::Ksf for Identity {
    fn hash<L: ArrayLength<u8>>(
        &self,
        input: GenericArray<u8, L>,
    ) -> Result<GenericArray<u8, L>, opaque_ke::errors::InternalError> {
        Ok(input)
    }
}

/// One authenticated connection. Must live inside a `LocalSet`.
pub struct Session {
    pub account: AccountRow,
    pub gateway: gateway_capnp::gateway::Client,
    pub directory: keys_capnp::directory::Client,
    pub groups: groups_capnp::groups::Client,
    pub delivery: stream_capnp::delivery::Client,
    pub key_packages: keys_capnp::key_packages::Client,
    _connection: ClientConnection,
}

/// Registers a new account.
pub async fn register(server: &ServerAddress, name: &str) -> Result<Session> {
    let account = generate(&name.parse()?, "bench")?;
    let (connection, gateway) = gateway(server).await?;
    let started = ClientRegistration::<Unstretched>::start(&mut OsRng, b"password").map_err(|e| anyhow!("{e:?}"))?;
    let mut request = gateway.register_request();
    request.get().set_name(name);
    request.get().set_opaque(&started.message.serialize());
    let response = request.send().promise.await?;
    let gateway_capnp::register_reply::Ok(ok) = response.get()?.get_reply()?.which()? else {
        bail!("registration refused")
    };
    let answer = RegistrationResponse::deserialize(ok.get_opaque()?).map_err(|e| anyhow!("{e:?}"))?;
    let parameters = ClientRegistrationFinishParameters::new(identifiers(name), None);
    let finished = started.state.finish(&mut OsRng, b"password", answer, parameters).map_err(|e| anyhow!("{e:?}"))?;
    let mut request = ok.get_next()?.finish_request();
    request.get().set_opaque(&finished.message.serialize());
    request.get().set_manifest(&account.manifest);
    request.get().set_device(&account.device.0);
    request.get().set_proof(&proof::sign(&account.device_key, &connection.exporter()));
    let response = request.send().promise.await?;
    granted(account, connection, gateway, response.get()?.get_reply()?)
}

/// One more connection of a device.
pub async fn resume(server: &ServerAddress, account: &AccountRow) -> Result<Session> {
    let (connection, gateway) = gateway(server).await?;
    let mut request = gateway.resume_request();
    request.get().set_device(&account.device.0);
    request.get().set_proof(&proof::sign(&account.device_key, &connection.exporter()));
    let response = request.send().promise.await?;
    granted(account.clone(), connection, gateway, response.get()?.get_reply()?)
}

fn granted(
    account: AccountRow,
    connection: ClientConnection,
    gateway: gateway_capnp::gateway::Client,
    reply: gateway_capnp::session_reply::Reader<'_>,
) -> Result<Session> {
    match reply.which()? {
        gateway_capnp::session_reply::Session(session) => {
            let session = session?;
            Ok(Session {
                account,
                gateway,
                directory: session.get_directory()?,
                groups: session.get_groups()?,
                delivery: session.get_delivery()?,
                key_packages: session.get_key_packages()?,
                _connection: connection,
            })
        }
        gateway_capnp::session_reply::Refused(refusal) => bail!("refused: {}", refusal?.get_detail()?.to_str()?),
    }
}

impl Session {
    /// Opens the device's stream and follows these logs from their beginning.
    pub async fn listen(&self, sink: event_sink::Client, logs: &[LogId]) -> Result<stream::Client> {
        let mut request = self.delivery.open_request();
        request.get().set_sink(sink);
        request.get().set_in_push(true);
        let stream = request.send().pipeline.get_stream();
        let subscribed = logs.iter().map(|log| {
            let mut request = stream.subscribe_request();
            log.write(request.get().init_log());
            request.send().promise
        });
        for answer in subscribed.collect::<Vec<_>>() {
            let answer = answer.await?;
            let head = matches!(answer.get()?.get_reply()?.which()?, subscribe_reply::Head(_));
            ensure!(head, "a subscription was refused");
        }
        Ok(stream)
    }
}

/// A connection that has not proved anything.
pub async fn gateway(server: &ServerAddress) -> Result<(ClientConnection, gateway_capnp::gateway::Client)> {
    let connection = connector()?.connect(server).await?;
    let (sender, receiver) = connection.open_stream().await?;
    let limit = FrameLimit::new(qpq_proto::limits::AUTHENTICATED_MESSAGE);
    let (gateway, driver, _) = connect_vat::<gateway_capnp::gateway::Client, _, _>(receiver, sender, limit);
    tokio::task::spawn_local(async move {
        let _ = driver.await;
    });
    Ok((connection, gateway))
}

/// As every client, this one loads its root certificates once.
fn connector() -> Result<&'static Connector> {
    static CONNECTOR: OnceLock<Connector> = OnceLock::new();
    if let Some(connector) = CONNECTOR.get() {
        return Ok(connector);
    }
    let connector = Connector::new(ServerTrust::SystemRootsOrFirstUse)?;
    Ok(CONNECTOR.get_or_init(|| connector))
}

/// Runs something that needs a `LocalSet`.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
    tokio::task::LocalSet::new().block_on(&runtime, future)
}
