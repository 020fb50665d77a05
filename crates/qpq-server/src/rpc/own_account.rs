//! The caller's own account: devices, password, recovery, the end.

use std::cell::RefCell;
use std::rc::Rc;

use qpq_proto::code::{Code, Refusal};
use qpq_proto::generated::account_capnp::{done_reply, own_account, password_change};
use qpq_proto::{limits, read};

use super::call::{call, readable};
use super::session::Right;
use crate::service::devices::Updated;
use crate::service::own_account::PasswordChangeInProgress;

pub struct OwnAccount(pub Rc<Right>);

impl own_account::Server for OwnAccount {
    async fn update_manifest(
        self: Rc<Self>,
        params: own_account::UpdateManifestParams,
        mut results: own_account::UpdateManifestResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "account.updateManifest", async {
            let manifest = read::some_bytes("manifest", readable(params.get())?.get_manifest(), limits::MANIFEST)?;
            connection.service().update_manifest(caller, manifest).await
        })
        .await;
        let mut reply = results.get().init_reply();
        match outcome {
            Ok(Updated::Accepted) => reply.set_accepted(()),
            Ok(Updated::Superseded) => reply.set_superseded(()),
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }

    async fn change_password(
        self: Rc<Self>,
        params: own_account::ChangePasswordParams,
        mut results: own_account::ChangePasswordResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "account.changePassword", async {
            let params = readable(params.get())?;
            let login = read::some_bytes("login", params.get_login(), limits::OPAQUE)?;
            let registration = read::some_bytes("registration", params.get_registration(), limits::OPAQUE)?;
            connection.service().change_password(caller, &login, &registration).await
        })
        .await;
        let reply = results.get().init_reply();
        match outcome {
            Ok(started) => {
                let mut ok = reply.init_ok();
                ok.set_login(&started.login);
                ok.set_registration(&started.registration);
                let next = PasswordChange { right: self.0.clone(), started: RefCell::new(Some(started.next)) };
                ok.set_next(capnp_rpc::new_client(next));
            }
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }

    async fn set_recovery(
        self: Rc<Self>,
        params: own_account::SetRecoveryParams,
        mut results: own_account::SetRecoveryResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "account.setRecovery", async {
            let params = readable(params.get())?;
            let key = read::optional_array("key", params.get_key())?;
            let record = read::bytes("record", params.get_record(), limits::RECOVERY_RECORD)?;
            connection.service().set_recovery(caller, key, record).await
        })
        .await;
        write(outcome, results.get().init_reply());
        Ok(())
    }

    async fn delete(
        self: Rc<Self>,
        _: own_account::DeleteParams,
        mut results: own_account::DeleteResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "account.delete", connection.service().delete_own_account(caller)).await;
        write(outcome, results.get().init_reply());
        Ok(())
    }
}

/// The second half of a change. The state between the two messages is this object.
struct PasswordChange {
    right: Rc<Right>,
    started: RefCell<Option<PasswordChangeInProgress>>,
}

impl password_change::Server for PasswordChange {
    async fn finish(
        self: Rc<Self>,
        params: password_change::FinishParams,
        mut results: password_change::FinishResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.right;
        let outcome = call(connection, "passwordChange.finish", async {
            let params = readable(params.get())?;
            let login = read::some_bytes("login", params.get_login(), limits::OPAQUE)?;
            let registration = read::some_bytes("registration", params.get_registration(), limits::OPAQUE)?;
            let started = self.started.take().ok_or_else(finished)?;
            connection.service().finish_password_change(caller, started, &login, &registration).await
        })
        .await;
        write(outcome, results.get().init_reply());
        Ok(())
    }
}

/// An answer that says no more than that it is done.
pub fn write(outcome: Result<(), Refusal>, mut reply: done_reply::Builder<'_>) {
    match outcome {
        Ok(()) => reply.set_done(()),
        Err(refusal) => refusal.write(reply.init_refused()),
    }
}

fn finished() -> Refusal {
    Refusal::new(Code::BadRequest, "this change was finished already: begin again")
}
