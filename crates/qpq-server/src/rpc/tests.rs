//! A whole server, over QUIC on this machine, as a client sees it.

mod limits;

use std::future::Future;
use std::rc::Rc;

use opaque_ke::{ClientRegistration, ClientRegistrationFinishParameters, RegistrationResponse};
use openmls_traits::OpenMlsProvider as _;
use qpq_io::rpc::connect::{ClientConnection, Connector, ServerAddress};
use qpq_io::rpc::frame::FrameLimit;
use qpq_io::rpc::pin::ServerTrust;
use qpq_io::rpc::vat;
use qpq_proto::generated::gateway_capnp::{gateway, session_reply};
use qpq_proto::generated::groups_capnp::{create_reply, post_reply};
use qpq_proto::generated::session_capnp::session;
use qpq_proto::generated::stream_capnp::{event_sink, stream, subscribe_reply};
use qpq_proto::groups::{GroupKind, NewGroup, Post};
use qpq_proto::ids::{ContentHash, GroupId};
use qpq_proto::stream::{Entry, LogId};
use qpq_trust::opaque::{OpaqueSuite, Stretch, identifiers};
use tls_codec::Serialize as _;
use tokio::sync::mpsc;

use crate::config::Limits;
use crate::service::tests::device::{Device, Group};
use crate::{Config, RunningServer, Server};

#[derive(Debug, PartialEq)]
enum Event {
    Entry(u64, String),
    Echo(ContentHash),
    CaughtUp(u32),
    CaughtUpInPush(u32),
    KeyPackagesLow(u32),
}

struct Sink(mpsc::UnboundedSender<Event>);

impl event_sink::Server for Sink {
    async fn push(self: Rc<Self>, params: event_sink::PushParams) -> Result<(), capnp::Error> {
        let params = params.get()?;
        for entry in params.get_entries()? {
            let event = match entry.has_echo() {
                true => Event::Echo(entry.get_echo()?.try_into().unwrap()),
                false => Entry::read(entry).map(|entry| Event::Entry(entry.seq.0, format!("{:?}", entry.kind)))?,
            };
            let _ = self.0.send(event);
        }
        if params.get_caught_up() > 0 {
            let _ = self.0.send(Event::CaughtUpInPush(params.get_caught_up()));
        }
        Ok(())
    }

    async fn caught_up(
        self: Rc<Self>,
        params: event_sink::CaughtUpParams,
        _: event_sink::CaughtUpResults,
    ) -> Result<(), capnp::Error> {
        let _ = self.0.send(Event::CaughtUp(params.get()?.get_subscriptions()));
        Ok(())
    }

    async fn key_packages_low(
        self: Rc<Self>,
        params: event_sink::KeyPackagesLowParams,
        _: event_sink::KeyPackagesLowResults,
    ) -> Result<(), capnp::Error> {
        let _ = self.0.send(Event::KeyPackagesLow(params.get()?.get_left()));
        Ok(())
    }
}

struct Client {
    connection: ClientConnection,
    gateway: gateway::Client,
    driver: tokio::task::JoinHandle<Result<(), capnp::Error>>,
}

async fn connect(server: &RunningServer) -> Client {
    let connector = Connector::new(ServerTrust::Pinned(server.fingerprint())).unwrap();
    let address: ServerAddress = server.address().to_string().parse().unwrap();
    let connection = connector.connect(&address).await.unwrap();
    let (send, receive) = connection.open_stream().await.unwrap();
    let (gateway, driver, _) = vat::connect_vat(receive, send, FrameLimit::new(usize::MAX));
    let driver = tokio::task::spawn_local(driver);
    Client { connection, gateway, driver }
}

impl Client {
    async fn register(&self, device: &Device) -> session::Reader<'static> {
        let name = device.caller.name.as_str();
        let mut random = crate::service::SystemRandom;
        let start = ClientRegistration::<OpaqueSuite>::start(&mut random, b"password").unwrap();
        let mut request = self.gateway.register_request();
        request.get().set_name(name);
        request.get().set_opaque(&start.message.serialize());
        let response = request.send().promise.await.unwrap();
        let qpq_proto::generated::gateway_capnp::register_reply::Ok(ok) =
            response.get().unwrap().get_reply().unwrap().which().unwrap()
        else {
            panic!("refused");
        };
        let finish = start
            .state
            .finish(
                &mut random,
                b"password",
                RegistrationResponse::deserialize(ok.get_opaque().unwrap()).unwrap(),
                ClientRegistrationFinishParameters::new(identifiers(name), Some(&Stretch)),
            )
            .unwrap();
        let mut request = ok.get_next().unwrap().finish_request();
        request.get().set_opaque(&finish.message.serialize());
        request.get().set_manifest(&device.manifest);
        request.get().set_device(&device.caller.device.0);
        request.get().set_proof(&device.proof_for(&self.connection.exporter()));
        let response = Box::leak(Box::new(request.send().promise.await.unwrap()));
        granted(response.get().unwrap().get_reply().unwrap())
    }

    async fn resume(&self, device: &Device) -> session::Reader<'static> {
        let mut request = self.gateway.resume_request();
        request.get().set_device(&device.caller.device.0);
        request.get().set_proof(&device.proof_for(&self.connection.exporter()));
        let response = Box::leak(Box::new(request.send().promise.await.unwrap()));
        granted(response.get().unwrap().get_reply().unwrap())
    }
}

fn granted(reply: session_reply::Reader<'static>) -> session::Reader<'static> {
    match reply.which().unwrap() {
        session_reply::Session(session) => session.unwrap(),
        session_reply::Refused(refusal) => panic!("{:?}", refusal.unwrap().get_code()),
    }
}

/// As devices did that want to be told in a call of its own that they have everything.
async fn open(session: session::Reader<'_>) -> (stream::Client, mpsc::UnboundedReceiver<Event>) {
    open_in(session, false).await
}

async fn open_in(session: session::Reader<'_>, in_push: bool) -> (stream::Client, mpsc::UnboundedReceiver<Event>) {
    let (events, receiver) = mpsc::unbounded_channel();
    let mut request = session.get_delivery().unwrap().open_request();
    request.get().set_sink(capnp_rpc::new_client(Sink(events)));
    request.get().set_in_push(in_push);
    let response = request.send().promise.await.unwrap();
    (response.get().unwrap().get_stream().unwrap(), receiver)
}

async fn subscribe(stream: &stream::Client, log: LogId) -> u64 {
    let mut request = stream.subscribe_request();
    log.write(request.get().init_log());
    let response = request.send().promise.await.unwrap();
    match response.get().unwrap().get_reply().unwrap().which().unwrap() {
        subscribe_reply::Head(head) => head,
        subscribe_reply::Refused(refusal) => panic!("{:?}", refusal.unwrap().get_code()),
    }
}

async fn next_entry(events: &mut mpsc::UnboundedReceiver<Event>) -> Event {
    loop {
        let event = events.recv().await.unwrap();
        if matches!(event, Event::Entry(..) | Event::Echo(_)) {
            return event;
        }
    }
}

fn with_server(test: impl AsyncFnOnce(&RunningServer)) {
    with_limited_server(|_| {}, test);
}

fn with_limited_server(limit: impl FnOnce(&mut Limits), test: impl AsyncFnOnce(&RunningServer)) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::development(dir.path().join("data"));
    limit(&mut config.limits);
    let server = Server::start(config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test(&server));
    server.stop().unwrap();
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(20), future).await.unwrap()
}

async fn create_notepad<'d>(session: session::Reader<'_>, device: &'d Device, id: u8) -> Group<'d> {
    let group = device.group(id, GroupKind::Direct);
    let info = group.mls.export_group_info(device.provider.crypto(), &device.signer, false).unwrap();
    let new = NewGroup {
        group_info: info.tls_serialize_detached().unwrap(),
        ratchet_tree: group.mls.export_ratchet_tree().tls_serialize_detached().unwrap(),
        first: None,
    };
    let mut request = session.get_groups().unwrap().create_request();
    new.write(request.get().init_group());
    let response = request.send().promise.await.unwrap();
    let reply = response.get().unwrap().get_reply().unwrap();
    assert!(matches!(reply.which().unwrap(), create_reply::Created(0)));

    let mut group = group;
    assert_eq!(post_note(session, &mut group, false).await.1, 1);
    group
}

/// What was posted, and where the server has put it.
async fn post_note(session: session::Reader<'_>, group: &mut Group<'_>, keeps: bool) -> (Post, u64) {
    let message = group.mls.create_message(&group.device.provider, &group.device.signer, b"note").unwrap();
    let payload = message.tls_serialize_detached().unwrap();
    let post = Post { epoch: group.epoch(), payload, expires_at: None, blobs: vec![] };
    let seq = send_post(session, group.id, &post, keeps).await;
    (post, seq)
}

async fn send_post(session: session::Reader<'_>, group: GroupId, post: &Post, keeps: bool) -> u64 {
    let mut request = session.get_groups().unwrap().post_request();
    request.get().set_group(&group.0);
    request.get().set_keeps(keeps);
    post.write(request.get().init_post());
    let response = request.send().promise.await.unwrap();
    let reply = response.get().unwrap().get_reply().unwrap();
    let post_reply::Accepted(seq) = reply.which().unwrap() else { panic!("not accepted") };
    seq
}

#[test]
fn from_registration_to_delivery_and_back_again() {
    with_server(async |server| {
        let alice = Device::new("alice");
        let first = connect(server).await;
        let session = soon(first.register(&alice)).await;
        assert_eq!(session.get_name().unwrap(), "alice");
        let (stream, mut events) = soon(open(session)).await;
        let group = soon(create_notepad(session, &alice, 1)).await.id;
        assert_eq!(soon(subscribe(&stream, LogId::Group(group))).await, 1);
        assert_eq!(soon(events.recv()).await, Some(Event::Entry(1, "Message".into())));
        assert_eq!(soon(events.recv()).await, Some(Event::CaughtUp(1)));

        // The newest connection wins; the old one is told and closed.
        let second = connect(server).await;
        let session = soon(second.resume(&alice)).await;
        let (stream, mut events) = soon(open_in(session, true)).await;
        let reason = soon(first.connection.closed()).await.to_string();
        assert!(reason.contains("connected again"), "{reason}");
        assert_eq!(soon(subscribe(&stream, LogId::Inbox)).await, 0);
        assert_eq!(soon(events.recv()).await, Some(Event::KeyPackagesLow(0)));
        assert_eq!(soon(events.recv()).await, Some(Event::CaughtUp(1)), "with nothing to push");
        assert_eq!(soon(subscribe(&stream, LogId::Group(group))).await, 1);
        assert_eq!(soon(events.recv()).await, Some(Event::Entry(1, "Message".into())));
        assert_eq!(soon(events.recv()).await, Some(Event::CaughtUpInPush(2)));
    });
}

#[test]
fn what_a_device_keeps_comes_back_as_its_hash_as_long_as_the_connection_lives() {
    let whole = |seq| Event::Entry(seq, "Message".into());
    with_server(async |server| {
        let alice = Device::new("alice");
        let first = connect(server).await;
        let session = soon(first.register(&alice)).await;
        let (stream, mut events) = soon(open_in(session, true)).await;
        let mut group = soon(create_notepad(session, &alice, 1)).await;
        soon(subscribe(&stream, LogId::Group(group.id))).await;
        assert_eq!(soon(next_entry(&mut events)).await, whole(1), "a device that keeps nothing");
        let (post, _) = soon(post_note(session, &mut group, true)).await;
        assert_eq!(soon(next_entry(&mut events)).await, Event::Echo(ContentHash::of(&post.payload)));
        assert_eq!(soon(send_post(session, group.id, &post, true)).await, 2, "repeated");
        soon(subscribe(&stream, LogId::Group(group.id))).await;
        assert_eq!(soon(next_entry(&mut events)).await, whole(1));
        assert_eq!(soon(next_entry(&mut events)).await, whole(2), "read again, it comes whole");

        let second = connect(server).await;
        let session = soon(second.resume(&alice)).await;
        soon(post_note(session, &mut group, true)).await;
        let (stream, mut events) = soon(open_in(session, true)).await;
        soon(subscribe(&stream, LogId::Group(group.id))).await;
        for seq in 1..=3 {
            assert_eq!(soon(next_entry(&mut events)).await, whole(seq), "of before the stream");
        }
    });
}

#[test]
fn strangers_get_little_and_large_messages_end_them() {
    with_server(async |server| {
        let stranger = connect(server).await;
        let response = soon(stranger.gateway.hello_request().send().promise).await.unwrap();
        assert_eq!(response.get().unwrap().get_server().unwrap().get_protocol(), qpq_proto::PROTOCOL);
        let mut request = stranger.gateway.resume_request();
        request.get().set_device(&[1; 3]);
        let response = soon(request.send().promise).await.unwrap();
        let reply = response.get().unwrap().get_reply().unwrap();
        let session_reply::Refused(refusal) = reply.which().unwrap() else { panic!("a session") };
        assert_eq!(refusal.unwrap().get_code(), Ok(qpq_proto::code::Code::BadRequest));

        let mut request = stranger.gateway.resume_request();
        request.get().set_proof(&[0; 100_000]);
        assert!(soon(request.send().promise).await.is_err());
        soon(stranger.connection.closed()).await;
    });
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::development(dir.path().join("data"));
    let server = Server::start(config.clone()).unwrap();
    assert!(matches!(Server::start(config.clone()), Err(crate::Error::AlreadyRunning(_))));
    crate::operator::healthcheck(&config).unwrap();
    server.stop().unwrap();
    assert!(crate::operator::healthcheck(&config).is_err());
    Server::start(config).unwrap();
}
