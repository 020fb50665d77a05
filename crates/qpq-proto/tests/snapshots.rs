//! The bytes of every format that is stored, signed or sent end to end. A change here breaks what is already on disks:
//! raise the format number instead, and keep reading the old one.

use std::time::Duration;

use capnp::message::TypedBuilder;
use capnp::traits::Owned;
use qpq_proto::account::{Account, ServerHello, UserName};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::content::{Attachment, Body, Content, ReceiptKind, WelcomeBundle};
use qpq_proto::generated::{gateway_capnp, groups_capnp, ids_capnp, keys_capnp, stream_capnp};
use qpq_proto::groups::{Commit, GroupKind, GroupState, Head, NewGroup, Post, SealedWelcome, Who};
use qpq_proto::ids::{BlobId, ContentHash, DeviceId, Epoch, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::keys::{
    DeviceRecord, ML_DSA_65_PUBLIC, ML_DSA_65_SIGNATURE, ManifestBody, SignedManifest, X_WING_PUBLIC,
};
use qpq_proto::link::{
    LinkBundle, LinkHello, LinkOffer, LinkStep, LinkedContact, LinkedGroup, LinkedHistory, LinkedTrust,
};
use qpq_proto::stream::{Entry, EntryKind, LogId, Position};
use qpq_proto::time::Timestamp;
use sha2::Digest as _;

/// Short encodings in full, long ones by their hash.
fn check(what: &str, bytes: &[u8], expected: &str) {
    let shown = if bytes.len() <= 200 { hex::encode(bytes) } else { hex::encode(sha2::Sha256::digest(bytes)) };
    assert_eq!(shown, expected, "{what}");
}

fn content(body: Body) -> Vec<u8> {
    let content = Content {
        id: MessageId([1; 16]),
        sent_at: Timestamp(1_700_000_000_000),
        in_reply_to: Some(MessageId([2; 16])),
        expires_after: Some(Duration::from_secs(60)),
        fallback: "f".into(),
        body,
    };
    content.encode()
}

#[test]
fn content_keeps_its_bytes() {
    check(
        "text",
        &content(Body::Text("hi".into())),
        "000000000e000000000000000300040001000000000000000068e5cf8b01000060ea0000000000000d0000008200000011000000820000001500000012000000150000001a000000010101010101010101010101010101010202020202020202020202020202020266000000000000006869000000000000",
    );
    let target = MessageId([3; 16]);
    check(
        "reaction",
        &content(Body::Reaction { target, emoji: "👍".into(), removed: false }),
        "0000000013000000000000000300040001000100000000000068e5cf8b01000060ea0000000000000d000000820000001100000082000000150000001200000014000000010002000101010101010101010101010101010102020202020202020202020202020202660000000000000000000000000000000500000082000000090000002a00000003030303030303030303030303030303f09f918d00000000",
    );
    check(
        "edit",
        &content(Body::Edit { target, text: "ho".into() }),
        "0000000012000000000000000300040001000200000000000068e5cf8b01000060ea0000000000000d00000082000000110000008200000015000000120000001400000000000200010101010101010101010101010101010202020202020202020202020202020266000000000000000500000082000000090000001a00000003030303030303030303030303030303686f000000000000",
    );
    check(
        "delete",
        &content(Body::Delete { target }),
        "000000000f000000000000000300040001000300000000000068e5cf8b01000060ea0000000000000d000000820000001100000082000000150000001200000015000000820000000101010101010101010101010101010102020202020202020202020202020202660000000000000003030303030303030303030303030303",
    );
    let file = Attachment {
        blob: BlobId([1; 32]),
        key: [2; 32],
        sha256: [3; 32],
        size: 4,
        name: "n".into(),
        media_type: "m".into(),
    };
    check(
        "attachment",
        &content(Body::Attachment(file)),
        "7337ea6f9248bf86ca8b8d9b4ef2314617621ff87cdd4ccf06c0f5dba2fcea6d",
    );
    let receipt = Body::Receipt { kind: ReceiptKind::Read, targets: vec![target] };
    check(
        "receipt",
        &content(receipt),
        "0000000012000000000000000300040001000400000000000068e5cf8b01000060ea0000000000000d00000082000000110000008200000015000000120000001400000001000100010101010101010101010101010101010202020202020202020202020202020266000000000000000100000000000000010000000e000000010000008200000003030303030303030303030303030303",
    );
}

#[test]
fn welcome_bundles_keep_their_bytes() {
    let bundle = WelcomeBundle {
        group: GroupId([1; 16]),
        epoch: Epoch(2),
        welcome: vec![3; 5],
        name_key: [4; 32],
        sender: DeviceId([5; 16]),
        signature: [6; 64],
    };
    check("welcome bundle", &bundle.encode(), "e491219ca5c50577102d20176af91655280d9b26c2fc8dbef9cbf90c317c9078");
}

#[test]
fn group_state_keeps_its_bytes() {
    let state = GroupState {
        kind: GroupKind::Direct,
        admins: vec![IdentityId([1; 32])],
        add: Who::Members,
        remove: Who::Admins,
        rename: Who::Members,
        name: vec![2; 3],
        name_key: vec![4; 5],
        expires_after: None,
    };
    check(
        "group state",
        &state.encode(),
        "000000000e0000000000000003000300010001000100000001000000000000000000000000000000110000000e000000050000001a000000050000002a0000000202020000000000040404040400000001000000020100000101010101010101010101010101010101010101010101010101010101010101",
    );
    // Of the version before messages could disappear.
    let older = hex::decode(
        "000000000d000000000000000200030001000100010000000100000000000000110000000e000000050000001a000000050000002a0000000202020000000000040404040400000001000000020100000101010101010101010101010101010101010101010101010101010101010101",
    );
    assert_eq!(GroupState::decode(&older.expect("hexadecimal")), Ok(state));
}

#[test]
fn manifests_keep_their_bytes() {
    let body = ManifestBody {
        version: 2,
        previous: Some([1; 32]),
        ed25519: [2; 32],
        ml_dsa_65: vec![3; ML_DSA_65_PUBLIC],
        devices: vec![DeviceRecord {
            signature_key: [4; 32],
            envelope_key: vec![5; X_WING_PUBLIC],
            name: "laptop".into(),
        }],
        former: vec![],
    };
    check("manifest body", &body.encode(), "bb4e036abe7656ff95344cc14d64b6a67c168bd2e4e4be1c33304e64c2ec2cdc");
    // Of the version before former devices were remembered.
    let older = hex::decode(include_str!("vectors/manifest-body.hex").trim()).expect("hexadecimal");
    check("older manifest body", &older, "8eb03bc6b3333c9f96b77238b89192ab0ad37298c9931d9feded345680ef82e2");
    assert_eq!(ManifestBody::decode(&older), Ok(body.clone()));
    let body = ManifestBody { former: vec![DeviceId([6; 16]), DeviceId([7; 16])], ..body };
    check(
        "manifest body with former devices",
        &body.encode(),
        "3dfea09d3161bca6e83bd11c804aec54b79dff2fd392952979349acd4df0d2f0",
    );
}

#[test]
fn signed_manifests_keep_their_bytes() {
    let signed = SignedManifest { body: vec![1; 9], ed25519: [2; 64], ml_dsa_65: vec![3; ML_DSA_65_SIGNATURE] };
    check("signed manifest", &signed.encode(), "c2cb4e8049fa382f3fc82ea9f945c8ea425c6f9972e637cab9379928ad9b4e44");
}

fn built<T: Owned>(fill: impl FnOnce(T::Builder<'_>)) -> Vec<u8> {
    let mut message = TypedBuilder::<T>::new_default();
    fill(message.init_root());
    capnp::serialize::write_message_to_words(message.borrow_inner())
}

/// What crosses the wire between versions of both programs.
#[test]
fn wire_messages_keep_their_bytes() {
    let commit = Commit {
        expected_epoch: Epoch(1),
        commit: vec![2; 3],
        group_info: vec![4; 5],
        welcomes: vec![SealedWelcome { device: DeviceId([6; 16]), envelope: vec![7; 8] }],
        leaving: vec![DeviceId([9; 16])],
    };
    let new = NewGroup { group_info: vec![1], ratchet_tree: vec![2], first: Some(commit.clone()) };
    let post =
        Post { epoch: Epoch(1), payload: vec![2; 3], expires_at: Some(Timestamp(4)), blobs: vec![BlobId([5; 32])] };
    let log = LogId::Group(GroupId([1; 16]));
    let entry = Entry { log, seq: Seq(2), at: Timestamp(3), kind: EntryKind::Proposal, payload: vec![4; 5] };
    let positions = [Position { log, seq: Seq(1) }, Position { log: LogId::Inbox, seq: Seq(2) }];
    let refusal = Refusal::later(Code::RateLimited, "d", Duration::from_millis(1500));
    let hello =
        ServerHello { protocol: 1, domain: "d".into(), software: "s".into(), incarnation: 7, now: Timestamp(9) };
    let account = Account { name: "alice".parse().expect("a name"), manifest: vec![1; 2] };
    let head = Head { epoch: Epoch(1), seq: Seq(2) };
    check(
        "commit",
        &built::<groups_capnp::commit::Owned>(|b| commit.write(b)),
        "0000000011000000000000000100040001000000000000000d0000001a0000000d0000002a0000000d00000017000000210000000e00000002020200000000000404040404000000040000000000020005000000820000000900000042000000060606060606060606060606060606060707070707070707010000008200000009090909090909090909090909090909",
    );
    let older = "000000000d00000000000000010003000100000000000000090000001a000000090000002a000000090000001700000002020200000000000404040404000000040000000000020005000000820000000900000042000000060606060606060606060606060606060707070707070707";
    let older = hex::decode(older).expect("hexadecimal");
    let older = capnp::serialize::read_message_from_flat_slice(&mut &*older, Default::default()).expect("a message");
    let older = Commit::read(older.get_root().expect("a root"));
    assert_eq!(older, Ok(Commit { leaving: vec![], ..commit.clone() }));
    check(
        "new group",
        &built::<groups_capnp::new_group::Owned>(|b| new.write(b)),
        "00000000160000000000000000000300090000000a000000090000000a00000008000000010004000100000000000000020000000000000001000000000000000d0000001a0000000d0000002a0000000d00000017000000210000000e00000002020200000000000404040404000000040000000000020005000000820000000900000042000000060606060606060606060606060606060707070707070707010000008200000009090909090909090909090909090909",
    );
    check(
        "post",
        &built::<groups_capnp::post::Owned>(|b| post.write(b)),
        "000000000b000000000000000200020001000000000000000400000000000000050000001a000000050000000e000000020202000000000001000000020100000505050505050505050505050505050505050505050505050505050505050505",
    );
    check(
        "head",
        &built::<groups_capnp::head::Owned>(|b| head.write(b)),
        "0000000003000000000000000200000001000000000000000200000000000000",
    );
    check(
        "entry",
        &built::<stream_capnp::entry::Owned>(|b| entry.write(b)),
        "000000000c00000000000000030003000200000000000000030000000000000002000000000000000800000001000100150000002a000000000000000000000001000000000000000100000082000000010101010101010101010101010101010404040404000000",
    );
    let older = "000000000b00000000000000030002000200000000000000030000000000000002000000000000000400000001000100110000002a00000001000000000000000100000082000000010101010101010101010101010101010404040404000000";
    let older = hex::decode(older).expect("hexadecimal");
    let older = capnp::serialize::read_message_from_flat_slice(&mut &*older, Default::default()).expect("a message");
    assert_eq!(Entry::read(older.get_root().expect("a root")).as_ref(), Ok(&entry), "of before there were echoes");
    check(
        "echo",
        &built::<stream_capnp::entry::Owned>(|b| entry.write_echo(b, ContentHash([8; 32]))),
        "000000000f000000000000000300030002000000000000000300000000000000020000000000000008000000010001000000000000000000110000000201000001000000000000000100000082000000010101010101010101010101010101010808080808080808080808080808080808080808080808080808080808080808",
    );
    let heads = |b: stream_capnp::event_sink::heartbeat_params::Builder<'_>| {
        Position::write_list(&positions, b.init_heads(2));
    };
    check(
        "positions",
        &built::<stream_capnp::event_sink::heartbeat_params::Owned>(heads),
        "000000000d0000000000000000000100010000002700000008000000010001000100000000000000080000000100010002000000000000001000000001000100010000000000000001000000820000000101010101010101010101010101010100000000000000000000000000000000",
    );
    check(
        "refusal",
        &built::<ids_capnp::refusal::Owned>(|b| refusal.write(b)),
        "0000000004000000000000000100010008000000dc05000001000000120000006400000000000000",
    );
    check(
        "hello",
        &built::<gateway_capnp::server_hello::Owned>(|b| hello.write(b)),
        "000000000800000000000000030002000100000000000000070000000000000009000000000000000500000012000000050000001200000064000000000000007300000000000000",
    );
    check(
        "account",
        &built::<keys_capnp::account::Owned>(|b| account.write(b)),
        "0000000005000000000000000000020005000000320000000500000012000000616c6963650000000101000000000000",
    );
}

/// What two devices of one person say to each other, perhaps of different versions.
#[test]
fn links_keep_their_bytes() {
    let device = DeviceRecord { signature_key: [1; 32], envelope_key: vec![2; X_WING_PUBLIC], name: "phone".into() };
    let offer = LinkOffer { device, commitment: [3; 32] };
    check("link offer", &offer.encode(), "5dc32938ab4f19254ad225fc7b5f8fa293e1845261da2bf8bbc4fcdd08a45e13");
    let name: UserName = "alice".parse().expect("a name");
    let hello = LinkHello { name: name.clone(), manifest: vec![1], device: DeviceId([2; 16]), nonce: [3; 32] };
    check(
        "link hello",
        &hello.encode(),
        "000000000e000000000000000100040001000000000000000d000000320000000d0000000a0000000d000000820000001100000002010000616c6963650000000100000000000000020202020202020202020202020202020303030303030303030303030303030303030303030303030303030303030303",
    );
    let contact = LinkedContact {
        identity: IdentityId([4; 32]),
        name: Some(name),
        trust: LinkedTrust::Verified,
        is_known: true,
        is_blocked: false,
    };
    let group = LinkedGroup {
        group: GroupId([5; 16]),
        name_key: [6; 32],
        is_muted: true,
        requested_by: Some(IdentityId([8; 32])),
        last_number: 9,
    };
    let bundle = LinkBundle {
        identity_keys: zeroize::Zeroizing::new([1; 64]),
        manifest: vec![2],
        domain: "d".into(),
        contacts: vec![contact],
        groups: vec![group],
        silent: true,
        history: Some(LinkedHistory { blob: BlobId([1; 32]), key: [2; 32], sha256: [3; 32], size: 4 }),
        signature: [7; 64],
    };
    check("link bundle", &bundle.encode(), "a7de4b47554519e0b8c60f3172b83606a03afce59391f14951de715390152a37");
    // Numbers in mailboxes, and in what seals their content.
    let steps = [LinkStep::Offer, LinkStep::Hello, LinkStep::Reveal, LinkStep::Bundle];
    assert_eq!(steps.map(|step| step as u16), [0, 1, 2, 3]);
}
