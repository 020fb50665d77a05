//! One request of the engine as one call.

use futures::future::LocalBoxFuture;
use qpq_core::request::{Reply, Request};
use qpq_proto::Malformed;
use qpq_proto::account::Account;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::generated::account_capnp::update_reply;
use qpq_proto::generated::groups_capnp::{
    commit_reply, create_reply, memberships_reply, post_reply, rejoin_reply, tree_reply,
};
use qpq_proto::generated::ids_capnp::refusal;
use qpq_proto::generated::keys_capnp::{account_reply, claim_reply, stock_reply};
use qpq_proto::groups::{CommitOutcome, CreateOutcome, Head, PostOutcome, RejoinInfo, Stay};
use qpq_proto::ids::{GroupId, Seq};
use qpq_proto::{limits, read};

use super::{Session, failed};

/// What came of a call.
pub enum Called {
    Answered(Result<Reply, Refusal>),
    /// The connection is gone; the request goes out again with the next one.
    Lost,
}

/// Sends the call before it returns, so that calls leave in the order of their requests; the future is the answer.
pub fn call(session: &Session, request: &Request) -> LocalBoxFuture<'static, Called> {
    let kept = request.comes_back().and_then(|(group, payload)| session.sent.keep(group, payload));
    let answer = send(session, request, kept.is_some());
    let Some(hash) = kept else { return answer };
    let sent = session.sent.clone();
    Box::pin(async move {
        let called = answer.await;
        if let Called::Answered(result) = &called {
            sent.answered(hash, result.as_ref().ok().and_then(Reply::accepted));
        }
        called
    })
}

/// `keeps`: what comes back of it may come back as an echo.
fn send(session: &Session, request: &Request, keeps: bool) -> LocalBoxFuture<'static, Called> {
    macro_rules! answer {
        ($call:expr, |$reader:ident| $read:expr) => {{
            let sent = $call.send();
            Box::pin(async move {
                match sent.promise.await {
                    Ok(response) => Called::Answered(match response.get().and_then(|reader| reader.get_reply()) {
                        Ok($reader) => $read.unwrap_or_else(|error: Malformed| Err(bad_answer(&error))),
                        Err(error) => Err(bad_answer(&error.into())),
                    }),
                    Err(error) if error.kind == capnp::ErrorKind::Disconnected => Called::Lost,
                    Err(error) => Called::Answered(Err(failed(&error))),
                }
            })
        }};
    }
    match request {
        Request::ByName(name) => {
            let mut call = session.directory.by_name_request();
            call.get().set_name(name.as_str());
            answer!(call, |reply| account(reply))
        }
        Request::ByIdentity(identity) => {
            let mut call = session.directory.by_identity_request();
            call.get().set_identity(&identity.0);
            answer!(call, |reply| account(reply))
        }
        Request::PublishKeys { one_time, last_resort } => {
            let mut call = session.key_packages.publish_request();
            let mut list = call.get().init_one_time(one_time.len() as u32);
            one_time.iter().enumerate().for_each(|(index, package)| list.set(index as u32, package));
            let mut list = call.get().init_last_resort(last_resort.len() as u32);
            last_resort.iter().enumerate().for_each(|(index, package)| list.set(index as u32, package));
            answer!(call, |reply| stock(reply))
        }
        Request::Claim { identity, suite } => {
            let mut call = session.key_packages.claim_request();
            call.get().set_identity(&identity.0);
            call.get().set_suite(*suite);
            answer!(call, |reply| packages(reply))
        }
        Request::Create(new) => {
            let mut call = session.groups.create_request();
            new.write(call.get().init_group());
            call.get().set_keeps(keeps);
            answer!(call, |reply| created(reply))
        }
        Request::Commit { group, commit } => {
            let mut call = session.groups.commit_request();
            call.get().set_group(&group.0);
            commit.write(call.get().init_commit());
            call.get().set_keeps(keeps);
            answer!(call, |reply| committed(reply))
        }
        Request::Post { group, post } => {
            let mut call = session.groups.post_request();
            call.get().set_group(&group.0);
            post.write(call.get().init_post());
            call.get().set_keeps(keeps);
            answer!(call, |reply| posted(reply).map(|outcome| outcome.map(Reply::Posted)))
        }
        Request::Leave { group, epoch, proposal } => {
            let mut call = session.groups.leave_request();
            call.get().set_group(&group.0);
            call.get().set_epoch(epoch.0);
            call.get().set_proposal(proposal);
            call.get().set_keeps(keeps);
            answer!(call, |reply| posted(reply).map(|outcome| outcome.map(Reply::Left)))
        }
        Request::RejoinInfo(group) => {
            let mut call = session.groups.rejoin_request();
            call.get().set_group(&group.0);
            answer!(call, |reply| rejoin_info(reply))
        }
        Request::Memberships => {
            let call = session.groups.memberships_request();
            answer!(call, |reply| memberships(reply))
        }
        Request::UpdateManifest(manifest) => {
            let mut call = session.account.update_manifest_request();
            call.get().set_manifest(manifest);
            answer!(call, |reply| manifest_updated(reply))
        }
        Request::Tree { group, epoch } => {
            let mut call = session.groups.tree_request();
            call.get().set_group(&group.0);
            call.get().set_epoch(epoch.0);
            answer!(call, |reply| tree(reply))
        }
    }
}

type Answer<T> = Result<Result<T, Refusal>, Malformed>;

fn account(reply: account_reply::Reader<'_>) -> Answer<Reply> {
    Ok(match reply.which()? {
        account_reply::Refused(reader) => Err(refused(reader)?),
        account_reply::Account(account) => Ok(Reply::Account(Account::read(account?)?)),
    })
}

fn stock(reply: stock_reply::Reader<'_>) -> Answer<Reply> {
    Ok(match reply.which()? {
        stock_reply::Refused(reader) => Err(refused(reader)?),
        stock_reply::Stock(stock) => Ok(Reply::Stock(stock)),
    })
}

fn packages(reply: claim_reply::Reader<'_>) -> Answer<Reply> {
    Ok(match reply.which()? {
        claim_reply::Refused(reader) => Err(refused(reader)?),
        claim_reply::Packages(list) => {
            let list = list?;
            read::count("claim.packages", list.len(), limits::DEVICES)?;
            let packages = list
                .iter()
                .map(|package| read::some_bytes("claim.packages", package, limits::KEY_PACKAGE))
                .collect::<Result<_, _>>()?;
            Ok(Reply::Packages(packages))
        }
    })
}

fn created(reply: create_reply::Reader<'_>) -> Answer<Reply> {
    Ok(match reply.which()? {
        create_reply::Refused(reader) => Err(refused(reader)?),
        create_reply::Created(first) => Ok(Reply::Created(CreateOutcome::Created { first: Seq(first) })),
        create_reply::Exists(group) => {
            Ok(Reply::Created(CreateOutcome::Exists(GroupId(read::array("create.exists", group)?))))
        }
    })
}

fn committed(reply: commit_reply::Reader<'_>) -> Answer<Reply> {
    Ok(match reply.which()? {
        commit_reply::Refused(reader) => Err(refused(reader)?),
        commit_reply::Accepted(seq) => Ok(Reply::Committed(CommitOutcome::Accepted(Seq(seq)))),
        commit_reply::Superseded(head) => Ok(Reply::Committed(CommitOutcome::Superseded(Head::read(head?)))),
    })
}

fn posted(reply: post_reply::Reader<'_>) -> Answer<PostOutcome> {
    Ok(match reply.which()? {
        post_reply::Refused(reader) => Err(refused(reader)?),
        post_reply::Accepted(seq) => Ok(PostOutcome::Accepted(Seq(seq))),
        post_reply::StaleEpoch(head) => Ok(PostOutcome::StaleEpoch(Head::read(head?))),
    })
}

fn tree(reply: tree_reply::Reader<'_>) -> Answer<Reply> {
    Ok(match reply.which()? {
        tree_reply::Refused(reader) => Err(refused(reader)?),
        tree_reply::RatchetTree(tree) => {
            Ok(Reply::Tree(read::some_bytes("tree.ratchetTree", tree, limits::HANDSHAKE)?))
        }
    })
}

fn rejoin_info(reply: rejoin_reply::Reader<'_>) -> Answer<Reply> {
    Ok(match reply.which()? {
        rejoin_reply::Refused(reader) => Err(refused(reader)?),
        rejoin_reply::Info(info) => Ok(Reply::RejoinInfo(RejoinInfo::read(info?)?)),
    })
}

fn memberships(reply: memberships_reply::Reader<'_>) -> Answer<Reply> {
    let (acknowledged, inside) = (reply.get_acknowledged()?, reply.get_inside()?);
    Ok(match reply.which()? {
        memberships_reply::Refused(reader) => Err(refused(reader)?),
        memberships_reply::Groups(list) => Ok(Reply::Memberships(Stay::read_list(list?, acknowledged, inside)?)),
    })
}

fn manifest_updated(reply: update_reply::Reader<'_>) -> Answer<Reply> {
    Ok(match reply.which()? {
        update_reply::Refused(reader) => Err(refused(reader)?),
        update_reply::Accepted(()) => Ok(Reply::ManifestUpdated { is_superseded: false }),
        update_reply::Superseded(()) => Ok(Reply::ManifestUpdated { is_superseded: true }),
    })
}

pub(super) fn refused(reader: capnp::Result<refusal::Reader<'_>>) -> Result<Refusal, Malformed> {
    Refusal::read(reader?)
}

/// An answer that no correct server gives; asking again may reach a better one.
pub(super) fn bad_answer(error: &Malformed) -> Refusal {
    Refusal::new(Code::Internal, format!("the server's answer makes no sense: {error}"))
}
