//! Every field that arrives, at its limit and one beyond it, empty where it must not be, and too short or long where its
//! length is fixed: the reader takes the one, and names field and limit when it refuses the other.

use std::time::Duration;

use capnp::message::TypedBuilder;
use capnp::traits::Owned;
use qpq_proto::account::{Account, ServerHello, UserName};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::content::{Attachment, Body, Content, ReceiptKind, WelcomeBundle};
use qpq_proto::generated::{gateway_capnp, groups_capnp, ids_capnp, keys_capnp, stream_capnp};
use qpq_proto::groups::{Commit, GroupKind, GroupState, NewGroup, Post, SealedWelcome, Who};
use qpq_proto::ids::{BlobId, DeviceId, Epoch, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::keys::{
    DeviceRecord, ML_DSA_65_PUBLIC, ML_DSA_65_SIGNATURE, ManifestBody, SignedManifest, X_WING_PUBLIC,
};
use qpq_proto::link::{LinkBundle, LinkHello, LinkOffer, LinkedContact, LinkedGroup, LinkedTrust};
use qpq_proto::stream::{Entry, EntryKind, LogId, Position};
use qpq_proto::time::Timestamp;
use qpq_proto::{Malformed, limits};

/// `outcome` of a length: `most` is read, one more is refused with field and limit.
fn at_most(field: &str, most: usize, outcome: impl Fn(usize) -> Result<(), Malformed>) {
    assert_eq!(outcome(most), Ok(()), "{field}: {most} is allowed");
    let refused = outcome(most + 1).expect_err(field).to_string();
    assert!(refused.contains(field) && refused.contains(&most.to_string()), "{field}: {refused}");
}

/// And there must be something.
fn some(field: &str, most: usize, outcome: impl Fn(usize) -> Result<(), Malformed>) {
    let refused = outcome(0).expect_err(field).to_string();
    assert!(refused.contains(field) && refused.contains("missing"), "{field}: {refused}");
    assert_eq!(outcome(1), Ok(()), "{field}");
    at_most(field, most, outcome);
}

fn exactly(field: &str, length: usize, outcome: impl Fn(usize) -> Result<(), Malformed>) {
    assert_eq!(outcome(length), Ok(()), "{field}");
    for wrong in [0, length - 1, length + 1] {
        assert!(outcome(wrong).expect_err(field).to_string().contains(field), "{field}: {wrong}");
    }
}

/// Fills a message and reads it.
fn through<T: Owned, R>(
    fill: impl FnOnce(T::Builder<'_>),
    read: impl FnOnce(T::Reader<'_>) -> Result<R, Malformed>,
) -> Result<(), Malformed> {
    let mut message = TypedBuilder::<T>::new_default();
    fill(message.init_root());
    read(message.get_root_as_reader()?).map(|_| ())
}

fn text(length: usize) -> String {
    "x".repeat(length)
}

fn content_with(body: Body, fallback: usize) -> Result<(), Malformed> {
    let content = Content {
        id: MessageId([1; 16]),
        sent_at: Timestamp(1),
        in_reply_to: None,
        expires_after: Some(Duration::from_millis(1)),
        fallback: text(fallback),
        body,
    };
    Content::decode(&content.encode()).map(|_| ())
}

fn content_of(body: Body) -> Result<(), Malformed> {
    content_with(body, 0)
}

#[test]
fn contents() {
    let target = MessageId([2; 16]);
    at_most("content.text", limits::TEXT, |n| content_of(Body::Text(text(n))));
    at_most("content.fallback", limits::TEXT, |n| content_with(Body::Delete { target }, n));
    at_most("edit.text", limits::TEXT, |n| content_of(Body::Edit { target, text: text(n) }));
    at_most("reaction.emoji", limits::EMOJI, |n| content_of(Body::Reaction { target, emoji: text(n), removed: false }));
    at_most("receipt.targets", limits::RECEIPT_TARGETS, |n| {
        content_of(Body::Receipt { kind: ReceiptKind::Delivered, targets: vec![target; n] })
    });
    let file = |name, media_type| {
        let (blob, key, sha256, size) = (BlobId([1; 32]), [2; 32], [3; 32], u64::MAX);
        content_of(Body::Attachment(Attachment { blob, key, sha256, size, name, media_type }))
    };
    at_most("attachment.name", limits::SHORT_TEXT, |n| file(text(n), String::new()));
    at_most("attachment.mediaType", limits::SHORT_TEXT, |n| file(String::new(), text(n)));
    assert!(Content::decode(&[]).is_err());
}

fn bundle(welcome: usize) -> Result<(), Malformed> {
    let bundle = WelcomeBundle {
        group: GroupId([1; 16]),
        epoch: Epoch(u64::MAX),
        welcome: vec![0; welcome],
        name_key: [4; 32],
        sender: DeviceId([5; 16]),
        signature: [6; 64],
    };
    WelcomeBundle::decode(&bundle.encode()).map(|_| ())
}

fn state(admins: usize, name: usize, name_key: usize) -> Result<(), Malformed> {
    let admin = |number: usize| IdentityId(std::array::from_fn(|byte| if byte == 0 { number as u8 } else { 0 }));
    let state = GroupState {
        kind: GroupKind::Group,
        admins: (0..admins).map(admin).collect(),
        add: Who::Members,
        remove: Who::Admins,
        rename: Who::Admins,
        name: vec![0; name],
        name_key: vec![0; name_key],
        expires_after: None,
    };
    GroupState::decode(&state.encode()).map(|_| ())
}

#[test]
fn end_to_end_structures() {
    some("welcome.welcome", limits::ENVELOPE, bundle);
    at_most("groupState.admins", limits::ADMINS, |n| state(n, 0, 0));
    at_most("groupState.name", limits::GROUP_NAME + 64, |n| state(1, n, 0));
    at_most("groupState.nameKey", 128, |n| state(1, 0, n));

    let body = |devices: usize, name: usize, ml_dsa: usize, envelope: usize| {
        let record = DeviceRecord { signature_key: [1; 32], envelope_key: vec![0; envelope], name: text(name) };
        let (devices, ml_dsa_65) = (vec![record; devices], vec![0; ml_dsa]);
        let body =
            ManifestBody { version: u64::MAX, previous: None, ed25519: [0; 32], ml_dsa_65, devices, former: vec![] };
        ManifestBody::decode(&body.encode()).map(|_| ())
    };
    at_most("manifest.devices", limits::DEVICES, |n| body(n, 1, ML_DSA_65_PUBLIC, X_WING_PUBLIC));
    at_most("device.name", limits::DEVICE_NAME, |n| body(1, n, ML_DSA_65_PUBLIC, X_WING_PUBLIC));
    exactly("manifest.mlDsa65", ML_DSA_65_PUBLIC, |n| body(1, 1, n, X_WING_PUBLIC));
    exactly("device.envelopeKey", X_WING_PUBLIC, |n| body(1, 1, ML_DSA_65_PUBLIC, n));
    let signed = |body: usize, signature: usize| {
        let signed = SignedManifest { body: vec![0; body], ed25519: [0; 64], ml_dsa_65: vec![0; signature] };
        SignedManifest::decode(&signed.encode()).map(|_| ())
    };
    at_most("manifest.former", limits::FORMER_DEVICES, |n| {
        let former = vec![DeviceId([1; 16]); n];
        let (ml_dsa_65, devices) = (vec![0; ML_DSA_65_PUBLIC], vec![]);
        let body = ManifestBody { version: 1, previous: None, ed25519: [0; 32], ml_dsa_65, devices, former };
        ManifestBody::decode(&body.encode()).map(|_| ())
    });
    some("manifest.body", limits::MANIFEST, |n| signed(n, ML_DSA_65_SIGNATURE));
    exactly("manifest.mlDsa65", ML_DSA_65_SIGNATURE, |n| signed(1, n));
}

fn commit(commit: usize, group_info: usize, welcomes: usize, envelope: usize) -> Commit {
    Commit {
        expected_epoch: Epoch(u64::MAX),
        commit: vec![0; commit],
        group_info: vec![0; group_info],
        welcomes: vec![SealedWelcome { device: DeviceId([1; 16]), envelope: vec![0; envelope] }; welcomes],
        leaving: vec![],
    }
}

fn read_commit(new: &Commit) -> Result<(), Malformed> {
    through::<groups_capnp::commit::Owned, _>(|builder| new.write(builder), Commit::read)
}

#[test]
fn group_requests() {
    some("commit.commit", limits::HANDSHAKE, |n| read_commit(&commit(n, 1, 0, 1)));
    some("commit.groupInfo", limits::HANDSHAKE, |n| read_commit(&commit(1, n, 0, 1)));
    at_most("commit.welcomes", limits::WELCOMES, |n| read_commit(&commit(1, 1, n, 1)));
    at_most("commit.leaving", limits::WELCOMES, |n| {
        read_commit(&Commit { leaving: vec![DeviceId([1; 16]); n], ..commit(1, 1, 0, 1) })
    });
    some("welcome.envelope", limits::ENVELOPE, |n| read_commit(&commit(1, 1, 1, n)));
    let new = |group_info: usize, ratchet_tree: usize, first: Option<Commit>| {
        let new = NewGroup { group_info: vec![0; group_info], ratchet_tree: vec![0; ratchet_tree], first };
        through::<groups_capnp::new_group::Owned, _>(|builder| new.write(builder), NewGroup::read)
    };
    some("group.groupInfo", limits::HANDSHAKE, |n| new(n, 1, None));
    some("group.ratchetTree", limits::HANDSHAKE, |n| new(1, n, None));
    some("commit.commit", limits::HANDSHAKE, |n| new(1, 1, Some(commit(n, 1, 0, 1))));
    some("post.payload", limits::POST, |n| {
        let post = Post { epoch: Epoch(0), payload: vec![0; n], expires_at: Some(Timestamp(u64::MAX)), blobs: vec![] };
        through::<groups_capnp::post::Owned, _>(|builder| post.write(builder), Post::read)
    });
    at_most("post.blobs", limits::POST_BLOBS, |n| {
        let post = Post { epoch: Epoch(0), payload: vec![1], expires_at: None, blobs: vec![BlobId([1; 32]); n] };
        through::<groups_capnp::post::Owned, _>(|builder| post.write(builder), Post::read)
    });
    exactly("post.blobs", 32, |n| {
        let fill = |mut builder: groups_capnp::post::Builder<'_>| {
            builder.set_payload(&[1]);
            builder.init_blobs(1).set(0, &vec![0; n]);
        };
        through::<groups_capnp::post::Owned, _>(fill, Post::read)
    });
    exactly("welcome.device", 16, |n| {
        let fill = |mut builder: groups_capnp::commit::Builder<'_>| {
            builder.set_commit(&[1]);
            builder.set_group_info(&[1]);
            let mut welcome = builder.init_welcomes(1).get(0);
            welcome.set_device(&vec![0; n]);
            welcome.set_envelope(&[1]);
        };
        through::<groups_capnp::commit::Owned, _>(fill, Commit::read)
    });
}

#[test]
fn accounts_and_refusals() {
    let named = |length: usize| {
        let read = |reader: keys_capnp::account::Reader<'_>| UserName::read(reader.get_name());
        through::<keys_capnp::account::Owned, _>(|mut builder| builder.set_name(&text(length)[..]), read)
    };
    for (length, is_good) in [(0, false), (1, true), (32, true), (33, false), (64, false), (65, false), (10_000, false)]
    {
        assert_eq!(named(length).is_ok(), is_good, "a name of {length}");
    }
    some("account.manifest", limits::MANIFEST, |n| {
        let account = Account { name: "alice".parse().expect("a name"), manifest: vec![0; n] };
        through::<keys_capnp::account::Owned, _>(|builder| account.write(builder), Account::read)
    });
    let hello = |domain: usize, software: usize| {
        let hello = ServerHello {
            protocol: u16::MAX,
            domain: text(domain),
            software: text(software),
            incarnation: u64::MAX,
            now: Timestamp(u64::MAX),
        };
        through::<gateway_capnp::server_hello::Owned, _>(|builder| hello.write(builder), ServerHello::read)
    };
    at_most("server.domain", limits::SHORT_TEXT, |n| hello(n, 0));
    at_most("server.software", limits::SHORT_TEXT, |n| hello(0, n));
    at_most("refusal.detail", limits::SHORT_TEXT, |n| {
        let refusal = Refusal::later(Code::RateLimited, text(n), Duration::MAX);
        through::<ids_capnp::refusal::Owned, _>(|builder| refusal.write(builder), Refusal::read)
    });
}

#[test]
fn logs_and_positions() {
    let inbox = LogId::Inbox;
    some("entry.payload", limits::HANDSHAKE, |n| {
        let (seq, at, kind) = (Seq(u64::MAX), Timestamp(u64::MAX), EntryKind::Welcome);
        let entry = Entry { log: inbox, seq, at, kind, payload: vec![0; n] };
        through::<stream_capnp::entry::Owned, _>(|builder| entry.write(builder), Entry::read)
    });
    exactly("entry.echo", 32, |n| {
        through::<stream_capnp::entry::Owned, _>(
            |mut builder: stream_capnp::entry::Builder<'_>| builder.set_echo(&vec![0; n]),
            |reader| Entry::read_or_echo(reader, |_| Some(vec![1])),
        )
    });
    exactly("log.group", 16, |n| {
        let fill = |mut builder: stream_capnp::log_id::Builder<'_>| builder.set_group(&vec![0; n]);
        through::<stream_capnp::log_id::Owned, _>(fill, LogId::read)
    });
    at_most("positions", limits::POSITIONS, |n| {
        let positions = vec![Position { log: inbox, seq: Seq(1) }; n];
        through::<stream_capnp::event_sink::heartbeat_params::Owned, _>(
            |builder| Position::write_list(&positions, builder.init_heads(n as u32)),
            |reader| Position::read_list(reader.get_heads()?),
        )
    });
}

#[test]
fn text_is_utf8_and_messages_have_no_unknown_variants() {
    let mut bytes = {
        let content = Content {
            id: MessageId([1; 16]),
            sent_at: Timestamp(1),
            in_reply_to: None,
            expires_after: None,
            fallback: String::new(),
            body: Body::Text("héllo".into()),
        };
        content.encode()
    };
    let at = bytes.windows(2).position(|two| two == "é".as_bytes()).expect("the text");
    bytes[at] = 0xff;
    assert!(Content::decode(&bytes).expect_err("not UTF-8").to_string().contains("UTF-8"));
    // A wire message with a variant that this version does not know is refused, not guessed.
    let mut message = TypedBuilder::<stream_capnp::log_id::Owned>::new_default();
    message.init_root().set_group(&[1; 16]);
    let mut bytes = capnp::serialize::write_message_to_words(message.borrow_inner());
    bytes[16] = 9;
    let message = capnp::serialize::read_message(&mut &bytes[..], Default::default()).expect("a message");
    assert!(LogId::read(message.get_root().expect("a root")).is_err());
}

#[test]
fn links() {
    let bundle = |contacts: usize, groups: usize, domain: usize, manifest: usize| {
        let (identity, group) = (IdentityId([1; 32]), GroupId([1; 16]));
        let contact =
            LinkedContact { identity, name: None, trust: LinkedTrust::Verified, is_known: true, is_blocked: false };
        let group = LinkedGroup { group, name_key: [1; 32], is_muted: false, requested_by: None, last_number: 0 };
        let bundle = LinkBundle {
            identity_keys: zeroize::Zeroizing::new([1; 64]),
            manifest: vec![0; manifest],
            domain: text(domain),
            contacts: vec![contact; contacts],
            groups: vec![group; groups],
            silent: false,
            history: None,
            signature: [1; 64],
        };
        LinkBundle::decode(&bundle.encode()).map(|_| ())
    };
    at_most("linkBundle.contacts", limits::LINKED, |n| bundle(n, 1, 1, 1));
    at_most("linkBundle.groups", limits::LINKED, |n| bundle(1, n, 1, 1));
    at_most("linkBundle.domain", limits::SHORT_TEXT, |n| bundle(1, 1, n, 1));
    some("linkBundle.manifest", limits::MANIFEST, |n| bundle(1, 1, 1, n));
    some("linkHello.manifest", limits::MANIFEST, |n| {
        let (name, device) = ("alice".parse()?, DeviceId([1; 16]));
        LinkHello::decode(&LinkHello { name, manifest: vec![0; n], device, nonce: [1; 32] }.encode()).map(|_| ())
    });
    at_most("device.name", limits::DEVICE_NAME, |n| {
        let device = DeviceRecord { signature_key: [1; 32], envelope_key: vec![0; X_WING_PUBLIC], name: text(n) };
        LinkOffer::decode(&LinkOffer { device, commitment: [1; 32] }.encode()).map(|_| ())
    });
}
