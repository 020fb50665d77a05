//! Both ends over real sockets on the loopback interface.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use qpq_io::Error;
use qpq_io::rpc::connect::{ClientConnection, Connector, ServerAddress};
use qpq_io::rpc::endpoint::{Handler, Server, ServerConnection, ServerOptions, ServerStats};
use qpq_io::rpc::pin::{ServerTrust, Verified};
use qpq_io::rpc::tls::{Fingerprint, ReloadableCertificate, ServerCertificate};
use qpq_io::secret::Secret;
use qpq_io::shutdown::{Shutdown, ShutdownSignal};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

/// First sends its channel binding, then whatever it gets; panics at a `!`; ignores shutdown after a `?`.
#[derive(Default)]
struct Echo {
    dropped: Arc<AtomicUsize>,
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Handler for Echo {
    fn serve(self: Arc<Self>, connection: ServerConnection, shutdown: ShutdownSignal) -> LocalBoxFuture<'static, ()> {
        let count = CountDrop(self.dropped.clone());
        async move {
            let _count = count;
            let Ok((mut send, mut receive)) = connection.accept_stream().await else {
                return;
            };
            send.write_all(&connection.exporter()).await.unwrap();
            let mut buf = vec![0; 64 * 1024];
            let mut stubborn = false;
            loop {
                let read = tokio::select! {
                    read = receive.read(&mut buf) => read,
                    () = shutdown.wait(), if !stubborn => return,
                };
                let Ok(Some(n)) = read else { return };
                assert_ne!(buf[0], b'!', "as ordered");
                stubborn |= buf[0] == b'?';
                if send.write_all(&buf[..n]).await.is_err() {
                    return;
                }
            }
        }
        .boxed_local()
    }
}

struct Running {
    address: SocketAddr,
    certificate: ReloadableCertificate,
    stats: ServerStats,
    dropped: Arc<AtomicUsize>,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), Error>>,
    dir: tempfile::TempDir,
}

fn certificate(dir: &Path, name: &str) -> ServerCertificate {
    let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    ServerCertificate::self_signed(&cert, &key, &["localhost".into()]).unwrap()
}

fn start(max_connections: usize) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let certificate = ReloadableCertificate::new(certificate(dir.path(), "a"));
    start_at("127.0.0.1:0".parse().unwrap(), max_connections, certificate, dir)
}

fn start_at(
    listen: SocketAddr,
    max_connections: usize,
    certificate: ReloadableCertificate,
    dir: tempfile::TempDir,
) -> Running {
    let options = ServerOptions {
        listen,
        workers: 2,
        max_connections,
        reset_key: Secret::new([7; 64]),
        idle_timeout: Duration::from_secs(60),
    };
    let server = Server::bind(options, certificate.clone()).unwrap();
    let handler = Arc::new(Echo::default());
    let dropped = handler.dropped.clone();
    let (address, stats, shutdown) = (server.local_address(), server.stats(), Shutdown::new());
    let signal = shutdown.signal();
    Running {
        address,
        certificate,
        stats,
        dropped,
        shutdown,
        task: tokio::spawn(async move { server.run(handler, async move { signal.wait().await }).await }),
        dir,
    }
}

impl Running {
    fn server(&self) -> ServerAddress {
        ServerAddress { host: "localhost".into(), port: self.address.port() }
    }

    async fn connect(&self, trust: ServerTrust) -> Result<ClientConnection, Error> {
        Connector::new(trust).unwrap().connect(&self.server()).await
    }

    async fn pinned(&self) -> ClientConnection {
        self.connect(ServerTrust::Pinned(self.certificate.fingerprint())).await.unwrap()
    }
}

/// Sends `data` and reads it back, after the channel binding.
async fn echo(connection: &ClientConnection, data: &[u8]) -> Result<Vec<u8>, Error> {
    let (mut send, mut receive) = connection.open_stream().await?;
    let write = async {
        let _ = send.write_all(data).await;
        let _ = send.shutdown().await;
    };
    let (_, read) = tokio::join!(write, receive.read_to_end(16 << 20));
    match read {
        Ok(bytes) if bytes.len() >= 32 => {
            assert_eq!(bytes[..32], connection.exporter());
            Ok(bytes[32..].to_vec())
        }
        _ => Err(connection.closed().await),
    }
}

#[tokio::test]
async fn first_use_then_pinned() {
    let server = start(10);
    let first = server.connect(ServerTrust::SystemRootsOrFirstUse).await.unwrap();
    let fingerprint = server.certificate.fingerprint();
    assert_eq!(first.verified(), Verified::FirstUse(fingerprint));
    assert_eq!(first.fingerprint(), fingerprint);
    let second = server.pinned().await;
    assert_eq!(second.verified(), Verified::Pinned);
    assert_eq!(echo(&second, b"hello").await.unwrap(), b"hello");
    assert_ne!(first.exporter(), second.exporter());
}

#[tokio::test]
async fn a_changed_certificate_is_refused_with_both_fingerprints() {
    let server = start(10);
    let old = server.certificate.fingerprint();
    let kept = server.pinned().await;
    server.certificate.replace(certificate(server.dir.path(), "b"));
    match server.connect(ServerTrust::Pinned(old)).await {
        Err(Error::CertificateChanged { expected, presented }) => {
            assert_eq!(expected, old);
            assert_eq!(presented, server.certificate.fingerprint());
        }
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(echo(&kept, b"still here").await.unwrap(), b"still here");
}

#[tokio::test]
async fn a_ca_file_vouches_for_names() {
    let server = start(10);
    let connect = async |ca: &str| server.connect(ServerTrust::CaFile(server.dir.path().join(ca))).await;
    certificate(server.dir.path(), "b");
    assert_eq!(connect("a.pem").await.unwrap().verified(), Verified::Roots);
    assert!(matches!(connect("b.pem").await, Err(Error::CertificateInvalid(_))));

    let by_ip: ServerAddress = server.address.to_string().parse().unwrap();
    let connector = Connector::new(ServerTrust::CaFile(server.dir.path().join("a.pem"))).unwrap();
    assert!(matches!(connector.connect(&by_ip).await, Err(Error::CertificateInvalid(_))));
}

#[tokio::test]
async fn large_messages_flow() {
    let server = start(10);
    let connection = server.pinned().await;
    // No byte in it is an order to the handler, wherever a read may begin.
    let data: Vec<u8> = (0..4_u32 << 20).map(|i| (i % 31) as u8).collect();
    assert!(echo(&connection, &data).await.unwrap() == data);
}

#[tokio::test]
async fn more_connections_than_allowed_are_refused() {
    let server = start(2);
    let first = server.pinned().await;
    let _second = server.pinned().await;
    let third = server.connect(ServerTrust::SystemRootsOrFirstUse).await;
    assert!(matches!(third, Err(Error::Offline { .. })));
    assert_eq!((server.stats.connections_open(), server.stats.refused_total()), (2, 1));
    first.close_and_wait("done").await;
    while server.stats.connections_open() > 1 {
        tokio::task::yield_now().await;
    }
    let third = server.pinned().await;
    assert_eq!(echo(&third, b"in").await.unwrap(), b"in");
    assert_eq!(server.stats.accepted_total(), 3);
}

#[tokio::test]
async fn a_panic_ends_one_connection_only() {
    let server = start(10);
    let (victim, witness) = (server.pinned().await, server.pinned().await);
    assert!(matches!(echo(&victim, b"!").await, Err(Error::Closed(_))));
    assert_eq!(echo(&witness, b"fine").await.unwrap(), b"fine");
    assert_eq!(echo(&server.pinned().await, b"fine").await.unwrap(), b"fine");
}

#[tokio::test]
async fn shutdown_tells_the_clients() {
    let server = start(10);
    let connection = server.pinned().await;
    let (mut send, mut receive) = connection.open_stream().await.unwrap();
    send.write_all(b"x").await.unwrap();
    receive.read_exact(&mut [0; 33]).await.unwrap();
    let begin = Instant::now();
    server.shutdown.trigger();
    let reason = connection.closed().await.to_string();
    assert!(reason.contains("shutting down"), "{reason}");
    server.task.await.unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(4));
    assert_eq!(server.stats.connections_open(), 0);
    assert_eq!(server.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn stubborn_handlers_are_dropped_after_the_grace() {
    let server = start(10);
    let connection = server.pinned().await;
    let (mut send, mut receive) = connection.open_stream().await.unwrap();
    send.write_all(b"?").await.unwrap();
    receive.read_exact(&mut [0; 33]).await.unwrap();
    let begin = Instant::now();
    server.shutdown.trigger();
    server.task.await.unwrap().unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(5) && begin.elapsed() < Duration::from_secs(9));
    assert_eq!(server.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nobody_there_is_told_apart() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let connector = Connector::new(ServerTrust::Pinned(Fingerprint::from_bytes([0; 32]))).unwrap();
    let silent: ServerAddress = socket.local_addr().unwrap().to_string().parse().unwrap();
    let unknown: ServerAddress = "no-such-host.invalid".parse().unwrap();
    let (silent, unknown) = tokio::join!(connector.connect(&silent), connector.connect(&unknown));
    assert!(matches!(silent, Err(Error::Timeout(_))));
    assert!(matches!(unknown, Err(Error::Offline { .. })));
}
