//! The HTTP port for machines: metrics, liveness, readiness.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::metrics::gauges::Gauges;

/// A bound port that nobody is answered on yet.
pub struct Http {
    listener: TcpListener,
    address: SocketAddr,
}

impl Http {
    pub async fn bind(listen: SocketAddr) -> Result<Self, Error> {
        let failed = || format!("cannot listen on {listen} for metrics");
        let listener = TcpListener::bind(listen).await.map_err(Error::system(failed()))?;
        let address = listener.local_addr().map_err(Error::system(failed()))?;
        Ok(Self { listener, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` resolves.
    pub async fn run(self, health: Health, shutdown: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let accept = async {
            loop {
                let Ok(place) = places.clone().acquire_owned().await else { return };
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        let health = health.clone();
                        tokio::spawn(async move {
                            let _ = tokio::time::timeout(PATIENCE, serve(stream, health)).await;
                            drop(place);
                        });
                    }
                    // Out of file descriptors: the next try may go better.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = accept => {}
        }
    }
}

/// Whether the server takes work.
#[derive(Clone)]
pub struct Health {
    gauges: Arc<Gauges>,
    is_draining: Arc<AtomicBool>,
}

impl Health {
    pub fn new(gauges: Gauges) -> Self {
        gauges.service.metrics().ready.set(1);
        Self { gauges: Arc::new(gauges), is_draining: Arc::default() }
    }

    /// From now on it is not ready any more.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.gauges.service.metrics().ready.set(0);
    }

    fn problem(&self) -> Option<&'static str> {
        if self.is_draining.load(Ordering::Relaxed) {
            Some("shutting down\n")
        } else if !self.gauges.service.is_writable() {
            Some("the disk cannot be written\n")
        } else {
            None
        }
    }
}

async fn serve(stream: TcpStream, health: Health) {
    let answer = service_fn(move |request| {
        let health = health.clone();
        async move { Ok::<_, Infallible>(answer(&request, &health).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP connection failed");
    }
}

async fn answer(request: &Request<Incoming>, health: &Health) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match health.problem() {
            None => text(StatusCode::OK, "ready\n"),
            Some(problem) => text(StatusCode::SERVICE_UNAVAILABLE, problem),
        },
        "/metrics" => {
            health.gauges.refresh().await;
            let metrics = health.gauges.service.metrics();
            metrics.ready.set(i64::from(health.problem().is_none()));
            text(StatusCode::OK, metrics.text())
        }
        _ => text(StatusCode::NOT_FOUND, "try /metrics, /healthz or /readyz\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
    response
}

/// A collector or two, and a probe.
const CONNECTIONS: usize = 32;

/// How long one of them may take, keep-alive included.
const PATIENCE: Duration = Duration::from_secs(60);
