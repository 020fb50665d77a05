//! The second half of a login. The state between the two messages is this object.

use std::cell::RefCell;
use std::rc::Rc;

use qpq_proto::code::{Code, Refusal};
use qpq_proto::generated::gateway_capnp::login;
use qpq_proto::ids::DeviceId;
use qpq_proto::{limits, read};

use super::call::{call, readable};
use super::connection::Connection;
use super::session;
use crate::service::auth::{DeviceProof, LoginInProgress};

pub struct Login {
    connection: Rc<Connection>,
    started: RefCell<Option<LoginInProgress>>,
}

impl Login {
    pub fn new(connection: Rc<Connection>, started: LoginInProgress) -> Self {
        Self { connection, started: RefCell::new(Some(started)) }
    }
}

impl login::Server for Login {
    async fn finish(
        self: Rc<Self>,
        params: login::FinishParams,
        mut results: login::FinishResults,
    ) -> Result<(), capnp::Error> {
        let connection = &self.connection;
        let outcome = call(connection, "login.finish", async {
            let params = readable(params.get())?;
            let opaque = read::some_bytes("opaque", params.get_opaque(), limits::OPAQUE)?;
            let device = DeviceId(read::array("device", params.get_device())?);
            let proof = read::array::<64>("proof", params.get_proof())?;
            let started = self.started.take().ok_or_else(finished)?;
            let proof = DeviceProof { device, exporter: connection.exporter(), proof: &proof };
            let as_of = started.as_of();
            let caller = connection.service().finish_login(started, &opaque, proof).await?;
            connection.authenticate(&caller, as_of).await?;
            Ok(caller)
        })
        .await;
        session::answer(connection, outcome, results.get().init_reply());
        Ok(())
    }
}

fn finished() -> Refusal {
    Refusal::new(Code::BadRequest, "this login was finished already: begin again")
}
