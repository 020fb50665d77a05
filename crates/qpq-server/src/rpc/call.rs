//! What every call has in common: it is counted, timed, and contained when it panics.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Instant;

use futures::FutureExt as _;
use qpq_proto::Malformed;
use qpq_proto::code::{Code, Refusal};
use tracing::Instrument as _;

use super::connection::Connection;
use crate::metrics;

/// Runs one call of the service. A panic ends this call only.
pub async fn call<T>(
    connection: &Rc<Connection>,
    method: &'static str,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let (started, id) = (Instant::now(), connection.next_request());
    // What is logged on the way carries the request's id.
    let span = tracing::debug_span!("request", otel.name = method, %id, method, outcome = tracing::field::Empty);
    let outcome = match connection.begin_call() {
        Ok(_in_flight) => AssertUnwindSafe(work).catch_unwind().instrument(span.clone()).await.unwrap_or_else(|_| {
            tracing::error!(request = %id, method, "a call panicked");
            connection.service().metrics().panics.inc();
            Err(Refusal::new(Code::Internal, format!("the server made a mistake; its log has it as request {id}")))
        }),
        Err(refusal) => Err(refusal),
    };
    span.record("outcome", metrics::outcome(&outcome));
    let metrics = connection.service().metrics();
    metrics.rpc_calls.with_label_values(&[method, metrics::outcome(&outcome)]).inc();
    let took = started.elapsed();
    metrics.rpc_seconds.with_label_values(&[method]).observe(took.as_secs_f64());
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(request = %id, method, outcome = metrics::outcome(&outcome), micros, "call");
    outcome
}

/// Parameters that cannot be read are a refusal like any other.
pub fn readable<T>(value: capnp::Result<T>) -> Result<T, Malformed> {
    Ok(value?)
}
