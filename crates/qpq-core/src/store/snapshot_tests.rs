//! What lies on disks must stay readable: rows of the first version, as bytes.

use qpq_proto::groups::GroupKind;
use qpq_proto::ids::{DeviceId, Epoch, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::time::Timestamp;

use super::rows::{
    AccountRow, ContactRow, ConversationRow, EventRow, EventRowKind, GroupRow, WishKind, WishRow, conversation_key,
};
use super::{decode, encode};
use crate::view::{ConversationId, ConversationState, Trust};

/// The row encodes to these bytes, and these bytes decode to something that encodes to them again.
fn check<T: serde::Serialize + serde::de::DeserializeOwned>(what: &str, row: &T, expected: &str) {
    let bytes = encode(row).expect("rows encode");
    let shown: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown, expected, "{what}");
    let again: T = decode(&bytes).expect("rows decode");
    assert_eq!(encode(&again).expect("rows encode"), bytes, "{what}");
}

#[test]
fn rows_keep_their_bytes() {
    let (identity, device) = (IdentityId([1; 32]), DeviceId([2; 16]));
    let (group, conversation) = (GroupId([3; 16]), ConversationId::Group(GroupId([3; 16])));
    let account = AccountRow {
        name: "alice".parse().expect("a name"),
        identity,
        device,
        identity_keys: vec![4; 64],
        device_key: [5; 32],
        envelope_key: [6; 32],
        manifest: vec![7],
        registered: true,
        domain: "d".into(),
        keys_published: Some(Timestamp(8)),
    };
    check(
        "account",
        &account,
        "8aa46e616d65a5616c696365a86964656e74697479c4200101010101010101010101010101010101010101010101010101010101010101a6646576696365c41002020202020202020202020202020202ad6964656e746974795f6b657973c44004040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404aa6465766963655f6b6579c4200505050505050505050505050505050505050505050505050505050505050505ac656e76656c6f70655f6b6579c4200606060606060606060606060606060606060606060606060606060606060606a86d616e6966657374c40107aa72656769737465726564c3a6646f6d61696ea164ae6b6579735f7075626c697368656408",
    );
    let contact = ContactRow {
        identity,
        name: None,
        claimed_name: None,
        trust: Trust::Verified,
        replaced_by: None,
        manifest: vec![9],
        devices: [(device, [1; 32])].into(),
    };
    check(
        "contact",
        &contact,
        "87a86964656e74697479c4200101010101010101010101010101010101010101010101010101010101010101a46e616d65c0ac636c61696d65645f6e616d65c0a57472757374a85665726966696564ab7265706c616365645f6279c0a86d616e6966657374c40109a76465766963657381c41002020202020202020202020202020202c4200101010101010101010101010101010101010101010101010101010101010101",
    );
    let row = GroupRow {
        group,
        conversation,
        kind: GroupKind::Group,
        name: "n".into(),
        name_key: [1; 32],
        suite: 0x4e,
        state: ConversationState::Active,
        cursor: Seq(1),
        pending: None,
        wait_for: Epoch(2),
        leaving: vec![device],
        awaiting: vec![3],
        joined_by: Some((identity, device)),
        joined: Epoch(5),
        refreshed: Timestamp(4),
    };
    check(
        "group",
        &row,
        "8fa567726f7570c41003030303030303030303030303030303ac636f6e766572736174696f6e81a547726f7570c41003030303030303030303030303030303a46b696e64a547726f7570a46e616d65a16ea86e616d655f6b6579c4200101010101010101010101010101010101010101010101010101010101010101a573756974654ea57374617465a6416374697665a6637572736f7201a770656e64696e67c0a8776169745f666f7202a76c656176696e6791c41002020202020202020202020202020202a86177616974696e679103a96a6f696e65645f627992c4200101010101010101010101010101010101010101010101010101010101010101c41002020202020202020202020202020202a66a6f696e656405a972656672657368656404",
    );
    let row = ConversationRow {
        id: conversation,
        group: Some(group),
        in_flight: vec![1],
        last_activity: Timestamp(2),
        last_number: 3,
        read_number: 4,
        expects: None,
    };
    check(
        "conversation",
        &row,
        "87a2696481a547726f7570c41003030303030303030303030303030303a567726f7570c41003030303030303030303030303030303a9696e5f666c696768749101ad6c6173745f616374697669747902ab6c6173745f6e756d62657203ab726561645f6e756d62657204a765787065637473c0",
    );
    let kind = WishKind::Send { message: MessageId([1; 16]) };
    let wish = WishRow { id: 1, conversation, kind, not_before: Timestamp(0), claimed: vec![] };
    check(
        "wish",
        &wish,
        "85a2696401ac636f6e766572736174696f6e81a547726f7570c41003030303030303030303030303030303a46b696e6481a453656e6481a76d657373616765c41001010101010101010101010101010101aa6e6f745f6265666f726500a7636c61696d656490",
    );
    let kind = EventRowKind::Renamed { by: identity, name: "n".into() };
    check(
        "event",
        &EventRow { at: Timestamp(1), conversation: Some(conversation), kind },
        "83a2617401ac636f6e766572736174696f6e81a547726f7570c41003030303030303030303030303030303a46b696e6481a752656e616d656482a26279c4200101010101010101010101010101010101010101010101010101010101010101a46e616d65a16e",
    );
    assert_eq!(conversation_key(conversation)[0], 1);
    assert_eq!(conversation_key(ConversationId::Direct(identity))[0], 2);
}
