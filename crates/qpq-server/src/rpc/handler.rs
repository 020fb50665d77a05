//! Connections: who may have one, what ends one.

use std::rc::Rc;
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use qpq_io::rpc::endpoint::{Addresses, Handler, ServerConnection};
use qpq_io::rpc::vat;
use qpq_io::shutdown::ShutdownSignal;
use qpq_proto::generated::gateway_capnp::gateway;

use super::connection::Connection;
use super::gateway::Gateway;
use crate::service::Service;

/// Serves the RPC interface to every connection.
pub struct RpcHandler {
    service: Arc<Service>,
    addresses: Addresses,
}

impl RpcHandler {
    /// A handler on top of `service`.
    pub fn new(service: Arc<Service>) -> Self {
        Self { service, addresses: Addresses::default() }
    }

    async fn serve_connection(self: Arc<Self>, connection: ServerConnection, shutdown: ShutdownSignal) {
        let metrics = self.service.metrics();
        let address = connection.remote_address().ip().to_canonical();
        let most = self.service.options().limits.connections_per_address;
        let Some(_place) = self.addresses.enter(address, most) else {
            metrics.connections_refused.with_label_values(&["address_limit"]).inc();
            return connection.close("too many connections from this address");
        };
        let Ok((send, receive)) = connection.accept_stream().await else {
            return connection.close("no stream was opened");
        };
        let signs_of_life = {
            let connection = connection.clone();
            Rc::new(move || connection.packets_received())
        };
        let trust = {
            let connection = connection.clone();
            Box::new(move || connection.trust())
        };
        let state = Connection::new(self.service.clone(), address, connection.exporter(), signs_of_life, trust);
        let state = Rc::new(state);
        let _served = Served::begin(&state);
        let bootstrap: gateway::Client = capnp_rpc::new_client(Gateway::new(state.clone()));
        let serve = vat::serve_until(receive, send, bootstrap.client, state.limit(), shutdown.wait());
        let reason = tokio::select! {
            outcome = serve => outcome.err().map(|error| {
                tracing::debug!(kind = ?error.kind, "connection failed");
                "protocol error"
            }),
            reason = state.ended() => Some(reason),
            _ = connection.closed() => None,
        };
        if let Some(reason) = reason {
            connection.close(reason);
        }
    }
}

impl Handler for RpcHandler {
    fn serve(self: Arc<Self>, connection: ServerConnection, shutdown: ShutdownSignal) -> LocalBoxFuture<'static, ()> {
        Box::pin(self.serve_connection(connection, shutdown))
    }
}

/// A connection while it is served, however that ends.
struct Served(Rc<Connection>);

impl Served {
    fn begin(state: &Rc<Connection>) -> Self {
        let metrics = state.service().metrics();
        metrics.connections_total.inc();
        metrics.connections.inc();
        Self(state.clone())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The stream's task holds the connection's state, and the other way round.
        self.0.stop();
        self.0.service().metrics().connections.dec();
    }
}
