//! Starting and stopping.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use qpq_io::files::{self, FileLock};
use qpq_io::rpc::endpoint::{self, ServerOptions};
use qpq_io::rpc::tls::{Fingerprint, ReloadableCertificate};
use qpq_io::secret::Secret;
use qpq_io::shutdown::{Shutdown, ShutdownSignal};

use crate::config::Config;
use crate::error::Error;
use crate::http::{Health, Http};
use crate::metrics::Metrics;
use crate::metrics::gauges::Gauges;
use crate::rewrite;
use crate::rpc::RpcHandler;
use crate::service::{Clock, Listeners, Options, Service};
use crate::setup;
use crate::store::{Store, StoreError};

/// A server that has not been started.
pub struct Server;

impl Server {
    /// Starts a server on threads of its own, and returns when it is ready to serve.
    ///
    /// # Errors
    /// Whatever keeps it from starting; nothing is left running then.
    pub fn start(config: Config) -> Result<RunningServer, Error> {
        config.check()?;
        setup::data_dir(&config)?;
        let lock = setup::lock(&config)?;
        rewrite::settle(&config)?;
        let shutdown = Shutdown::new();
        let (ready, readiness) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("qpq-server".into())
            .spawn({
                let (config, signal) = (config.clone(), shutdown.signal());
                move || run(config, lock, signal, &ready)
            })
            .map_err(Error::system("cannot start the server's thread"))?;
        match readiness.recv() {
            Ok(started) => Ok(RunningServer { config, started, shutdown, thread: Some(thread) }),
            // It ended before it was ready, and says why.
            Err(_) => match join(thread) {
                Ok(()) => Err(Error::NotReady("the server ended while it was starting".into())),
                Err(error) => Err(error),
            },
        }
    }
}

/// A server that serves. Dropping it stops it.
pub struct RunningServer {
    config: Config,
    started: Started,
    shutdown: Shutdown,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

struct Started {
    address: SocketAddr,
    metrics_address: SocketAddr,
    certificate: ReloadableCertificate,
}

impl RunningServer {
    /// The UDP address that clients connect to, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.started.address
    }

    /// The TCP address of metrics and health, with the real port.
    pub fn metrics_address(&self) -> SocketAddr {
        self.started.metrics_address
    }

    /// What clients compare and pin.
    pub fn fingerprint(&self) -> Fingerprint {
        self.started.certificate.fingerprint()
    }

    /// Reads the certificate again; new connections get the new one.
    ///
    /// # Errors
    /// When it cannot be read; the old one stays.
    pub fn reload_certificate(&self) -> Result<Fingerprint, Error> {
        self.started.certificate.replace(setup::certificate(&self.config)?);
        Ok(self.fingerprint())
    }

    /// Lets running calls finish, tells the clients, and returns when everything is on disk and all threads have ended.
    ///
    /// # Errors
    /// What went wrong while it was running.
    pub fn stop(mut self) -> Result<(), Error> {
        self.shutdown.trigger();
        self.thread.take().map_or(Ok(()), join)
    }

    /// Whether it has ended by itself, which only a failure makes it do; [`stop`](Self::stop) then says which.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            let _ = join(thread);
        }
    }
}

fn join(thread: JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    thread.join().unwrap_or_else(|_| Err(Error::NotReady("the server's main thread panicked".into())))
}

fn run(config: Config, lock: FileLock, shutdown: ShutdownSignal, ready: &mpsc::Sender<Started>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::system("cannot start the server's runtime"))?;
    let outcome = runtime.block_on(serve(&config, shutdown, ready));
    drop(runtime);
    drop(lock);
    outcome
}

async fn serve(config: &Config, shutdown: ShutdownSignal, ready: &mpsc::Sender<Started>) -> Result<(), Error> {
    let certificate = ReloadableCertificate::new(setup::certificate(config)?);
    let metrics = Arc::new(Metrics::new());
    let listeners = Listeners::default();
    let observer = {
        let metrics = metrics.clone();
        Arc::new(move |jobs, timing| metrics.transaction(jobs, &timing))
    };
    let store = Arc::new(setup::store(config, listeners.hook(), observer)?);
    let reset_key = reset_key(&*store).await?;
    let service = Service::start(store.clone(), listeners, Options::from(config), metrics, Clock::system()).await?;

    let http = Http::bind(config.metrics.listen).await?;
    let server = endpoint::Server::bind(
        ServerOptions {
            listen: config.listen,
            workers: config.worker_threads(),
            max_connections: config.limits.max_connections,
            reset_key,
            idle_timeout: IDLE_TIMEOUT,
        },
        certificate.clone(),
    )?;
    let gauges = Gauges::new(config, service.clone(), store, server.stats(), certificate.clone());
    let started = Started { address: server.local_address(), metrics_address: http.address(), certificate };
    write_addresses(config, &started)?;
    tracing::info!(fingerprint = %started.certificate.fingerprint(), "the certificate's fingerprint (SHA-256)");

    let health = Health::new(gauges);
    let ended = Shutdown::new();
    let endpoint = {
        let (health, ended) = (health.clone(), ended.clone());
        let handler = Arc::new(RpcHandler::new(service.clone()));
        async move {
            let outcome = server.run(handler, draining(&health, shutdown)).await;
            ended.trigger();
            outcome
        }
    };
    // Whoever waits for this may be gone, which then stops the server.
    let _ = ready.send(started);
    let (signal, http_signal) = (ended.signal(), ended.signal());
    let (outcome, (), ()) = tokio::join!(
        endpoint,
        service.run(async move { signal.wait().await }),
        http.run(health, async move { http_signal.wait().await }),
    );
    let _ = std::fs::remove_file(addresses_file(config));
    Ok(outcome?)
}

async fn draining(health: &Health, shutdown: ShutdownSignal) {
    shutdown.wait().await;
    tracing::info!("shutting down");
    health.drain();
}

/// With it, clients learn at once after a restart that their connections are gone.
fn reset_key(store: &dyn Store) -> impl Future<Output = Result<Secret<64>, StoreError>> {
    let stored = store.setting_or_insert("stateless_reset_key", Secret::<64>::random().expose().to_vec());
    async move {
        let bytes = zeroize::Zeroizing::new(stored.await?);
        let key: [u8; 64] = bytes[..]
            .try_into()
            .map_err(|_| StoreError::Internal("the stored stateless-reset key is damaged".into()))?;
        Ok(Secret::new(key))
    }
}

/// For `healthcheck`, and for whoever asked for port 0.
fn write_addresses(config: &Config, started: &Started) -> Result<(), Error> {
    let text = format!("listening on {}\nmetrics on {}\n", started.address, started.metrics_address);
    Ok(files::write_atomically(&addresses_file(config), text.as_bytes(), 0o644)?)
}

pub(crate) fn addresses_file(config: &Config) -> std::path::PathBuf {
    config.data_dir.join("addresses")
}

/// Four lost keep-alives of a client.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
