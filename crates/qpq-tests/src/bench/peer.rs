//! Bare QUIC as the limit: quinn with the same key exchange, in a process of its own, and nothing of ours above it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use qpq_io::rpc::receive_buffer;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, EndpointConfig, RecvStream, SendStream, TokioRuntime, TransportConfig};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;

use crate::world::program;

/// A running one; dropping it ends it.
pub struct Peer {
    child: Child,
    address: SocketAddr,
    config: quinn::ClientConfig,
}

/// What a stream is for; its first byte.
pub const ECHO: u8 = b'e';
pub const ANSWER: u8 = b'a';
pub const SINK: u8 = b's';
pub const SOURCE: u8 = b'd';
/// What comes in on a stream to [`SPREAD`] goes to all streams to [`LISTEN`].
pub const LISTEN: u8 = b'l';
pub const SPREAD: u8 = b'm';

/// Bytes of a question to [`ANSWER`] and of a message to [`SPREAD`] of an answer: those of a post of 1 KiB and of what the
/// server says to it.
pub const REQUEST: usize = 1300;
pub const RESPONSE: usize = 100;

/// The option that makes the benchmark program one.
pub const OPTION: &str = "--bare-quic";

impl Peer {
    /// Starts one on a free port.
    pub fn start() -> Result<Self> {
        let mut command = Command::new(program());
        let mut child = command.arg(OPTION).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("piped")?).lines();
        let mut line = || lines.next().context("the bare peer did not start")?.context("the bare peer's output");
        let address = line()?.parse()?;
        let certificate: Vec<u8> = line()?.split(',').map(|byte| Ok(byte.parse()?)).collect::<Result<_>>()?;
        Ok(Self { child, address, config: client_config(certificate.into())? })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Connects from a socket of its own, as our clients do.
    pub async fn connect(&self) -> Result<(Endpoint, Connection)> {
        let endpoint = endpoint(None, Ipv4Addr::UNSPECIFIED)?;
        let connection = endpoint.connect_with(self.config.clone(), self.address, NAME)?.await?;
        Ok((endpoint, connection))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a stream of this kind.
pub async fn stream(connection: &Connection, kind: u8) -> Result<(SendStream, RecvStream)> {
    let (mut sender, receiver) = connection.open_bi().await?;
    sender.write_all(&[kind]).await?;
    Ok((sender, receiver))
}

/// The process itself: says address and certificate, and serves until its standard input ends.
pub fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let pair = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let certificate = pair.cert.der().clone();
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let endpoint = endpoint(Some(server_config(certificate.clone(), key)?), Ipv4Addr::LOCALHOST)?;
        println!("{}", endpoint.local_addr()?);
        println!("{}", certificate.iter().map(u8::to_string).collect::<Vec<_>>().join(","));
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
        let listeners = Listeners::default();
        while let Some(incoming) = endpoint.accept().await {
            let listeners = listeners.clone();
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                while let Ok((sender, receiver)) = connection.accept_bi().await {
                    tokio::spawn(answer(sender, receiver, listeners.clone()));
                }
            });
        }
        Ok(())
    })
}

type Listeners = Arc<tokio::sync::Mutex<Vec<SendStream>>>;

async fn answer(mut sender: SendStream, mut receiver: RecvStream, listeners: Listeners) -> Result<()> {
    let mut kind = [0];
    receiver.read_exact(&mut kind).await?;
    match kind[0] {
        ANSWER => {
            let mut question = [0; REQUEST];
            while receiver.read_exact(&mut question).await.is_ok() {
                sender.write_all(&question[..RESPONSE]).await?;
            }
        }
        LISTEN => {
            sender.write_all(&[1]).await?;
            listeners.lock().await.push(sender);
            return Ok(());
        }
        SPREAD => {
            let mut message = [0; REQUEST];
            while receiver.read_exact(&mut message).await.is_ok() {
                for listener in &mut *listeners.lock().await {
                    listener.write_all(&message).await?;
                }
            }
        }
        SINK => {
            while receiver.read_chunk(CHUNK, true).await?.is_some() {}
            sender.write_all(&[1]).await?;
        }
        SOURCE => {
            let mut length = [0; 8];
            receiver.read_exact(&mut length).await?;
            let (mut left, chunk) = (u64::from_le_bytes(length) as usize, vec![7; CHUNK]);
            while left > 0 {
                let next = left.min(CHUNK);
                sender.write_all(&chunk[..next]).await?;
                left -= next;
            }
        }
        _ => {
            while let Some(chunk) = receiver.read_chunk(CHUNK, true).await? {
                sender.write_all(&chunk.bytes).await?;
            }
        }
    }
    sender.finish()?;
    Ok(())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768], ..aws_lc_rs::default_provider() })
}

/// With as much room for datagrams as ours have.
fn endpoint(server: Option<quinn::ServerConfig>, address: Ipv4Addr) -> Result<Endpoint> {
    let socket = UdpSocket::bind((address, 0))?;
    receive_buffer::widen(&socket)?;
    Ok(Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime))?)
}

fn server_config(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Result<quinn::ServerConfig> {
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    tls.send_tls13_tickets = 0;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport()?);
    Ok(config)
}

fn client_config(certificate: CertificateDer<'static>) -> Result<quinn::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate)?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.resumption = rustls::client::Resumption::disabled();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport()?);
    Ok(config)
}

/// Few streams and no datagrams, because both cost memory; connections stay while nothing happens.
fn transport() -> Result<Arc<TransportConfig>> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(16u32.into())
        .max_concurrent_uni_streams(0u32.into())
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(Duration::from_secs(15)))
        .max_idle_timeout(Some(Duration::from_secs(60).try_into()?));
    Ok(Arc::new(config))
}

const NAME: &str = "localhost";
const CHUNK: usize = 64 * 1024;
