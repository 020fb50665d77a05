//! Opening a stream, subscribing to logs, acknowledging.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures::FutureExt as _;
use qpq_proto::code::Refusal;
use qpq_proto::generated::stream_capnp::{delivery, stream};
use qpq_proto::ids::Seq;
use qpq_proto::stream::{LogId, Mark, Position};

use super::call::{call, readable};
use super::connection::Connection;
use super::pump;
use super::session::Right;
use crate::service::DeviceStream;

pub struct Delivery(pub Rc<Right>);

impl delivery::Server for Delivery {
    async fn open(
        self: Rc<Self>,
        params: delivery::OpenParams,
        mut results: delivery::OpenResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let params = params.get()?;
        let (sink, in_push) = (params.get_sink()?, params.get_in_push());
        // A device that opens twice on one connection means the second one.
        connection.set_pump(None);
        connection.echoes().borrow_mut().clear();
        let opened = call(connection, "delivery.open", async { Ok(connection.service().open_stream(caller)) }).await;
        let (handle, source) = opened.map_err(exception)?;
        let end = {
            let connection = connection.clone();
            async move {
                let run = pump::run(source, sink, in_push, &connection);
                connection.end(AssertUnwindSafe(run).catch_unwind().await.unwrap_or("the stream failed"));
            }
        };
        connection.set_pump(Some(tokio::task::spawn_local(end)));
        results.get().set_stream(capnp_rpc::new_client(Stream { connection: connection.clone(), handle }));
        Ok(())
    }
}

struct Stream {
    connection: Rc<Connection>,
    handle: DeviceStream,
}

impl stream::Server for Stream {
    async fn subscribe(
        self: Rc<Self>,
        params: stream::SubscribeParams,
        mut results: stream::SubscribeResults,
    ) -> Result<(), capnp::Error> {
        let outcome = call(&self.connection, "stream.subscribe", async {
            let params = readable(params.get())?;
            let log = LogId::read(readable(params.get_log())?)?;
            let known = Mark::read_list(readable(params.get_known())?)?;
            // What was repeated is read from the log a second time then, and the device may not have it any more.
            self.connection.echoes().borrow_mut().clear();
            self.handle.subscribe(log, Seq(params.get_after()), known).await
        })
        .await;
        let mut reply = results.get().init_reply();
        match outcome {
            Ok(subscribed) => {
                reply.set_from(subscribed.from.0);
                reply.set_acknowledged(subscribed.acknowledged.0);
                reply.set_joined(subscribed.joined.0);
                if let Some(lineage) = subscribed.lineage {
                    reply.set_epoch(lineage.epoch.0);
                    reply.set_context(lineage.context);
                }
                reply.set_head(subscribed.head.0);
            }
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }

    async fn acknowledge(
        self: Rc<Self>,
        params: stream::AcknowledgeParams,
        _: stream::AcknowledgeResults,
    ) -> Result<(), capnp::Error> {
        call(&self.connection, "stream.acknowledge", async {
            let positions = Position::read_list(readable(readable(params.get())?.get_positions())?)?;
            self.handle.acknowledge(&positions);
            Ok(())
        })
        .await
        .map_err(exception)
    }
}

/// For calls whose answer has no room for a refusal.
fn exception(refusal: Refusal) -> capnp::Error {
    if refusal.code.is_retryable() {
        capnp::Error::overloaded(refusal.detail)
    } else {
        capnp::Error::failed(refusal.detail)
    }
}
