//! Groups: create, commit, post, leave, tree.

use std::rc::Rc;

use qpq_proto::code::Refusal;
use qpq_proto::generated::groups_capnp::{groups, post_reply};
use qpq_proto::groups::{Commit, CommitOutcome, CreateOutcome, NewGroup, Post, PostOutcome};
use qpq_proto::ids::{Epoch, GroupId};
use qpq_proto::{limits, read};

use super::call::{call, readable};
use super::echoes::settle;
use super::session::Right;

pub struct Groups(pub Rc<Right>);

impl groups::Server for Groups {
    async fn create(
        self: Rc<Self>,
        params: groups::CreateParams,
        mut results: groups::CreateResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "groups.create", async {
            let params = readable(params.get())?;
            let new = NewGroup::read(readable(params.get_group())?)?;
            let expected =
                new.first.as_ref().filter(|_| params.get_keeps()).map(|first| connection.expect_echo(&first.commit));
            let outcome = Box::pin(connection.service().create_group(caller, new)).await?;
            settle(expected, matches!(outcome, CreateOutcome::Created { .. }));
            Ok(outcome)
        })
        .await;
        let mut reply = results.get().init_reply();
        match outcome {
            Ok(CreateOutcome::Created { first }) => reply.set_created(first.0),
            Ok(CreateOutcome::Exists(group)) => reply.set_exists(&group.0),
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }

    async fn commit(
        self: Rc<Self>,
        params: groups::CommitParams,
        mut results: groups::CommitResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "groups.commit", async {
            let params = readable(params.get())?;
            let group = GroupId(read::array("group", params.get_group())?);
            let new = Commit::read(readable(params.get_commit())?)?;
            let expected = params.get_keeps().then(|| connection.expect_echo(&new.commit));
            let outcome = Box::pin(connection.service().commit(caller, group, new)).await?;
            settle(expected, matches!(outcome, CommitOutcome::Accepted(_)));
            Ok(outcome)
        })
        .await;
        let mut reply = results.get().init_reply();
        match outcome {
            Ok(CommitOutcome::Accepted(seq)) => reply.set_accepted(seq.0),
            Ok(CommitOutcome::Superseded(head)) => head.write(reply.init_superseded()),
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }

    async fn post(
        self: Rc<Self>,
        params: groups::PostParams,
        mut results: groups::PostResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "groups.post", async {
            let params = readable(params.get())?;
            let group = GroupId(read::array("group", params.get_group())?);
            let post = Post::read(readable(params.get_post())?)?;
            let expected = params.get_keeps().then(|| connection.expect_echo(&post.payload));
            let outcome = connection.service().post(caller, group, post).await?;
            settle(expected, matches!(outcome, PostOutcome::Accepted(_)));
            Ok(outcome)
        })
        .await;
        write_post(outcome, results.get().init_reply());
        Ok(())
    }

    async fn whisper(
        self: Rc<Self>,
        params: groups::WhisperParams,
        _results: groups::WhisperResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        // Nobody waits for the answer: what is refused is lost, as it may be anyway.
        let _ = call(connection, "groups.whisper", async {
            let params = readable(params.get())?;
            let group = GroupId(read::array("group", params.get_group())?);
            let payload = read::some_bytes("whisper", params.get_payload(), limits::WHISPER)?;
            connection.service().whisper(caller, group, &payload)
        })
        .await;
        Ok(())
    }

    async fn leave(
        self: Rc<Self>,
        params: groups::LeaveParams,
        mut results: groups::LeaveResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "groups.leave", async {
            let params = readable(params.get())?;
            let group = GroupId(read::array("group", params.get_group())?);
            let proposal = read::some_bytes("proposal", params.get_proposal(), limits::POST)?;
            let expected = params.get_keeps().then(|| connection.expect_echo(&proposal));
            let leave = connection.service().leave(caller, group, Epoch(params.get_epoch()), proposal);
            let outcome = Box::pin(leave).await?;
            settle(expected, matches!(outcome, PostOutcome::Accepted(_)));
            Ok(outcome)
        })
        .await;
        write_post(outcome, results.get().init_reply());
        Ok(())
    }

    async fn tree(
        self: Rc<Self>,
        params: groups::TreeParams,
        mut results: groups::TreeResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "groups.tree", async {
            let params = readable(params.get())?;
            let group = GroupId(read::array("group", params.get_group())?);
            Box::pin(connection.service().tree(caller, group, Epoch(params.get_epoch()))).await
        })
        .await;
        let mut reply = results.get().init_reply();
        match outcome {
            Ok(tree) => reply.set_ratchet_tree(&tree),
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }

    async fn rejoin(
        self: Rc<Self>,
        params: groups::RejoinParams,
        mut results: groups::RejoinResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "groups.rejoin", async {
            let group = GroupId(read::array("group", readable(params.get())?.get_group())?);
            Box::pin(connection.service().rejoin_info(caller, group)).await
        })
        .await;
        let reply = results.get().init_reply();
        match outcome {
            Ok(info) => info.write(reply.init_info()),
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }

    async fn memberships(
        self: Rc<Self>,
        _: groups::MembershipsParams,
        mut results: groups::MembershipsResults,
    ) -> Result<(), capnp::Error> {
        let Right { connection, caller } = &*self.0;
        let outcome = call(connection, "groups.memberships", connection.service().memberships(caller)).await;
        let mut reply = results.get().init_reply();
        match outcome {
            Ok(stays) => {
                let mut groups = reply.reborrow().init_groups(stays.len() as u32);
                (0..).zip(&stays).for_each(|(index, stay)| groups.set(index, &stay.group.0));
                let mut acknowledged = reply.reborrow().init_acknowledged(stays.len() as u32);
                (0..).zip(&stays).for_each(|(index, stay)| acknowledged.set(index, stay.acknowledged.0));
                let mut inside = reply.init_inside(stays.len() as u32);
                (0..).zip(&stays).for_each(|(index, stay)| inside.set(index, stay.inside));
            }
            Err(refusal) => refusal.write(reply.init_refused()),
        }
        Ok(())
    }
}

fn write_post(outcome: Result<PostOutcome, Refusal>, mut reply: post_reply::Builder<'_>) {
    match outcome {
        Ok(PostOutcome::Accepted(seq)) => reply.set_accepted(seq.0),
        Ok(PostOutcome::StaleEpoch(head)) => head.write(reply.init_stale_epoch()),
        Err(refusal) => refusal.write(reply.init_refused()),
    }
}
