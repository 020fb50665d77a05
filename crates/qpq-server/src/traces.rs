//! Spans of requests, for an OpenTelemetry collector (OTLP over HTTP, protobuf). They hold what the log holds at `debug`: which
//! call it was, its number, how it ended and how long it took; nothing about anybody.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use qpq_io::log::Listener;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;

use crate::config::Traces;
use crate::error::Error;

/// Sends in the background for as long as it lives, and the rest when it is dropped.
pub struct Exporting(SdkTracerProvider);

impl Drop for Exporting {
    fn drop(&mut self) {
        // A collector that is away must not keep a server from ending.
        let _ = self.0.shutdown_with_timeout(PATIENCE);
    }
}

/// What the log is started with, if there is a collector.
///
/// # Errors
/// When the settings are not good, or there is no thread to be had.
pub fn start(traces: &Traces) -> Result<Option<(Listener, Exporting)>, Error> {
    let Some(authority) = traces.authority().map_err(Error::NotReady)? else { return Ok(None) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::system("cannot start the runtime that traces are sent on"))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("http://{authority}/v1/traces"))
        .with_http_client(Collector { authority, runtime: Mutex::new(runtime), is_away: AtomicBool::new(false) })
        .build()
        .map_err(|error| Error::NotReady(format!("traces cannot be sent: {error}")))?;
    let service = Resource::builder().with_service_name(env!("CARGO_PKG_NAME"));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::TraceIdRatioBased(1.0 / f64::from(traces.one_in.max(1))))
        .with_resource(service.build())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with(OURS)));
    Ok(Some((layer.boxed(), Exporting(provider))))
}

/// One request at a time, on the thread that asks.
#[derive(Debug)]
struct Collector {
    authority: String,
    runtime: Mutex<Runtime>,
    is_away: AtomicBool,
}

impl HttpClient for Collector {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = runtime.block_on(async {
                tokio::time::timeout(PATIENCE, send(&self.authority, request)).await.map_err(HttpError::from)?
            });
            let is_away = !outcome.as_ref().is_ok_and(|answer| answer.status().is_success());
            if is_away != self.is_away.swap(is_away, Ordering::Relaxed) {
                match is_away {
                    true => tracing::warn!("the collector does not take traces; they are lost until it does"),
                    false => tracing::info!("the collector takes traces again"),
                }
            }
            outcome
        })
    }
}

async fn send(authority: &str, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (mut parts, body) = request.into_parts();
    parts.uri = parts.uri.path().parse()?;
    parts.headers.insert(header::HOST, authority.parse()?);
    let answer = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(parts, body))
}

/// The names of our spans begin with it.
const OURS: &str = "qpq_server";

/// What a collector may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

const LONGEST_ANSWER: usize = 64 * 1024;
