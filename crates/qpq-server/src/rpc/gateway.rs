//! The bootstrap capability: hello, register, login, resume, link, recover.

use std::rc::Rc;
use std::time::Duration;

use qpq_proto::account::UserName;
use qpq_proto::code::Refusal;
use qpq_proto::generated::gateway_capnp::gateway;
use qpq_proto::ids::DeviceId;
use qpq_proto::{limits, read};

use super::call::{call, readable};
use super::connection::Connection;
use super::login::Login;
use super::own_account;
use super::recovery::Recovery;
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
            let as_of = connection.service().as_of();
            let caller = connection.service().resume(proof).await?;
            connection.authenticate(&caller, as_of).await?;
            Ok::<_, Refusal>(caller)
        })
        .await;
        session::answer(connection, outcome, results.get().init_reply());
        Ok(())
    }

    async fn link_put(
        self: Rc<Self>,
        params: gateway::LinkPutParams,
        mut results: gateway::LinkPutResults,
    ) -> Result<(), capnp::Error> {
        let connection = &self.connection;
        let outcome = call(connection, "gateway.linkPut", async {
            let params = readable(params.get())?;
            let mailbox = read::array("mailbox", params.get_mailbox())?;
            let step = params.get_step().map_err(qpq_proto::Malformed::from)?;
            let data = read::some_bytes("data", params.get_data(), limits::LINK_BUNDLE)?;
            connection.service().link_put(connection.address(), mailbox, step, data)
        })
        .await;
        own_account::write(outcome, results.get().init_reply());
        Ok(())
    }

    async fn link_take(
        self: Rc<Self>,
        params: gateway::LinkTakeParams,
        mut results: gateway::LinkTakeResults,
    ) -> Result<(), capnp::Error> {
        let connection = &self.connection;
        let outcome = call(connection, "gateway.linkTake", async {
            let params = readable(params.get())?;
            let mailbox = read::array("mailbox", params.get_mailbox())?;
            let step = params.get_step().map_err(qpq_proto::Malformed::from)?;
            connection.service().link_take(connection.address(), mailbox, step, LINK_PATIENCE).await
        })
        .await;
        let mut reply = results.get().init_reply();
        match outcome {
            Ok(Some(data)) => reply.set_data(&data),
            Ok(None) => reply.set_waiting(()),
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }

    async fn recover(
        self: Rc<Self>,
        params: gateway::RecoverParams,
        mut results: gateway::RecoverResults,
    ) -> Result<(), capnp::Error> {
        let connection = &self.connection;
        let outcome = call(connection, "gateway.recover", async {
            let params = readable(params.get())?;
            let name = UserName::read(params.get_name())?;
            let proof = read::array::<64>("proof", params.get_proof())?;
            let opaque = read::some_bytes("opaque", params.get_opaque(), limits::OPAQUE)?;
            let service = connection.service();
            service.recover(connection.address(), name, connection.exporter(), &proof, &opaque).await
        })
        .await;
        let reply = results.get().init_reply();
        match outcome {
            Ok(started) => {
                let mut ok = reply.init_ok();
                ok.set_opaque(&started.opaque);
                ok.set_record(&started.record);
                ok.set_manifest(&started.manifest);
                ok.set_next(capnp_rpc::new_client(Recovery::new(connection.clone(), started.next)));
            }
            Err(refusal) => {
                connection.attempt_failed();
                refusal.write(reply.init_refused());
            }
        }
        Ok(())
    }
}

/// Shorter than a connection may be nobody's.
const LINK_PATIENCE: Duration = Duration::from_secs(15);
