//! The second half of a registration. The state between the two messages is this object.

use std::cell::RefCell;
use std::rc::Rc;

use qpq_proto::code::{Code, Refusal};
use qpq_proto::generated::gateway_capnp::registration;
use qpq_proto::ids::DeviceId;
use qpq_proto::{limits, read};

use super::call::{call, readable};
use super::connection::Connection;
use super::session;
use crate::service::auth::{DeviceProof, RegistrationInProgress};

pub struct Registration {
    connection: Rc<Connection>,
    started: RefCell<Option<RegistrationInProgress>>,
}

impl Registration {
    pub fn new(connection: Rc<Connection>, started: RegistrationInProgress) -> Self {
        Self { connection, started: RefCell::new(Some(started)) }
    }
}

impl registration::Server for Registration {
    async fn finish(
        self: Rc<Self>,
        params: registration::FinishParams,
        mut results: registration::FinishResults,
    ) -> Result<(), capnp::Error> {
        let connection = &self.connection;
        let outcome = call(connection, "registration.finish", async {
            let params = readable(params.get())?;
            let opaque = read::some_bytes("opaque", params.get_opaque(), limits::OPAQUE)?;
            let manifest = read::some_bytes("manifest", params.get_manifest(), limits::MANIFEST)?;
            let device = DeviceId(read::array("device", params.get_device())?);
            let proof = read::array::<64>("proof", params.get_proof())?;
            let started = self.started.take().ok_or_else(finished)?;
            let proof = DeviceProof { device, exporter: connection.exporter(), proof: &proof };
            let as_of = connection.service().as_of();
            let caller = connection.service().finish_registration(started, &opaque, manifest, proof).await?;
            connection.authenticate(&caller, as_of).await?;
            Ok(caller)
        })
        .await;
        session::answer(connection, outcome, results.get().init_reply());
        Ok(())
    }
}

fn finished() -> Refusal {
    Refusal::new(Code::BadRequest, "this registration was finished already: begin again")
}
