//! Publishing and claiming key packages.

use std::rc::Rc;

use qpq_proto::Malformed;
use qpq_proto::generated::keys_capnp::key_packages;
use qpq_proto::ids::IdentityId;
use qpq_proto::{limits, read};

use super::call::{call, readable};
use super::session::Right;

pub struct KeyPackages(pub Rc<Right>);

impl key_packages::Server for KeyPackages {
    async fn publish(
        self: Rc<Self>,
        params: key_packages::PublishParams,
        mut results: key_packages::PublishResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "keyPackages.publish", async {
            let params = readable(params.get())?;
            let one_time = packages("oneTime", readable(params.get_one_time())?)?;
            let last_resort = packages("lastResort", readable(params.get_last_resort())?)?;
            connection.service().publish(caller, one_time, last_resort).await
        })
        .await;
        let mut reply = results.get().init_reply();
        match outcome {
            Ok(stock) => reply.set_stock(stock),
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }

    async fn claim(
        self: Rc<Self>,
        params: key_packages::ClaimParams,
        mut results: key_packages::ClaimResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "keyPackages.claim", async {
            let params = readable(params.get())?;
            let identity = IdentityId(read::array("identity", params.get_identity())?);
            connection.service().claim(caller, identity, params.get_suite()).await
        })
        .await;
        let reply = results.get().init_reply();
        match outcome {
            Ok(packages) => {
                let mut list = reply.init_packages(packages.len() as u32);
                for (index, package) in (0..).zip(&packages) {
                    list.set(index, package);
                }
            }
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }
}

fn packages(field: &'static str, list: capnp::data_list::Reader<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    read::count(field, list.len(), limits::KEY_PACKAGES)?;
    list.iter().map(|package| read::some_bytes(field, package, limits::KEY_PACKAGE)).collect()
}
