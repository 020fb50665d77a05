//! What one client can do to a server: the limits of connections, calls, messages and fields, readers that do not read, and
//! floods.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::time::Instant;

use qpq_proto::blobs::PART;
use qpq_proto::code::{Code, Refusal};
use qpq_proto::generated::blobs_capnp::{bytes_reply, received_reply};
use qpq_proto::generated::gateway_capnp::{login_reply, register_reply};
use qpq_proto::generated::groups_capnp::{commit_reply, groups};
use qpq_proto::generated::ids_capnp;
use qpq_proto::generated::keys_capnp::{account_reply, claim_reply, stock_reply};
use qpq_proto::ids::GroupId;
use qpq_proto::limits;

use super::*;
use crate::rpc::connection::{Connection, MOST_FAILED_ATTEMPTS};
use crate::service::tests::world::World;

fn refused(refusal: capnp::Result<ids_capnp::refusal::Reader<'_>>) -> Refusal {
    Refusal::read(refusal.unwrap()).unwrap()
}

#[tokio::test]
async fn calls_in_flight_are_limited_per_connection() {
    let world = World::with(|options| options.limits.calls_in_flight = 2).await;
    let here = IpAddr::from([127, 0, 0, 1]);
    let connection = || Rc::new(Connection::new(world.service.clone(), here, [0; 32], Rc::new(|| 0), Box::new(|| ())));
    let (one, other) = (connection(), connection());
    let (first, _second) = (one.begin_call().unwrap(), one.begin_call().unwrap());
    let refusal = one.begin_call().err().unwrap();
    assert_eq!(refusal.code, Code::Overloaded);
    assert!(refusal.detail.contains("calls_in_flight") && refusal.retry_after.is_some());
    assert!(other.begin_call().is_ok());
    drop(first);
    assert!(one.begin_call().is_ok());
}

#[test]
fn connections_are_limited_per_address_and_in_all() {
    with_limited_server(
        |limits| limits.connections_per_address = 2,
        async |server| {
            let (first, second) = (connect(server).await, connect(server).await);
            let hello = |client: &Client| client.gateway.hello_request().send().promise;
            soon(hello(&first)).await.unwrap();
            soon(hello(&second)).await.unwrap();
            let third = connect(server).await;
            let reason = soon(third.connection.closed()).await.to_string();
            assert!(reason.contains("too many connections from this address"), "{reason}");
            soon(hello(&second)).await.unwrap();
            soon(first.connection.close_and_wait("bye")).await;
            // The place is free as soon as the server has noticed.
            while soon(hello(&connect(server).await)).await.is_err() {}
        },
    );
    with_limited_server(
        |limits| limits.max_connections = 1,
        async |server| {
            let first = connect(server).await;
            soon(first.gateway.hello_request().send().promise).await.unwrap();
            let connector = Connector::new(ServerTrust::Pinned(server.fingerprint())).unwrap();
            let address: ServerAddress = server.address().to_string().parse().unwrap();
            assert!(soon(connector.connect(&address)).await.is_err());
            soon(first.gateway.hello_request().send().promise).await.unwrap();
        },
    );
}

#[test]
fn a_connection_has_so_many_attempts_to_authenticate() {
    with_server(async |server| {
        let guesser = connect(server).await;
        for attempt in 1..=MOST_FAILED_ATTEMPTS {
            let mut request = guesser.gateway.resume_request();
            request.get().set_device(&[1; 16]);
            request.get().set_proof(&[1; 64]);
            let Ok(response) = soon(request.send().promise).await else {
                assert_eq!(attempt, MOST_FAILED_ATTEMPTS, "ended too early");
                break;
            };
            let reply = response.get().unwrap().get_reply().unwrap();
            let session_reply::Refused(refusal) = reply.which().unwrap() else { panic!("a session") };
            assert_eq!(refused(refusal).code, Code::DeviceUnknown);
        }
        let reason = soon(guesser.connection.closed()).await.to_string();
        assert!(reason.contains("too many failed attempts"), "{reason}");
    });
}

#[test]
fn messages_are_small_before_authentication_and_large_after() {
    with_server(async |server| {
        let resume = |client: &Client, bytes: usize| {
            let mut request = client.gateway.resume_request();
            request.get().set_device(&[1; 16]);
            request.get().set_proof(&vec![0; bytes]);
            request.send().promise
        };
        // A few words of a message are the call's and not the field's.
        const FRAMING: usize = 256;
        let stranger = connect(server).await;
        let response = soon(resume(&stranger, limits::UNAUTHENTICATED_MESSAGE - FRAMING)).await.unwrap();
        let session_reply::Refused(refusal) = response.get().unwrap().get_reply().unwrap().which().unwrap() else {
            panic!("a session")
        };
        let refusal = refused(refusal);
        assert!(refusal.code == Code::BadRequest && refusal.detail.contains("proof"), "{refusal:?}");
        assert!(soon(resume(&stranger, limits::UNAUTHENTICATED_MESSAGE)).await.is_err());
        soon(stranger.connection.closed()).await;

        let alice = Device::new("alice");
        let client = connect(server).await;
        let groups = soon(client.register(&alice)).await.get_groups().unwrap();
        // All of it is traversed, framing and field.
        let refusal = soon(post(&groups, vec![0; limits::AUTHENTICATED_MESSAGE - 16 * FRAMING])).await;
        let refusal = refusal.unwrap().unwrap_err();
        assert!(refusal.code == Code::BadRequest && refusal.detail.contains(&limits::POST.to_string()), "{refusal:?}");
        assert!(soon(post(&groups, vec![0; limits::AUTHENTICATED_MESSAGE])).await.is_err());
        soon(client.connection.closed()).await;
    });
}

fn post(
    groups: &groups::Client,
    payload: Vec<u8>,
) -> impl Future<Output = Result<Result<u64, Refusal>, capnp::Error>> + use<> {
    let mut request = groups.post_request();
    request.get().set_group(&[1; 16]);
    Post { epoch: qpq_proto::ids::Epoch(0), payload, expires_at: None, blobs: vec![] }.write(request.get().init_post());
    let promise = request.send().promise;
    async move {
        let response = promise.await?;
        Ok(match response.get()?.get_reply()?.which()? {
            post_reply::Accepted(seq) => Ok(seq),
            post_reply::Refused(refusal) => Err(refused(refusal)),
            post_reply::StaleEpoch(_) => panic!("a stale epoch"),
        })
    }
}

/// Every field of a fixed or limited length, with nothing in it, and with one byte or element too many.
#[test]
fn every_parameter_is_checked_before_anything_is_done() {
    with_server(async |server| {
        let alice = Device::new("alice");
        let client = connect(server).await;
        let name = |length: usize| "a".repeat(length);
        let check = |refusal: Refusal, field: &str| {
            assert_eq!(refusal.code, Code::BadRequest, "{field}: {refusal:?}");
            assert!(refusal.detail.contains(field), "{field}: {refusal:?}");
        };
        for (user, invite, opaque, field) in [
            (name(0), 0, 32, "name"),
            (name(33), 0, 32, "name"),
            (name(65), 0, 32, "name"),
            (name(5), limits::INVITE + 1, 32, "invite"),
            (name(5), 0, 0, "opaque"),
            (name(5), 0, limits::OPAQUE + 1, "opaque"),
            (name(32), limits::INVITE, limits::OPAQUE, "OPAQUE"),
        ] {
            let mut request = client.gateway.register_request();
            request.get().set_name(&user[..]);
            request.get().set_invite(&name(invite)[..]);
            request.get().set_opaque(&vec![0; opaque]);
            let response = soon(request.send().promise).await.unwrap();
            let register_reply::Refused(refusal) = response.get().unwrap().get_reply().unwrap().which().unwrap() else {
                panic!("{field}: accepted")
            };
            check(refused(refusal), field);
            if invite == 0 && opaque > 0 {
                continue;
            }
            let mut request = client.gateway.login_request();
            request.get().set_name(&user[..]);
            request.get().set_opaque(&vec![0; opaque]);
            let response = soon(request.send().promise).await.unwrap();
            let login_reply::Refused(refusal) = response.get().unwrap().get_reply().unwrap().which().unwrap() else {
                continue; // without the invite this one is in order
            };
            assert_eq!(refused(refusal).code, Code::BadRequest);
        }
        let session = soon(client.register(&alice)).await;
        check_keys(session, &check).await;
        check_groups(session, &check).await;
        check_blobs(session, &check).await;
    });
}

async fn check_blobs(session: session::Reader<'_>, check: &impl Fn(Refusal, &str)) {
    let blobs = session.get_blobs().unwrap();
    let put = async |id: usize, bytes: usize| {
        let mut request = blobs.put_request();
        request.get().set_blob(&vec![1; id]);
        request.get().set_bytes(&vec![0; bytes]);
        let response = soon(request.send().promise).await.unwrap();
        let received_reply::Refused(refusal) = response.get().unwrap().get_reply().unwrap().which().unwrap() else {
            panic!("taken")
        };
        refused(refusal)
    };
    for id in [0, 31, 33] {
        check(put(id, 1).await, "blob");
        let mut request = blobs.begin_request();
        request.get().set_blob(&vec![1; id]);
        let response = soon(request.send().promise).await.unwrap();
        let received_reply::Refused(refusal) = response.get().unwrap().get_reply().unwrap().which().unwrap() else {
            panic!("begun")
        };
        check(refused(refusal), "blob");
        let mut request = blobs.get_request();
        request.get().set_blob(&vec![1; id]);
        let response = soon(request.send().promise).await.unwrap();
        let bytes_reply::Refused(refusal) = response.get().unwrap().get_reply().unwrap().which().unwrap() else {
            panic!("there")
        };
        check(refused(refusal), "blob");
    }
    for bytes in [0, PART + 1] {
        check(put(32, bytes).await, "bytes");
    }
    assert_eq!(put(32, PART).await.code, Code::NotFound, "that is in order, but nothing was begun");
}

async fn check_keys(session: session::Reader<'_>, check: &impl Fn(Refusal, &str)) {
    let (directory, packages) = (session.get_directory().unwrap(), session.get_key_packages().unwrap());
    for length in [0, 31, 33] {
        let mut request = directory.by_identity_request();
        request.get().set_identity(&vec![0; length]);
        let response = soon(request.send().promise).await.unwrap();
        let account_reply::Refused(refusal) = response.get().unwrap().get_reply().unwrap().which().unwrap() else {
            panic!("found")
        };
        check(refused(refusal), "identity");
        let mut request = packages.claim_request();
        request.get().set_identity(&vec![0; length]);
        let response = soon(request.send().promise).await.unwrap();
        let claim_reply::Refused(refusal) = response.get().unwrap().get_reply().unwrap().which().unwrap() else {
            panic!("claimed")
        };
        check(refused(refusal), "identity");
    }
    for (count, bytes, code) in [
        (1, 0, Code::BadRequest),
        (1, limits::KEY_PACKAGE + 1, Code::BadRequest),
        (limits::KEY_PACKAGES + 1, 1, Code::BadRequest),
        (limits::KEY_PACKAGES, 1, Code::Invalid),
        (1, limits::KEY_PACKAGE, Code::Invalid),
    ] {
        let mut request = packages.publish_request();
        let mut list = request.get().init_one_time(count as u32);
        (0..count).for_each(|index| list.set(index as u32, &vec![0; bytes]));
        let response = soon(request.send().promise).await.unwrap();
        let stock_reply::Refused(refusal) = response.get().unwrap().get_reply().unwrap().which().unwrap() else {
            panic!("published")
        };
        let refusal = refused(refusal);
        assert_eq!(refusal.code, code, "{count} of {bytes}: {refusal:?}");
        assert!(code != Code::BadRequest || refusal.detail.contains("oneTime"), "{refusal:?}");
    }
}

async fn check_groups(session: session::Reader<'_>, check: &impl Fn(Refusal, &str)) {
    let groups = session.get_groups().unwrap();
    check(soon(post(&groups, vec![])).await.unwrap().unwrap_err(), "post.payload");
    check(soon(post(&groups, vec![0; limits::POST + 1])).await.unwrap().unwrap_err(), "post.payload");
    let largest = soon(post(&groups, vec![0; limits::POST])).await.unwrap().unwrap_err();
    assert_eq!(largest.code, Code::Invalid, "{largest:?}");
    for (group, commit, info, field) in [
        (15, 1, 1, "group"),
        (17, 1, 1, "group"),
        (16, 0, 1, "commit.commit"),
        (16, limits::HANDSHAKE + 1, 1, "commit.commit"),
        (16, 1, 0, "commit.groupInfo"),
        (16, 1, limits::HANDSHAKE + 1, "commit.groupInfo"),
    ] {
        let mut request = groups.commit_request();
        request.get().set_group(&vec![0; group]);
        let mut builder = request.get().init_commit();
        builder.set_commit(&vec![0; commit]);
        builder.set_group_info(&vec![0; info]);
        let response = soon(request.send().promise).await.unwrap();
        let commit_reply::Refused(refusal) = response.get().unwrap().get_reply().unwrap().which().unwrap() else {
            panic!("{field}: accepted")
        };
        check(refused(refusal), field);
    }
    for (proposal, field) in [(0, "proposal"), (limits::POST + 1, "proposal")] {
        let mut request = groups.leave_request();
        request.get().set_group(&[0; 16]);
        request.get().set_proposal(&vec![0; proposal]);
        let response = soon(request.send().promise).await.unwrap();
        let post_reply::Refused(refusal) = response.get().unwrap().get_reply().unwrap().which().unwrap() else {
            panic!("{field}: accepted")
        };
        check(refused(refusal), field);
    }
}

/// A group of one with a backlog of [`BACKLOG`] messages of almost the largest size, and a small one before them.
async fn backlog(session: session::Reader<'_>, device: &Device, id: u8) -> GroupId {
    let mut group = create_notepad(session, device, id).await;
    let message = group.mls.create_message(&device.provider, &device.signer, &[7; limits::POST - 1024]).unwrap();
    let payload = message.tls_serialize_detached().unwrap();
    let groups = session.get_groups().unwrap();
    for number in 0..BACKLOG as u64 {
        // The server looks at the header alone, so that not every message has to be encrypted.
        let mut payload = payload.clone();
        let last = payload.len() - 8;
        payload[last..].copy_from_slice(&number.to_be_bytes());
        let mut request = groups.post_request();
        request.get().set_group(&group.id.0);
        Post { epoch: group.epoch(), payload, expires_at: None, blobs: vec![] }.write(request.get().init_post());
        let response = request.send().promise.await.unwrap();
        let reply = response.get().unwrap().get_reply().unwrap();
        assert!(matches!(reply.which().unwrap(), post_reply::Accepted(_)));
    }
    group.id
}

/// A counter of the server, from its metrics.
fn counter(server: &RunningServer, name: &str) -> u64 {
    let mut stream = TcpStream::connect(server.metrics_address()).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Takes entries and never says that they are stored.
struct Stuck(Rc<Cell<usize>>);

impl event_sink::Server for Stuck {
    async fn push(self: Rc<Self>, params: event_sink::PushParams) -> Result<(), capnp::Error> {
        self.0.set(self.0.get() + params.get()?.get_entries()?.len() as usize);
        std::future::pending().await
    }

    async fn caught_up(
        self: Rc<Self>,
        _: event_sink::CaughtUpParams,
        _: event_sink::CaughtUpResults,
    ) -> Result<(), capnp::Error> {
        Ok(())
    }

    async fn key_packages_low(
        self: Rc<Self>,
        _: event_sink::KeyPackagesLowParams,
        _: event_sink::KeyPackagesLowResults,
    ) -> Result<(), capnp::Error> {
        Ok(())
    }
}

/// Bytes that the server may have read for one stream that does not move: what one push holds (512 KiB, and one entry
/// more), one that waits for the window, and one that is being put together.
const MOST_AHEAD: u64 = 3 * (512 + 128) * 1024;
const BACKLOG: usize = 48;

/// The reader that confirms nothing, and the one that does not even read: the server holds a window of the backlog for them
/// and not all of it, and other devices get everything meanwhile.
#[test]
fn a_reader_that_does_not_read_costs_a_window_and_nobody_else() {
    with_server(async |server| {
        let (alice, bob) = (Device::new("alice"), Device::new("bob"));
        let mut groups = Vec::new();
        for (id, device) in [(1, &alice), (2, &bob)] {
            let client = connect(server).await;
            let session = soon(client.register(device)).await;
            groups.push(soon(backlog(session, device, id)).await);
        }
        for deaf in [false, true] {
            let before = counter(server, "qpq_delivered_bytes_total");
            let client = connect(server).await;
            let session = soon(client.resume(&alice)).await;
            let taken = Rc::new(Cell::new(0));
            let mut request = session.get_delivery().unwrap().open_request();
            request.get().set_sink(capnp_rpc::new_client(Stuck(taken.clone())));
            let response = soon(request.send().promise).await.unwrap();
            let stream = response.get().unwrap().get_stream().unwrap();
            soon(subscribe(&stream, LogId::Group(groups[0]))).await;
            if deaf {
                // Nobody drives its end of the calls any more; QUIC itself goes on.
                client.driver.abort();
            }
            // Somebody else gets a backlog of the same size meanwhile, twice: time enough for all that the server would do.
            let mut read_by_others = 0;
            for _ in 0..2 {
                let other = connect(server).await;
                let session = soon(other.resume(&bob)).await;
                let (stream, mut events) = soon(open(session)).await;
                soon(subscribe(&stream, LogId::Group(groups[1]))).await;
                let mut received = 0;
                while received < BACKLOG + 1 {
                    if let Some(Event::Entry(..)) = soon(events.recv()).await {
                        received += 1;
                    }
                }
                read_by_others += (BACKLOG * (limits::POST - 1024)) as u64;
            }
            let ahead = (counter(server, "qpq_delivered_bytes_total") - before).saturating_sub(read_by_others);
            println!("deaf: {deaf}; {ahead} bytes of {} were read for it", BACKLOG * limits::POST);
            assert!(ahead < MOST_AHEAD, "{ahead} bytes were read");
            assert!(taken.get() < BACKLOG);
        }
    });
}

/// Whoever floods is told to wait; the server goes on answering the others.
#[test]
fn a_flood_is_refused_and_others_go_on() {
    with_limited_server(
        |limits| limits.posts_per_minute = 120,
        async |server| {
            let (mallory, alice) = (Device::new("mallory"), Device::new("alice"));
            let (flooding, calm) = (connect(server).await, connect(server).await);
            let flood = soon(flooding.register(&mallory)).await.get_groups().unwrap();
            let session = soon(calm.register(&alice)).await;
            let posts = session.get_groups().unwrap();
            let quiet = Instant::now();
            for _ in 0..50 {
                let _ = soon(post(&posts, vec![1])).await.unwrap();
            }
            let quiet = quiet.elapsed();

            let (refused, answered) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0_u64)));
            let floods: Vec<_> = (0..100)
                .map(|_| {
                    let (flood, refused, answered) = (flood.clone(), refused.clone(), answered.clone());
                    tokio::task::spawn_local(async move {
                        while let Ok(Err(refusal)) = post(&flood, vec![1]).await {
                            answered.set(answered.get() + 1);
                            if refusal.code == Code::RateLimited {
                                assert!(refusal.retry_after.is_some() && refusal.detail.contains("posts_per_minute"));
                                refused.set(refused.get() + 1);
                            }
                        }
                    })
                })
                .collect();
            // The flood has begun when the first ones were refused.
            while refused.get() == 0 {
                tokio::task::yield_now().await;
            }
            let (before, busy) = (answered.get(), Instant::now());
            for number in 0..50 {
                let outcome = soon(post(&posts, vec![1])).await.unwrap();
                assert_ne!(outcome.unwrap_err().code, Code::RateLimited, "call {number} of somebody else");
            }
            let (busy, flooded) = (busy.elapsed(), answered.get() - before);
            floods.iter().for_each(tokio::task::JoinHandle::abort);
            println!(
                "50 calls took {quiet:?} alone and {busy:?} beside {flooded} of a flood ({} refused): ratio {:.1}",
                refused.get(),
                busy.as_secs_f64() / quiet.as_secs_f64()
            );
            assert!(flooded > 0 && refused.get() > 0);
            assert!(counter(server, "qpq_rate_limited_total{limit=\"posts_per_minute\"}") > 0);
        },
    );
}
