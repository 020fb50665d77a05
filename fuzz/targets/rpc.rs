//! Raw bytes of somebody who has not authenticated, into the RPC system with the bootstrap interface behind it.
#![no_main]

use std::rc::Rc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use qpq_fuzz::frame::FrameLimit;
use qpq_fuzz::vat;
use qpq_proto::account::{ServerHello, UserName};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::generated::gateway_capnp::gateway;
use qpq_proto::{limits, read};
use tokio::io::AsyncWriteExt as _;

/// Reads what it is given as the server does, and refuses it.
struct Gateway;

impl gateway::Server for Gateway {
    async fn hello(self: Rc<Self>, _: gateway::HelloParams, mut results: gateway::HelloResults) -> capnp::Result<()> {
        let hello = ServerHello { protocol: 1, domain: "localhost".into(), software: "fuzz".into(), incarnation: 1, now: qpq_proto::time::Timestamp(0) };
        hello.write(results.get().init_server());
        Ok(())
    }

    async fn register(
        self: Rc<Self>,
        params: gateway::RegisterParams,
        mut results: gateway::RegisterResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        UserName::read(params.get_name())?;
        read::text("invite", params.get_invite(), limits::INVITE)?;
        read::some_bytes("opaque", params.get_opaque(), limits::OPAQUE)?;
        Refusal::new(Code::Invalid, "no").write(results.get().init_reply().init_refused());
        Ok(())
    }

    async fn login(
        self: Rc<Self>,
        params: gateway::LoginParams,
        mut results: gateway::LoginResults,
    ) -> capnp::Result<()> {
        UserName::read(params.get()?.get_name())?;
        Refusal::new(Code::Invalid, "no").write(results.get().init_reply().init_refused());
        Ok(())
    }

    async fn resume(
        self: Rc<Self>,
        params: gateway::ResumeParams,
        mut results: gateway::ResumeResults,
    ) -> capnp::Result<()> {
        read::array::<64>("proof", params.get()?.get_proof())?;
        Refusal::new(Code::Invalid, "no").write(results.get().init_reply().init_refused());
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let (reader, _silent) = tokio::io::split(near);
        let bootstrap: gateway::Client = capnp_rpc::new_client(Gateway);
        let limit = FrameLimit::new(limits::UNAUTHENTICATED_MESSAGE);
        let serve = vat::serve(reader, tokio::io::sink(), bootstrap.client, limit);
        let feed = async {
            let _ = far.write_all(bytes).await;
            drop(far);
        };
        let both = async { tokio::join!(serve, feed) };
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("it ends with its input").0.ok();
    });
});
