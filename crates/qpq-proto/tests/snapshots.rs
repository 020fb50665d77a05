//! The bytes of every format that is stored, signed or sent end to end. A change here breaks what is already on disks:
//! raise the format number instead, and keep reading the old one.

use std::time::Duration;

use qpq_proto::content::{Body, Content, ReceiptKind, WelcomeBundle};
use qpq_proto::groups::{GroupKind, GroupState, Who};
use qpq_proto::ids::{DeviceId, Epoch, GroupId, IdentityId, MessageId};
use qpq_proto::keys::{DeviceRecord, ML_DSA_65_PUBLIC, ManifestBody, X_WING_PUBLIC};
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
    };
    check(
        "group state",
        &state.encode(),
        "000000000d000000000000000200030001000100010000000100000000000000110000000e000000050000001a000000050000002a0000000202020000000000040404040400000001000000020100000101010101010101010101010101010101010101010101010101010101010101",
    );
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
    };
    check("manifest body", &body.encode(), "8eb03bc6b3333c9f96b77238b89192ab0ad37298c9931d9feded345680ef82e2");
}
