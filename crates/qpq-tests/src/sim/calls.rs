//! The server's side of a connection: what the RPC layer does with what comes in, without the wire.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use qpq_core::request::{Reply, Request};
use qpq_core::store::rows::AccountRow;
use qpq_proto::code::Refusal;
use qpq_proto::stream::Entry;
use qpq_server::service::auth::DeviceProof;
use qpq_server::service::devices::Updated;
use qpq_server::service::stream::Delivery;
use qpq_server::service::{Caller, DeviceStream, Service};
use serde_bytes::ByteBuf;

use super::network::{Down, LinkId, Network};
use super::template::{EXPORTER, prove};

/// Connections that have authenticated.
pub type Sessions = Rc<RefCell<BTreeMap<LinkId, Session>>>;

/// What a connection can ask for.
#[derive(Clone)]
pub struct Session {
    pub caller: Caller,
    pub stream: DeviceStream,
}

/// One connection from its first message on: authenticates, and then delivers until the stream ends.
pub async fn serve(
    link: LinkId,
    account: AccountRow,
    service: Arc<Service>,
    sessions: Sessions,
    network: Rc<RefCell<Network>>,
) {
    // Why does not matter to the device: it connects again.
    let _ended = deliver(link, &account, &service, &sessions, &network).await;
    sessions.borrow_mut().remove(&link);
    network.borrow_mut().send_down(link, Down::Close);
    network.borrow_mut().closed_at_server(link);
}

async fn deliver(
    link: LinkId,
    account: &AccountRow,
    service: &Arc<Service>,
    sessions: &Sessions,
    network: &Rc<RefCell<Network>>,
) -> Result<(), Refusal> {
    let signature = prove(account);
    let proof = DeviceProof { device: account.device, exporter: &EXPORTER, proof: &signature };
    let as_of = service.as_of();
    let caller = service.resume(proof).await?;
    let _session = service.begin_session(&caller, as_of).await?;
    let (stream, mut pump) = service.open_stream(&caller);
    sessions.borrow_mut().insert(link, Session { caller, stream });
    let say = |what| network.borrow_mut().send_down(link, what);
    say(Down::Welcome { hello: service.hello() });
    loop {
        match pump.next().await? {
            Delivery::Entries { entries, caught_up } => {
                say(Down::Push(entries.iter().map(|entry| Entry::clone(entry)).collect()));
                if let Some(subscriptions) = caught_up {
                    say(Down::CaughtUp(subscriptions));
                }
            }
            Delivery::CaughtUp(subscriptions) => say(Down::CaughtUp(subscriptions)),
            Delivery::KeyPackagesLow(left) => say(Down::KeyPackagesLow(left)),
            // Nothing is done with them that could go wrong.
            Delivery::Whisper(_) => {}
            Delivery::End(_) => return Ok(()),
        }
    }
}

/// One request as one call.
pub async fn call(service: &Service, caller: &Caller, request: Request) -> Result<Reply, Refusal> {
    match request {
        Request::ByName(name) => service.by_name(caller, name).await.map(Reply::Account),
        Request::ByIdentity(identity) => service.by_identity(caller, identity).await.map(Reply::Account),
        Request::PublishKeys { one_time, last_resort } => {
            service.publish(caller, bytes(one_time), bytes(last_resort)).await.map(Reply::Stock)
        }
        Request::Claim { identity, suite } => service.claim(caller, identity, suite).await.map(Reply::Packages),
        Request::Create(new) => Box::pin(service.create_group(caller, new)).await.map(Reply::Created),
        Request::Commit { group, commit } => {
            Box::pin(service.commit(caller, group, commit)).await.map(Reply::Committed)
        }
        Request::Post { group, post } => service.post(caller, group, post).await.map(Reply::Posted),
        Request::Leave { group, epoch, proposal } => {
            Box::pin(service.leave(caller, group, epoch, proposal)).await.map(Reply::Left)
        }
        Request::RejoinInfo(group) => Box::pin(service.rejoin_info(caller, group)).await.map(Reply::RejoinInfo),
        Request::Memberships => service.memberships(caller).await.map(Reply::Memberships),
        Request::UpdateManifest(manifest) => {
            let updated = service.update_manifest(caller, manifest.into_vec()).await?;
            Ok(Reply::ManifestUpdated { is_superseded: updated == Updated::Superseded })
        }
        Request::Tree { group, epoch } => {
            Box::pin(service.tree(caller, group, epoch)).await.map(|tree| Reply::Tree(tree.to_vec()))
        }
    }
}

fn bytes(list: Vec<ByteBuf>) -> Vec<Vec<u8>> {
    list.into_iter().map(ByteBuf::into_vec).collect()
}
