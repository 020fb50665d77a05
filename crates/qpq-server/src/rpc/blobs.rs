//! Uploading and fetching encrypted files.

use std::rc::Rc;

use qpq_proto::blobs::PART;
use qpq_proto::code::Refusal;
use qpq_proto::generated::blobs_capnp::{blobs, received_reply};
use qpq_proto::ids::BlobId;
use qpq_proto::read;

use super::call::{call, readable};
use super::session::Right;

pub struct Blobs(pub Rc<Right>);

impl blobs::Server for Blobs {
    async fn begin(
        self: Rc<Self>,
        params: blobs::BeginParams,
        mut results: blobs::BeginResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "blobs.begin", async {
            let params = readable(params.get())?;
            let blob = BlobId(read::array("blob", params.get_blob())?);
            connection.service().begin_blob(caller, blob, params.get_size()).await
        })
        .await;
        write_received(outcome, results.get().init_reply());
        Ok(())
    }

    async fn put(self: Rc<Self>, params: blobs::PutParams, mut results: blobs::PutResults) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "blobs.put", async {
            let params = readable(params.get())?;
            let blob = BlobId(read::array("blob", params.get_blob())?);
            let bytes = read::some_bytes("bytes", params.get_bytes(), PART)?;
            connection.service().put_part(caller, blob, params.get_offset(), bytes).await
        })
        .await;
        write_received(outcome, results.get().init_reply());
        Ok(())
    }

    async fn get(self: Rc<Self>, params: blobs::GetParams, mut results: blobs::GetResults) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "blobs.get", async {
            let params = readable(params.get())?;
            let blob = BlobId(read::array("blob", params.get_blob())?);
            connection.service().read_blob(caller, blob, params.get_offset(), params.get_length() as usize).await
        })
        .await;
        let mut reply = results.get().init_reply();
        match outcome {
            Ok(bytes) => reply.set_bytes(&bytes),
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }
}

fn write_received(outcome: Result<u64, Refusal>, mut reply: received_reply::Builder<'_>) {
    match outcome {
        Ok(received) => reply.set_received(received),
        Err(refusal) => refusal.write(reply.init_refused()),
    }
}
