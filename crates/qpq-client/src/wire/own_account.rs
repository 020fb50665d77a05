//! What a device may do with its own account, and how one without any comes back.

use std::cell::Cell;

use qpq_core::account::{LoggingIn, Registering};
use qpq_core::store::rows::AccountRow;
use qpq_io::rpc::connect::ClientConnection;
use qpq_proto::account::UserName;
use qpq_proto::generated::account_capnp::password_reply;
use qpq_proto::generated::gateway_capnp::recover_reply;
use qpq_proto::{limits, read};
use qpq_trust::{proof, recovery};

use super::authenticate::{refused, session};
use super::link::done;
use super::{Greeted, Session, offline};
use crate::Error;

/// Proves the old password and registers the new one. `unanswered` is set while the server may have taken it without our
/// knowing.
///
/// # Errors
/// [`Error::WrongCredentials`], refused, or offline.
pub async fn change_password(
    session: &Session,
    name: &UserName,
    old: &[u8],
    new: &[u8],
    unanswered: &Cell<bool>,
) -> Result<(), Error> {
    let (login, first) = LoggingIn::start(old).map_err(|_| Error::Internal("OPAQUE".into()))?;
    let (registration, second) = Registering::start(new).map_err(|_| Error::Internal("OPAQUE".into()))?;
    let mut request = session.account.change_password_request();
    request.get().set_login(&first);
    request.get().set_registration(&second);
    let response = request.send().promise.await.map_err(offline)?;
    let reply = response.get().and_then(|reader| reader.get_reply()).map_err(offline)?;
    let ok = match reply.which().map_err(|error| offline(error.into()))? {
        password_reply::Refused(refusal) => return Err(refused(refusal)),
        password_reply::Ok(ok) => ok,
    };
    let answer = ok.get_login().map_err(offline)?;
    let first = login.finish(name, old, answer).map_err(|_| Error::WrongCredentials)?;
    let answer = ok.get_registration().map_err(offline)?;
    let second = registration.finish(name, new, answer).map_err(|error| Error::Refused(error.to_string()))?;
    let mut request = ok.get_next().map_err(offline)?.finish_request();
    request.get().set_login(&first);
    request.get().set_registration(&second);
    unanswered.set(true);
    let response = request.send().promise.await.map_err(offline)?;
    let outcome = done(response.get().and_then(|reader| reader.get_reply()).map_err(offline)?);
    unanswered.set(matches!(outcome, Err(Error::Offline(_))));
    outcome
}

/// Leaves at the server what the recovery phrase brings back; nothing: the phrase is good for nothing any more.
///
/// # Errors
/// Refused, or offline.
pub async fn set_recovery(session: &Session, recovery: Option<(&[u8; 32], &[u8])>) -> Result<(), Error> {
    let mut request = session.account.set_recovery_request();
    if let Some((key, record)) = recovery {
        request.get().set_key(key);
        request.get().set_record(record);
    }
    let response = request.send().promise.await.map_err(offline)?;
    done(response.get().and_then(|reader| reader.get_reply()).map_err(offline)?)
}

/// Deletes the account.
///
/// # Errors
/// Refused, or offline.
pub async fn delete(session: &Session) -> Result<(), Error> {
    let response = session.account.delete_request().send().promise.await.map_err(offline)?;
    done(response.get().and_then(|reader| reader.get_reply()).map_err(offline)?)
}

/// What the server keeps for the owner of the phrase.
pub struct Kept {
    pub record: Vec<u8>,
    pub manifest: Vec<u8>,
    next: qpq_proto::generated::gateway_capnp::recovery::Client,
    registration: Registering,
    answer: Vec<u8>,
}

/// Proves the recovery phrase.
///
/// # Errors
/// [`Error::WrongCredentials`], refused, or offline.
pub async fn recover(
    connection: &ClientConnection,
    greeted: &Greeted,
    name: &UserName,
    proof_seed: &[u8; 32],
    password: &[u8],
) -> Result<Kept, Error> {
    let (registration, message) = Registering::start(password).map_err(|_| Error::Internal("OPAQUE".into()))?;
    let mut request = greeted.gateway.recover_request();
    request.get().set_name(name.as_str());
    request.get().set_proof(&recovery::sign(proof_seed, &connection.exporter()));
    request.get().set_opaque(&message);
    let response = request.send().promise.await.map_err(offline)?;
    let reply = response.get().and_then(|reader| reader.get_reply()).map_err(offline)?;
    let ok = match reply.which().map_err(|error| offline(error.into()))? {
        recover_reply::Refused(refusal) => return Err(refused(refusal)),
        recover_reply::Ok(ok) => ok,
    };
    let malformed = |error: qpq_proto::Malformed| Error::Refused(error.to_string());
    Ok(Kept {
        record: read::some_bytes("record", ok.get_record(), limits::RECOVERY_RECORD).map_err(malformed)?,
        manifest: read::some_bytes("manifest", ok.get_manifest(), limits::MANIFEST).map_err(malformed)?,
        answer: read::some_bytes("opaque", ok.get_opaque(), limits::OPAQUE).map_err(malformed)?,
        next: ok.get_next().map_err(offline)?,
        registration,
    })
}

/// Puts this device in the place of all others, and the password in the place of the old one.
///
/// # Errors
/// Refused, or offline: then it may have happened.
pub async fn finish_recovery(
    connection: &ClientConnection,
    kept: Kept,
    account: &AccountRow,
    password: &[u8],
) -> Result<Session, Error> {
    let upload = kept.registration.finish(&account.name, password, &kept.answer);
    let upload = upload.map_err(|error| Error::Refused(error.to_string()))?;
    let mut request = kept.next.finish_request();
    request.get().set_opaque(&upload);
    request.get().set_manifest(&account.manifest);
    request.get().set_device(&account.device.0);
    request.get().set_proof(&proof::sign(&account.device_key, &connection.exporter()));
    let response = request.send().promise.await.map_err(offline)?;
    session(response.get().and_then(|reader| reader.get_reply()).map_err(offline)?)
}
