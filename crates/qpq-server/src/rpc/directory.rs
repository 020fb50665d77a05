//! The directory of accounts.

use std::rc::Rc;

use qpq_proto::account::{Account, UserName};
use qpq_proto::code::Refusal;
use qpq_proto::generated::keys_capnp::{account_reply, directory};
use qpq_proto::ids::IdentityId;
use qpq_proto::read;

use super::call::{call, readable};
use super::session::Right;

pub struct Directory(pub Rc<Right>);

impl directory::Server for Directory {
    async fn by_name(
        self: Rc<Self>,
        params: directory::ByNameParams,
        mut results: directory::ByNameResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "directory.byName", async {
            let name = UserName::read(readable(params.get())?.get_name())?;
            connection.service().by_name(caller, name).await
        })
        .await;
        write(outcome, results.get().init_reply());
        Ok(())
    }

    async fn by_identity(
        self: Rc<Self>,
        params: directory::ByIdentityParams,
        mut results: directory::ByIdentityResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "directory.byIdentity", async {
            let identity = IdentityId(read::array("identity", readable(params.get())?.get_identity())?);
            connection.service().by_identity(caller, identity).await
        })
        .await;
        write(outcome, results.get().init_reply());
        Ok(())
    }
}

fn write(outcome: Result<Account, Refusal>, reply: account_reply::Builder<'_>) {
    match outcome {
        Ok(account) => account.write(reply.init_account()),
        Err(refusal) => refusal.write(reply.init_refused()),
    }
}
