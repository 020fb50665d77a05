//! Ends of bare streams.

use std::rc::Rc;

use qpq_proto::generated::stream_capnp::event_sink;

/// Tells of the entries that come, keeps nothing, and acknowledges nothing.
pub struct Sink {
    on_entry: OnEntry,
    on_caught_up: Box<dyn Fn()>,
}

type OnEntry = Box<dyn Fn(&[u8])>;

impl Sink {
    /// One that takes everything and says nothing.
    pub fn silent() -> event_sink::Client {
        Self::client(|_| {}, || {})
    }

    /// Calls the first with each payload, the second when everything that waited is there.
    pub fn client(on_entry: impl Fn(&[u8]) + 'static, on_caught_up: impl Fn() + 'static) -> event_sink::Client {
        capnp_rpc::new_client(Self { on_entry: Box::new(on_entry), on_caught_up: Box::new(on_caught_up) })
    }
}

impl event_sink::Server for Sink {
    async fn push(self: Rc<Self>, params: event_sink::PushParams) -> Result<(), capnp::Error> {
        let params = params.get()?;
        for entry in params.get_entries()? {
            (self.on_entry)(entry.get_payload()?);
        }
        if params.get_caught_up() > 0 {
            (self.on_caught_up)();
        }
        Ok(())
    }

    async fn caught_up(
        self: Rc<Self>,
        _: event_sink::CaughtUpParams,
        _: event_sink::CaughtUpResults,
    ) -> Result<(), capnp::Error> {
        (self.on_caught_up)();
        Ok(())
    }

    async fn heartbeat(
        self: Rc<Self>,
        _: event_sink::HeartbeatParams,
        _: event_sink::HeartbeatResults,
    ) -> Result<(), capnp::Error> {
        Ok(())
    }

    async fn key_packages_low(
        self: Rc<Self>,
        _: event_sink::KeyPackagesLowParams,
        _: event_sink::KeyPackagesLowResults,
    ) -> Result<(), capnp::Error> {
        Ok(())
    }

    async fn whisper(
        self: Rc<Self>,
        _: event_sink::WhisperParams,
        _: event_sink::WhisperResults,
    ) -> Result<(), capnp::Error> {
        Ok(())
    }
}
