//! The mailbox in which two devices of one person find each other.

use qpq_proto::generated::account_capnp::done_reply;
use qpq_proto::generated::gateway_capnp::link_reply;
use qpq_proto::limits;
use qpq_proto::link::LinkStep;

use super::authenticate::refused;
use super::{Greeted, offline};
use crate::Error;

/// Puts one step in.
///
/// # Errors
/// Refused, or offline.
pub async fn link_put(greeted: &Greeted, mailbox: &[u8; 16], step: LinkStep, data: &[u8]) -> Result<(), Error> {
    let mut request = greeted.gateway.link_put_request();
    request.get().set_mailbox(mailbox);
    request.get().set_step(step);
    request.get().set_data(data);
    let response = request.send().promise.await.map_err(offline)?;
    done(response.get().and_then(|reader| reader.get_reply()).map_err(offline)?)
}

/// Waits a while for a step; none when it has not come.
///
/// # Errors
/// Refused, or offline.
pub async fn link_take(greeted: &Greeted, mailbox: &[u8; 16], step: LinkStep) -> Result<Option<Vec<u8>>, Error> {
    let mut request = greeted.gateway.link_take_request();
    request.get().set_mailbox(mailbox);
    request.get().set_step(step);
    let response = request.send().promise.await.map_err(offline)?;
    let reply = response.get().and_then(|reader| reader.get_reply()).map_err(offline)?;
    match reply.which().map_err(|error| offline(error.into()))? {
        link_reply::Refused(refusal) => Err(refused(refusal)),
        link_reply::Waiting(()) => Ok(None),
        link_reply::Data(data) => {
            let data = qpq_proto::read::some_bytes("link.data", data, limits::LINK_BUNDLE);
            data.map(Some).map_err(|error| Error::Refused(error.to_string()))
        }
    }
}

/// An answer that says no more than that it is done.
pub fn done(reply: done_reply::Reader<'_>) -> Result<(), Error> {
    match reply.which().map_err(|error| offline(error.into()))? {
        done_reply::Refused(refusal) => Err(refused(refusal)),
        done_reply::Done(()) => Ok(()),
    }
}
