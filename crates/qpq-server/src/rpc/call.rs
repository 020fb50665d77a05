//! What every call has in common: it is counted, timed, and contained when it panics.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Instant;

use futures::FutureExt as _;
use qpq_proto::Malformed;
use qpq_proto::code::{Code, Refusal};

use super::connection::Connection;
use crate::metrics;

/// Runs one call of the service. A panic ends this call only.
pub async fn call<T>(
    connection: &Rc<Connection>,
    method: &'static str,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let started = Instant::now();
    let outcome = match connection.begin_call() {
        Ok(_in_flight) => AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(method, "a call panicked");
            connection.service().metrics().panics.inc();
            Err(Refusal::new(Code::Internal, "the server made a mistake"))
        }),
        Err(refusal) => Err(refusal),
    };
    let metrics = connection.service().metrics();
    metrics.rpc_calls.with_label_values(&[method, metrics::outcome(&outcome)]).inc();
    metrics.rpc_seconds.with_label_values(&[method]).observe(started.elapsed().as_secs_f64());
    outcome
}

/// Parameters that cannot be read are a refusal like any other.
pub fn readable<T>(value: capnp::Result<T>) -> Result<T, Malformed> {
    Ok(value?)
}
