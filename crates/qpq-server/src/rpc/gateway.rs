//! The bootstrap capability: hello, register, login, resume.

use std::rc::Rc;

use qpq_proto::account::UserName;
use qpq_proto::code::Refusal;
use qpq_proto::generated::gateway_capnp::gateway;
use qpq_proto::ids::DeviceId;
use qpq_proto::{limits, read};

use super::call::{call, readable};
use super::connection::Connection;
use super::login::Login;
use super::registration::Registration;
use super::session;
use crate::service::auth::DeviceProof;

pub struct Gateway {
    connection: Rc<Connection>,
}

impl Gateway {
    pub fn new(connection: Rc<Connection>) -> Self {
        Self { connection }
    }
}

impl gateway::Server for Gateway {
    /// Answers with our version whatever the caller's is: who cannot speak it hangs up.
    async fn hello(
        self: Rc<Self>,
        _: gateway::HelloParams,
        mut results: gateway::HelloResults,
    ) -> Result<(), capnp::Error> {
        self.connection.service().hello().write(results.get().init_server());
        Ok(())
    }

    async fn register(
        self: Rc<Self>,
        params: gateway::RegisterParams,
        mut results: gateway::RegisterResults,
    ) -> Result<(), capnp::Error> {
        let connection = &self.connection;
        let outcome = call(connection, "gateway.register", async {
            let params = readable(params.get())?;
            let name = UserName::read(params.get_name())?;
            let invite = read::text("invite", params.get_invite(), limits::INVITE)?;
            let opaque = read::some_bytes("opaque", params.get_opaque(), limits::OPAQUE)?;
            connection.service().register(connection.address(), name, &invite, &opaque).await
        })
        .await;
        let reply = results.get().init_reply();
        match outcome {
            Ok((opaque, started)) => {
                let mut ok = reply.init_ok();
                ok.set_opaque(&opaque);
                ok.set_next(capnp_rpc::new_client(Registration::new(connection.clone(), started)));
            }
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }

    async fn login(
        self: Rc<Self>,
        params: gateway::LoginParams,
        mut results: gateway::LoginResults,
    ) -> Result<(), capnp::Error> {
        let connection = &self.connection;
        let outcome = call(connection, "gateway.login", async {
            let params = readable(params.get())?;
            let name = UserName::read(params.get_name())?;
            let opaque = read::some_bytes("opaque", params.get_opaque(), limits::OPAQUE)?;
            connection.service().login(connection.address(), name, &opaque).await
        })
        .await;
        let reply = results.get().init_reply();
        match outcome {
            Ok((opaque, started)) => {
                let mut ok = reply.init_ok();
                ok.set_opaque(&opaque);
                ok.set_next(capnp_rpc::new_client(Login::new(connection.clone(), started)));
            }
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }

    async fn resume(
        self: Rc<Self>,
        params: gateway::ResumeParams,
        mut results: gateway::ResumeResults,
    ) -> Result<(), capnp::Error> {
        let connection = &self.connection;
        let outcome = call(connection, "gateway.resume", async {
            let params = readable(params.get())?;
            let device = DeviceId(read::array("device", params.get_device())?);
            let proof = read::array::<64>("proof", params.get_proof())?;
            let proof = DeviceProof { device, exporter: connection.exporter(), proof: &proof };
            let caller = connection.service().resume(proof).await?;
            connection.authenticate(&caller).await?;
            Ok::<_, Refusal>(caller)
        })
        .await;
        session::answer(connection, outcome, results.get().init_reply());
        Ok(())
    }
}
