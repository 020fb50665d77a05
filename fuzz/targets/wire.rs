//! Every reader of a wire message, on messages of any shape: nothing that it takes may change when it is written again.
#![no_main]

use capnp::message::{ReaderOptions, TypedBuilder, TypedReader};
use capnp::serialize::OwnedSegments;
use capnp::traits::Owned;
use libfuzzer_sys::fuzz_target;
use qpq_proto::account::{Account, ServerHello, UserName};
use qpq_proto::code::Refusal;
use qpq_proto::generated::{gateway_capnp, groups_capnp, ids_capnp, keys_capnp, session_capnp, stream_capnp};
use qpq_proto::groups::{Commit, Head, NewGroup, Post, RejoinInfo, Stay};
use qpq_proto::ids::{DeviceId, GroupId, IdentityId};
use qpq_proto::stream::{Entry, LogId, Mark, Position};
use qpq_proto::{Malformed, limits, read};

fn message<T: Owned>(bytes: &[u8]) -> Option<TypedReader<OwnedSegments, T>> {
    let mut options = ReaderOptions::new();
    options.nesting_limit(32);
    options.traversal_limit_in_words(Some(limits::AUTHENTICATED_MESSAGE / 8));
    let mut rest = bytes;
    Some(capnp::serialize::read_message(&mut rest, options).ok()?.into_typed())
}

/// Reads, writes and reads again.
macro_rules! check {
    ($bytes:expr, $schema:ty, |$reader:ident| $read:expr, |$value:ident, $builder:ident| $write:expr) => {{
        let first = message::<$schema>($bytes).and_then(|message| {
            let $reader = message.get().ok()?;
            $read.ok()
        });
        if let Some($value) = first {
            let mut built = TypedBuilder::<$schema>::new_default();
            {
                #[allow(unused_mut)]
                let mut $builder = built.init_root();
                $write;
            }
            let $reader = built.get_root_as_reader().expect("own message");
            assert_eq!($read.expect("own message"), $value);
        }
    }};
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 21 {
        0 => check!(bytes, ids_capnp::refusal::Owned, |r| Refusal::read(r), |v, b| v.write(b)),
        1 => check!(bytes, gateway_capnp::server_hello::Owned, |r| ServerHello::read(r), |v, b| v.write(b)),
        2 => check!(bytes, keys_capnp::account::Owned, |r| Account::read(r), |v, b| v.write(b)),
        3 => check!(bytes, groups_capnp::commit::Owned, |r| Commit::read(r), |v, b| v.write(b)),
        4 => check!(bytes, groups_capnp::new_group::Owned, |r| NewGroup::read(r), |v, b| v.write(b)),
        5 => check!(bytes, groups_capnp::post::Owned, |r| Post::read(r), |v, b| v.write(b)),
        6 => check!(bytes, groups_capnp::head::Owned, |r| Ok::<_, ()>(Head::read(r)), |v, b| v.write(b)),
        7 => check!(bytes, stream_capnp::log_id::Owned, |r| LogId::read(r), |v, b| v.write(b)),
        8 => check!(bytes, stream_capnp::entry::Owned, |r| Entry::read(r), |v, b| v.write(b)),
        9 => check!(
            bytes,
            stream_capnp::event_sink::heartbeat_params::Owned,
            |r| r.get_heads().map_err(Malformed::from).and_then(Position::read_list),
            |v, b| Position::write_list(&v, b.init_heads(v.len() as u32))
        ),
        18 => check!(bytes, groups_capnp::rejoin_info::Owned, |r| RejoinInfo::read(r), |v, b| v.write(b)),
        kind => drop(parameters(kind, bytes)),
    }
});

/// Parameters and answers, field by field as the adapters read them.
fn parameters(kind: u8, bytes: &[u8]) -> Option<()> {
    match kind {
        10 => {
            let message = message::<gateway_capnp::gateway::register_params::Owned>(bytes)?;
            let params = message.get().ok()?;
            let _ = UserName::read(params.get_name());
            let _ = read::text("invite", params.get_invite(), limits::INVITE);
            let _ = read::some_bytes("opaque", params.get_opaque(), limits::OPAQUE);
        }
        11 => {
            let message = message::<gateway_capnp::registration::finish_params::Owned>(bytes)?;
            let params = message.get().ok()?;
            let _ = read::some_bytes("manifest", params.get_manifest(), limits::MANIFEST);
            let _ = read::array::<16>("device", params.get_device()).map(DeviceId);
            let _ = read::array::<64>("proof", params.get_proof());
        }
        12 => {
            let message = message::<keys_capnp::key_packages::publish_params::Owned>(bytes)?;
            let list = message.get().ok()?.get_one_time().ok()?;
            read::count("oneTime", list.len(), limits::KEY_PACKAGES).ok()?;
            for package in list.iter() {
                let _ = read::some_bytes("oneTime", package, limits::KEY_PACKAGE);
            }
        }
        13 => {
            let message = message::<keys_capnp::claim_reply::Owned>(bytes)?;
            if let keys_capnp::claim_reply::Packages(Ok(list)) = message.get().ok()?.which().ok()? {
                read::count("packages", list.len(), limits::DEVICES).ok()?;
                list.iter().for_each(|package| drop(read::some_bytes("packages", package, limits::KEY_PACKAGE)));
            }
        }
        14 => {
            let message = message::<groups_capnp::create_reply::Owned>(bytes)?;
            if let groups_capnp::create_reply::Exists(id) = message.get().ok()?.which().ok()? {
                let _ = read::array::<16>("exists", id).map(GroupId);
            }
        }
        15 => {
            let message = message::<keys_capnp::directory::by_identity_params::Owned>(bytes)?;
            let _ = read::array::<32>("identity", message.get().ok()?.get_identity()).map(IdentityId);
        }
        16 => {
            let message = message::<stream_capnp::event_sink::push_params::Owned>(bytes)?;
            let list = message.get().ok()?.get_entries().ok()?;
            read::count("push.entries", list.len(), limits::PUSH_ENTRIES).ok()?;
            list.iter().for_each(|entry| drop(Entry::read(entry)));
        }
        19 => {
            let message = message::<groups_capnp::memberships_reply::Owned>(bytes)?;
            let reply = message.get().ok()?;
            if let groups_capnp::memberships_reply::Groups(Ok(groups)) = reply.which().ok()? {
                let (acknowledged, inside) = (reply.get_acknowledged().ok()?, reply.get_inside().ok()?);
                let count = groups.len();
                if let Ok(stays) = Stay::read_list(groups, acknowledged, inside) {
                    assert_eq!(stays.len(), count as usize);
                }
            }
        }
        20 => {
            let message = message::<stream_capnp::stream::subscribe_params::Owned>(bytes)?;
            let _ = Mark::read_list(message.get().ok()?.get_known().ok()?);
        }
        _ => {
            let message = message::<session_capnp::session::Owned>(bytes)?;
            let _ = UserName::read(message.get().ok()?.get_name());
        }
    }
    Some(())
}
