//! Writes the committed corpora: a few real messages for each target that takes bytes. Run it inside `fuzz/`:
//! `cargo run --example seeds`.

use std::fs;
use std::time::Duration;

use capnp::message::TypedBuilder;
use capnp::traits::Owned;
use qpq_core::crypto::envelope::{EnvelopeKey, seal};
use qpq_core::store::archive::{ArchivedMessage, Record};
use qpq_core::view::ConversationId;
use qpq_fuzz::members::{Pair, Person, creation};
use qpq_proto::account::{Account, ServerHello};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::content::{Attachment, Body, Content, ReceiptKind, WelcomeBundle};
use qpq_proto::generated::{gateway_capnp, groups_capnp, ids_capnp, keys_capnp, stream_capnp};
use qpq_proto::groups::{Commit, GroupKind, GroupState, Post, SealedWelcome, Who};
use qpq_proto::ids::{BlobId, DeviceId, Epoch, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::link::{LinkBundle, LinkHello, LinkOffer, LinkedContact, LinkedGroup, LinkedHistory, LinkedTrust};
use qpq_proto::stream::{Entry, EntryKind, LogId, Position};
use qpq_proto::time::Timestamp;
use qpq_trust::suite::Suite;
use tls_codec::Serialize as _;

fn main() {
    contents();
    group_states();
    wire();
    rpc();
    links();
    archives();
    let pair = Pair::new();
    let package = pair.bob.key_package(Suite::Hybrid, false).tls_serialize_detached().expect("encodes");
    // Read as an enum whose first variant is the raw bytes.
    write("key_package", "raw", &raw(&package));
    let carol = Person::new(3);
    let new = creation(&carol, &carol.group(Suite::Classic));
    write("group_creation", "info", &raw(&new.group_info));
    write("commit", "empty", &raw(&pair.signed(true, &[0, 0])));
    let envelope = seal(DeviceId([3; 16]), &EnvelopeKey::from_seed(&[7; 32]).public(), b"welcome").expect("own key");
    write("envelope", "sealed", &raw(&envelope));
    write("manifest", "raw", &raw(&pair.alice.keys.sign_manifest(1, None, vec![pair.alice.record.clone()]).encode()));
    // The base point of ristretto255 (RFC 9496, appendix A.1).
    let point = [
        0xe2, 0xf2, 0xae, 0x0a, 0x6a, 0xbc, 0x4e, 0x71, 0xa8, 0x84, 0xa9, 0x61, 0xc5, 0x00, 0x51, 0x5f, 0x58, 0xe3,
        0x0b, 0x6a, 0xa5, 0x82, 0xdd, 0x8d, 0xb6, 0xa6, 0x59, 0x45, 0xe0, 0x8d, 0x2d, 0x76,
    ];
    write("opaque", "request", &point);
    write("opaque", "login", &[point, [7; 32], point].concat());
    write("opaque", "answer", &[point, point].concat());
    for (name, text) in [("user", "alice.b_c-d"), ("id", "00112233445566778899aabbccddeeff")] {
        write("names", name, text.as_bytes());
    }
    let file = include_str!("../../deploy/qpq-server.toml");
    write("config", "file", file.as_bytes());
    write(
        "config",
        "limits",
        b"mode = \"production\"\n[limits]\nmax_message = \"1KiB\"\n[retention]\nentries = \"7d\"\n",
    );
    write("terminal", "text", "a\u{1b}[2J\u{202e}b\r\n\t❤\u{fe0f}\u{200d}👍e\u{301}\u{14}".as_bytes());
    write("frames", "two", &[64, 0, 3, 7, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let bundle = WelcomeBundle {
        group: GroupId([1; 16]),
        epoch: Epoch(2),
        welcome: vec![0, 1, 0, 3, 0, 0x4e, 0, 0],
        name_key: [4; 32],
        sender: DeviceId([5; 16]),
        signature: [6; 64],
    };
    write("welcome", "bundle", &bundle.encode());
    write("welcome", "message", &package_message(&pair));
    for (name, seed) in [("a", 3_u8), ("b", 91), ("c", 200)] {
        // Any bytes are a script; these make long ones.
        let script: Vec<u8> = (0..1500_u32).map(|i| ((i * i).wrapping_mul(31) >> 3) as u8 ^ seed).collect();
        write("engine", name, &script);
    }
    write("credential", "basic", &[1, 1, 0, 9, 9, 9, 9, 48, 0, 0, 0]);
}

fn package_message(pair: &Pair) -> Vec<u8> {
    let message: openmls::prelude::MlsMessageOut = pair.bob.key_package(Suite::Classic, true).into();
    message.tls_serialize_detached().expect("encodes")
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = format!("{}/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(format!("{folder}/{name}"), bytes).expect("room on the disk");
}

/// An input of `arbitrary` whose first enum variant takes the rest as bytes: the choice in front, the length at the end.
fn raw(bytes: &[u8]) -> Vec<u8> {
    [&[0; 4], bytes].concat()
}

fn contents() {
    let target = MessageId([3; 16]);
    let attachment = Attachment {
        blob: BlobId([1; 32]),
        key: [2; 32],
        sha256: [3; 32],
        size: 5,
        name: "a.txt".into(),
        media_type: "text/plain".into(),
    };
    let bodies = [
        ("text", Body::Text("hello".into())),
        ("reaction", Body::Reaction { target, emoji: "👍".into(), removed: true }),
        ("edit", Body::Edit { target, text: "better".into() }),
        ("delete", Body::Delete { target }),
        ("receipt", Body::Receipt { kind: ReceiptKind::Read, targets: vec![target; 2] }),
        ("attachment", Body::Attachment(attachment)),
    ];
    for (name, body) in bodies {
        let content = Content {
            id: MessageId([1; 16]),
            sent_at: Timestamp(1_700_000_000_000),
            in_reply_to: Some(target),
            expires_after: Some(Duration::from_secs(60)),
            fallback: "f".into(),
            body,
        };
        write("content", name, &content.encode());
    }
}

fn links() {
    let pair = Pair::new();
    let name = "alice".parse().expect("a name");
    let manifest = pair.alice.keys.sign_manifest(1, None, vec![pair.alice.record.clone()]).encode();
    let offer = LinkOffer { device: pair.bob.record.clone(), commitment: [1; 32] };
    let hello = LinkHello { name, manifest: manifest.clone(), device: DeviceId([2; 16]), nonce: [3; 32] };
    let identity = IdentityId([4; 32]);
    let contact = LinkedContact {
        identity,
        name: Some("bob".parse().expect("a name")),
        trust: LinkedTrust::Verified,
        is_known: true,
        is_blocked: false,
    };
    let group = LinkedGroup {
        group: GroupId([5; 16]),
        name_key: [6; 32],
        is_muted: true,
        requested_by: Some(identity),
        last_number: 7,
    };
    let bundle = LinkBundle {
        identity_keys: [8; 64].into(),
        manifest,
        domain: "example.org".into(),
        contacts: vec![contact],
        groups: vec![group],
        silent: true,
        history: Some(LinkedHistory { blob: BlobId([9; 32]), key: [1; 32], sha256: [2; 32], size: 3 }),
        signature: [4; 64],
    };
    let parts = [("offer", offer.encode()), ("hello", hello.encode()), ("bundle", bundle.encode().to_vec())];
    for (kind, (name, bytes)) in (0_u8..).zip(parts) {
        write("link", name, &[&[kind][..], &bytes].concat());
    }
    write("names", "contact", format!("qpq:contact?server=chat.example:7443&user=bob&id={identity}").as_bytes());
    write("names", "code", ["0123-4567-89ab-cdef"; 4].join("-").as_bytes());
    write("names", "words", qpq_core::crypto::phrase::words(&[1; 32]).as_bytes());
}

fn archives() {
    let conversation = ConversationId::Direct(IdentityId([1; 32]));
    let message = ArchivedMessage {
        conversation,
        number: 1,
        id: MessageId([2; 16]),
        seq: Some(Seq(3)),
        sender: IdentityId([1; 32]),
        device: DeviceId([4; 16]),
        sent_at: Timestamp(5),
        received_at: Timestamp(6),
        is_sent: false,
        expires_at: None,
        content: vec![7; 5],
        notes: vec![],
    };
    let records = [
        Record::Conversation { id: conversation, last_activity: Timestamp(9) },
        Record::Message(Box::new(message)),
    ];
    let frames: Vec<u8> = records.iter().flat_map(|record| record.frame().expect("a record")).collect();
    // An input of `arbitrary`: the fields that are read from the front, and the lengths at the end.
    write("archive", "two", &[&[1][..], &frames].concat());
}

fn group_states() {
    for (name, kind, admins) in [("group", GroupKind::Group, 2), ("direct", GroupKind::Direct, 0)] {
        let admins = (0..admins).map(|number| IdentityId([number; 32])).collect();
        let (add, remove, rename) = (Who::Members, Who::Admins, Who::Members);
        let state = GroupState { kind, admins, add, remove, rename, name: vec![2; 40], name_key: vec![4; 60], expires_after: None };
        write("group_state", name, &state.encode());
    }
}

fn built<T: Owned>(fill: impl FnOnce(T::Builder<'_>)) -> Vec<u8> {
    let mut message = TypedBuilder::<T>::new_default();
    fill(message.init_root());
    capnp::serialize::write_message_to_words(message.borrow_inner())
}

fn wire() {
    let commit = Commit {
        expected_epoch: Epoch(1),
        commit: vec![1; 9],
        group_info: vec![2; 3],
        welcomes: vec![SealedWelcome { device: DeviceId([1; 16]), envelope: vec![3; 20] }; 2],
        leaving: vec![DeviceId([7; 16])],
    };
    let new = qpq_proto::groups::NewGroup { group_info: vec![1], ratchet_tree: vec![2], first: Some(commit.clone()) };
    let post = Post { epoch: Epoch(3), payload: vec![1; 30], expires_at: Some(Timestamp(9)), blobs: vec![] };
    let log = LogId::Group(GroupId([7; 16]));
    let entry = Entry { log, seq: Seq(4), at: Timestamp(5), kind: EntryKind::Commit, payload: vec![1; 8] };
    let positions = [Position { log, seq: Seq(1) }, Position { log: LogId::Inbox, seq: Seq(2) }];
    let refusal = Refusal::later(Code::RateLimited, "later", Duration::from_secs(1));
    let hello = ServerHello { protocol: 1, domain: "d".into(), software: "s".into(), incarnation: 1, now: Timestamp(1) };
    let account = Account { name: "alice".parse().expect("a name"), manifest: vec![1; 10] };
    let all = [
        (0, built::<ids_capnp::refusal::Owned>(|b| refusal.write(b))),
        (1, built::<gateway_capnp::server_hello::Owned>(|b| hello.write(b))),
        (2, built::<keys_capnp::account::Owned>(|b| account.write(b))),
        (3, built::<groups_capnp::commit::Owned>(|b| commit.write(b))),
        (4, built::<groups_capnp::new_group::Owned>(|b| new.write(b))),
        (5, built::<groups_capnp::post::Owned>(|b| post.write(b))),
        (7, built::<stream_capnp::log_id::Owned>(|b| log.write(b))),
        (8, built::<stream_capnp::entry::Owned>(|b| entry.write(b))),
        (
            9,
            built::<stream_capnp::event_sink::heartbeat_params::Owned>(|b| {
                Position::write_list(&positions, b.init_heads(2));
            }),
        ),
        (
            10,
            built::<gateway_capnp::gateway::register_params::Owned>(|mut b| {
                b.set_name("alice");
                b.set_invite("code");
                b.set_opaque(&[1; 32]);
            }),
        ),
        (16, built::<stream_capnp::event_sink::push_params::Owned>(|b| entry.write(b.init_entries(1).get(0)))),
    ];
    for (kind, bytes) in all {
        write("wire", &format!("{kind}"), &[&[kind][..], &bytes].concat());
    }
}

/// What a client sends first: bootstrap, and a pipelined call of `hello` (rpc.capnp).
fn rpc() {
    use capnp_rpc::rpc_capnp::message;
    let bootstrap = built::<message::Owned>(|b| b.init_bootstrap().set_question_id(0));
    let call = |method: u16| {
        built::<message::Owned>(|b| {
            let mut call = b.init_call();
            call.set_question_id(1 + u32::from(method));
            call.set_interface_id(GATEWAY);
            call.set_method_id(method);
            call.reborrow().init_target().init_promised_answer().set_question_id(0);
            let params = call.init_params().init_content();
            let mut params: gateway_capnp::gateway::register_params::Builder<'_> = params.init_as();
            params.set_name("alice");
            params.set_opaque(&[1; 32]);
        })
    };
    let finish = built::<message::Owned>(|b| b.init_finish().set_question_id(1));
    write("rpc", "hello", &[bootstrap.clone(), call(0), finish].concat());
    write("rpc", "calls", &[bootstrap, call(1), call(2), call(3)].concat());
}

const GATEWAY: u64 = <gateway_capnp::gateway::Client as capnp::traits::HasTypeId>::TYPE_ID;
