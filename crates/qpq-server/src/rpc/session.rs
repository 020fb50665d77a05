//! What a device gets when it has proved itself: one capability per right.

use std::rc::Rc;

use qpq_proto::code::Refusal;
use qpq_proto::generated::gateway_capnp::session_reply;

use super::blobs::Blobs;
use super::connection::Connection;
use super::delivery::Delivery;
use super::directory::Directory;
use super::groups::Groups;
use super::key_packages::KeyPackages;
use super::own_account::OwnAccount;
use crate::service::Caller;

/// The right to act for one device over one connection.
pub struct Right {
    pub connection: Rc<Connection>,
    pub caller: Caller,
}

/// Writes the session of a caller whom the connection has taken on, or why there is none.
pub fn answer(connection: &Rc<Connection>, outcome: Result<Caller, Refusal>, reply: session_reply::Builder<'_>) {
    let caller = match outcome {
        Ok(caller) => caller,
        Err(refusal) => {
            connection.attempt_failed();
            return refusal.write(reply.init_refused());
        }
    };
    let mut session = reply.init_session();
    session.set_name(caller.name.as_str());
    let right = Rc::new(Right { connection: connection.clone(), caller });
    session.set_directory(capnp_rpc::new_client(Directory(right.clone())));
    session.set_key_packages(capnp_rpc::new_client(KeyPackages(right.clone())));
    session.set_groups(capnp_rpc::new_client(Groups(right.clone())));
    session.set_blobs(capnp_rpc::new_client(Blobs(right.clone())));
    session.set_delivery(capnp_rpc::new_client(Delivery(right.clone())));
    session.set_account(capnp_rpc::new_client(OwnAccount(right)));
}
