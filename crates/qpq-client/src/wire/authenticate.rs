//! Registration, login, and resuming with the device's key.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use qpq_core::account::{LoggingIn, Registering};
use qpq_core::store::rows::AccountRow;
use qpq_io::rpc::connect::ClientConnection;
use qpq_proto::account::UserName;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::generated::gateway_capnp::{login_reply, register_reply, session_reply};
use qpq_proto::ids::DeviceId;
use qpq_trust::proof;
use zeroize::Zeroizing;

use super::{Greeted, Opened, Session, offline};
use crate::Error;

/// How a device proves who it is, with the password.
pub enum Authentication<'a> {
    /// A new account.
    Register {
        password: &'a [u8],
        invite: &'a str,
        /// Set while the server may have accepted without our knowing, also when the attempt is given up.
        unanswered: &'a Cell<bool>,
    },
    /// With the password, and the device's proof.
    Login { password: &'a [u8] },
}

/// All that is needed to come back as a device; the rest of the account stays where it is.
pub struct DeviceKey {
    id: DeviceId,
    key: Zeroizing<[u8; 32]>,
    /// The incarnation of the server that knew this device last; 0 for none.
    incarnation: AtomicU64,
}

impl DeviceKey {
    /// The one of this account.
    pub fn of(account: &AccountRow) -> Self {
        Self { id: account.device, key: Zeroizing::new(account.device_key), incarnation: account.incarnation.into() }
    }

    /// What it means to be let in or not by a server of this incarnation.
    pub(super) fn recognize(&self, incarnation: u64, resumed: Result<Session, Error>) -> Result<Session, Error> {
        match resumed {
            Ok(session) => {
                self.incarnation.store(incarnation, Ordering::Relaxed);
                Ok(session)
            }
            // The very server that knew it; it was not restored from a backup either.
            Err(Error::DeviceUnknown)
                if incarnation != 0 && self.incarnation.load(Ordering::Relaxed) == incarnation =>
            {
                Err(Error::Unlinked)
            }
            Err(error) => Err(error),
        }
    }
}

/// Authenticates; the session lives as long as `greeted`.
///
/// # Errors
/// Refused, wrong credentials, or offline.
pub async fn authenticate(
    connection: &ClientConnection,
    greeted: &Greeted,
    account: &AccountRow,
    how: Authentication<'_>,
) -> Result<Session, Error> {
    let proof = proof::sign(&account.device_key, &connection.exporter());
    match how {
        Authentication::Register { password, invite, unanswered } => {
            register(greeted, account, &proof, password, invite, unanswered).await
        }
        Authentication::Login { password } => {
            login(greeted, &account.name, password, Some((&account.device.0, &proof))).await
        }
    }
}

/// Comes back with the device's proof alone; the session lives as long as `greeted`.
///
/// # Errors
/// [`Error::DeviceUnknown`], refused, or offline.
pub async fn resume(connection: &ClientConnection, greeted: &Greeted, device: &DeviceKey) -> Result<Session, Error> {
    device.recognize(greeted.hello.incarnation, prove(connection, greeted, device).await)
}

/// Gives the device's proof.
pub(super) async fn prove(
    connection: &ClientConnection,
    opened: &Opened,
    device: &DeviceKey,
) -> Result<Session, Error> {
    let mut request = opened.gateway.resume_request();
    request.get().set_device(&device.id.0);
    request.get().set_proof(&proof::sign(&device.key, &connection.exporter()));
    let response = request.send().promise.await.map_err(offline)?;
    session(response.get().and_then(|reader| reader.get_reply()).map_err(offline)?)
}

async fn register(
    greeted: &Greeted,
    account: &AccountRow,
    proof: &[u8; 64],
    password: &[u8],
    invite: &str,
    unanswered: &Cell<bool>,
) -> Result<Session, Error> {
    let (state, message) = Registering::start(password).map_err(|_| Error::Internal("OPAQUE".into()))?;
    let mut request = greeted.gateway.register_request();
    request.get().set_name(account.name.as_str());
    request.get().set_invite(invite);
    request.get().set_opaque(&message);
    let response = request.send().promise.await.map_err(offline)?;
    let reply = response.get().and_then(|reader| reader.get_reply()).map_err(offline)?;
    let ok = match reply.which().map_err(|error| offline(error.into()))? {
        register_reply::Refused(refusal) => return Err(refused(refusal)),
        register_reply::Ok(ok) => ok,
    };
    let answer = ok.get_opaque().map_err(offline)?;
    let record = state.finish(&account.name, password, answer).map_err(|error| Error::Refused(error.to_string()))?;
    let mut request = ok.get_next().map_err(offline)?.finish_request();
    request.get().set_opaque(&record);
    request.get().set_manifest(&account.manifest);
    request.get().set_device(&account.device.0);
    request.get().set_proof(proof);
    unanswered.set(true);
    let response = request.send().promise.await.map_err(offline)?;
    let outcome = session(response.get().and_then(|reader| reader.get_reply()).map_err(offline)?);
    // What counts as offline is no decision: a server that failed may have failed after it had stored the account.
    unanswered.set(matches!(outcome, Err(Error::Offline(_))));
    outcome
}

/// Logs in. Without a device it only finds out whether the password is right.
pub async fn login(
    greeted: &Greeted,
    name: &UserName,
    password: &[u8],
    device: Option<(&[u8; 16], &[u8; 64])>,
) -> Result<Session, Error> {
    let (state, message) = LoggingIn::start(password).map_err(|_| Error::Internal("OPAQUE".into()))?;
    let mut request = greeted.gateway.login_request();
    request.get().set_name(name.as_str());
    request.get().set_opaque(&message);
    let response = request.send().promise.await.map_err(offline)?;
    let reply = response.get().and_then(|reader| reader.get_reply()).map_err(offline)?;
    let ok = match reply.which().map_err(|error| offline(error.into()))? {
        login_reply::Refused(refusal) => return Err(refused(refusal)),
        login_reply::Ok(ok) => ok,
    };
    let answer = ok.get_opaque().map_err(offline)?;
    let finalization = state.finish(name, password, answer).map_err(|_| Error::WrongCredentials)?;
    let Some((device, proof)) = device else { return Err(not_linked(name)) };
    let mut request = ok.get_next().map_err(offline)?.finish_request();
    request.get().set_opaque(&finalization);
    request.get().set_device(device);
    request.get().set_proof(proof);
    let response = request.send().promise.await.map_err(offline)?;
    session(response.get().and_then(|reader| reader.get_reply()).map_err(offline)?)
}

/// The password is right, and this directory holds no keys.
pub fn not_linked(name: &UserName) -> Error {
    Error::Refused(format!(
        "the password is right, but the keys of @{name} are on another device: link this one with `qpq link`, or, when \
         all devices are lost, use `qpq recover {name}` with the 24 words; if the profile is on this machine, name its \
         directory with --home"
    ))
}

pub(super) fn session(reply: session_reply::Reader<'_>) -> Result<Session, Error> {
    match reply.which().map_err(|error| offline(error.into()))? {
        session_reply::Refused(refusal) => Err(refused(refusal)),
        session_reply::Session(session) => session.and_then(Session::read).map_err(offline),
    }
}

pub(super) fn refused(refusal: capnp::Result<qpq_proto::generated::ids_capnp::refusal::Reader<'_>>) -> Error {
    let refusal = refusal.map_err(qpq_proto::Malformed::from).and_then(Refusal::read);
    match refusal {
        Ok(refusal) if refusal.code == Code::WrongCredentials => Error::WrongCredentials,
        Ok(refusal) if refusal.code == Code::NameTaken => Error::NameTaken,
        Ok(refusal) if refusal.code == Code::DeviceUnknown => Error::DeviceUnknown,
        Ok(refusal) if refusal.code.is_retryable() && refusal.code != Code::RateLimited => {
            Error::Offline(refusal.detail)
        }
        Ok(refusal) => match refusal.retry_after {
            Some(after) => Error::Refused(format!("{} (try again in {} s)", refusal.detail, after.as_secs().max(1))),
            None => Error::Refused(refusal.detail),
        },
        Err(error) => Error::Refused(error.to_string()),
    }
}
