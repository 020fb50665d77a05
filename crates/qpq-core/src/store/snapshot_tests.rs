//! What lies on disks must stay readable: rows of the first version, as bytes.

use qpq_proto::groups::{Commit, GroupKind, NewGroup, Post, SealedWelcome};
use qpq_proto::ids::{ContentHash, DeviceId, Epoch, GroupId, IdentityId, MessageId, Seq};
use qpq_proto::stream::{Entry, EntryKind, LogId};
use qpq_proto::time::Timestamp;
use sha2::Digest as _;

use super::rows::{
    AccountRow, BacklogRow, ContactRow, ConversationRow, EventRow, EventRowKind, GroupRow, JoinRow, OutboxRow, OwnRow,
    QuarantineRow, Row as _, WishKind, WishRef, WishRow, conversation_key,
};
use super::{Table, decode, encode};
use crate::request::{Purpose, Request};
use crate::view::{ConversationId, ConversationState, Trust};

/// The row encodes to these bytes, and these bytes decode to something that encodes to them again.
fn check<T: serde::Serialize + serde::de::DeserializeOwned>(what: &str, row: &T, expected: &str) {
    let bytes = encode(row).expect("rows encode");
    assert_eq!(shown(&bytes), expected, "{what}");
    let again: T = decode(&bytes).expect("rows decode");
    assert_eq!(encode(&again).expect("rows encode"), bytes, "{what}");
}

/// Short ones in full, long ones by their hash.
fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= 400 { hex::encode(bytes) } else { hex::encode(sha2::Sha256::digest(bytes)) }
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
        incarnation: 7,
        keys_published: Some(Timestamp(8)),
    };
    check(
        "account",
        &account,
        "8ba46e616d65a5616c696365a86964656e74697479c4200101010101010101010101010101010101010101010101010101010101010101a6646576696365c41002020202020202020202020202020202ad6964656e746974795f6b657973c44004040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404aa6465766963655f6b6579c4200505050505050505050505050505050505050505050505050505050505050505ac656e76656c6f70655f6b6579c4200606060606060606060606060606060606060606060606060606060606060606a86d616e6966657374c40107aa72656769737465726564c3a6646f6d61696ea164ab696e6361726e6174696f6e07ae6b6579735f7075626c697368656408",
    );
    // Without the incarnation, which came later.
    let older: AccountRow =
        decode(&hex::decode(ACCOUNT_OF_THE_FIRST_VERSION).expect("hexadecimal")).expect("an older row");
    assert_eq!((older.incarnation, older.keys_published), (0, account.keys_published));
    let contact = ContactRow {
        identity,
        name: None,
        claimed_name: None,
        trust: Trust::Verified,
        replaced_by: None,
        is_known: true,
        is_blocked: false,
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
        was_in: false,
        expires_after: None,
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
        requested_by: None,
        is_muted: false,
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

#[test]
fn what_waits_keeps_its_bytes() {
    let (group, device, hash) = (GroupId([3; 16]), DeviceId([2; 16]), ContentHash([4; 32]));
    let wish = WishRef { conversation: ConversationId::Direct(IdentityId([1; 32])), id: 7 };
    let log = LogId::Group(group);
    let entry = |kind| Entry { log, seq: Seq(5), at: Timestamp(6), kind, payload: vec![8; 3] };
    check(
        "own",
        &OwnRow { hash, message: MessageId([1; 16]), wish, request: 2, accepted: None },
        "84a468617368c4200404040404040404040404040404040404040404040404040404040404040404a76d657373616765c41001010101010101010101010101010101a47769736882ac636f6e766572736174696f6e81a6446972656374c4200101010101010101010101010101010101010101010101010101010101010101a2696407a77265717565737402",
    );
    let backlog = BacklogRow { group, entry: entry(EntryKind::Commit) };
    check(
        "backlog",
        &backlog,
        "82a567726f7570c41003030303030303030303030303030303a5656e74727985a36c6f6781a547726f7570c41003030303030303030303030303030303a373657105a2617406a46b696e64a6436f6d6d6974a77061796c6f6164c403080808",
    );
    let join = JoinRow { group, epoch: Epoch(1), bundle: vec![9; 4], at: Timestamp(2), seq: Seq(3) };
    check(
        "join",
        &join,
        "85a567726f7570c41003030303030303030303030303030303a565706f636801a662756e646c65c40409090909a2617402a373657103",
    );
    let plaintext = Some(serde_bytes::ByteBuf::from(vec![1; 2]));
    let quarantined = QuarantineRow { entry: entry(EntryKind::Message), reason: "r".into(), plaintext };
    check(
        "quarantine",
        &quarantined,
        "83a5656e74727985a36c6f6781a547726f7570c41003030303030303030303030303030303a373657105a2617406a46b696e64a74d657373616765a77061796c6f6164c403080808a6726561736f6ea172a9706c61696e74657874c4020101",
    );

    let commit = Commit {
        expected_epoch: Epoch(1),
        commit: vec![1],
        group_info: vec![2],
        welcomes: vec![SealedWelcome { device, envelope: vec![3] }],
    };
    let new = NewGroup { group_info: vec![4], ratchet_tree: vec![5], first: Some(commit.clone()) };
    let post = Post { epoch: Epoch(1), payload: vec![6], expires_at: Some(Timestamp(7)) };
    let (identity, name) = (IdentityId([1; 32]), "alice".parse::<qpq_proto::account::UserName>().expect("a name"));
    let bytes = |byte| vec![serde_bytes::ByteBuf::from(vec![byte])];
    let requests = [
        (
            Request::ByName(name.clone()),
            Purpose::LookUp(name),
            "85a2696401a77265717565737481a642794e616d65a5616c696365a7707572706f736581a64c6f6f6b5570a5616c696365aa6e6f745f6265666f726502a8617474656d70747303",
        ),
        (
            Request::ByIdentity(identity),
            Purpose::Check { identity, device, group },
            "85a2696401a77265717565737481aa42794964656e74697479c4200101010101010101010101010101010101010101010101010101010101010101a7707572706f736581a5436865636b83a86964656e74697479c4200101010101010101010101010101010101010101010101010101010101010101a6646576696365c41002020202020202020202020202020202a567726f7570c41003030303030303030303030303030303aa6e6f745f6265666f726502a8617474656d70747303",
        ),
        (
            Request::PublishKeys { one_time: bytes(1), last_resort: bytes(2) },
            Purpose::PublishKeys,
            "85a2696401a77265717565737481ab5075626c6973684b65797382a86f6e655f74696d6591c40101ab6c6173745f7265736f727491c40102a7707572706f7365ab5075626c6973684b657973aa6e6f745f6265666f726502a8617474656d70747303",
        ),
        (
            Request::Claim { identity, suite: 0x4e },
            Purpose::Claim { wish, identity },
            "85a2696401a77265717565737481a5436c61696d82a86964656e74697479c4200101010101010101010101010101010101010101010101010101010101010101a573756974654ea7707572706f736581a5436c61696d82a47769736882ac636f6e766572736174696f6e81a6446972656374c4200101010101010101010101010101010101010101010101010101010101010101a2696407a86964656e74697479c4200101010101010101010101010101010101010101010101010101010101010101aa6e6f745f6265666f726502a8617474656d70747303",
        ),
        (
            Request::Create(new),
            Purpose::Create { wish, group },
            "85a2696401a77265717565737481a643726561746583aa67726f75705f696e666fc40104ac726174636865745f74726565c40105a5666972737484ae65787065637465645f65706f636801a6636f6d6d6974c40101aa67726f75705f696e666fc40102a877656c636f6d65739182a6646576696365c41002020202020202020202020202020202a8656e76656c6f7065c40103a7707572706f736581a643726561746582a47769736882ac636f6e766572736174696f6e81a6446972656374c4200101010101010101010101010101010101010101010101010101010101010101a2696407a567726f7570c41003030303030303030303030303030303aa6e6f745f6265666f726502a8617474656d70747303",
        ),
        (
            Request::Commit { group, commit },
            Purpose::Commit { wish, group },
            "85a2696401a77265717565737481a6436f6d6d697482a567726f7570c41003030303030303030303030303030303a6636f6d6d697484ae65787065637465645f65706f636801a6636f6d6d6974c40101aa67726f75705f696e666fc40102a877656c636f6d65739182a6646576696365c41002020202020202020202020202020202a8656e76656c6f7065c40103a7707572706f736581a6436f6d6d697482a47769736882ac636f6e766572736174696f6e81a6446972656374c4200101010101010101010101010101010101010101010101010101010101010101a2696407a567726f7570c41003030303030303030303030303030303aa6e6f745f6265666f726502a8617474656d70747303",
        ),
        (
            Request::Post { group, post },
            Purpose::Post { wish, group, hash },
            "85a2696401a77265717565737481a4506f737482a567726f7570c41003030303030303030303030303030303a4706f737483a565706f636801a77061796c6f6164c40106aa657870697265735f617407a7707572706f736581a4506f737483a47769736882ac636f6e766572736174696f6e81a6446972656374c4200101010101010101010101010101010101010101010101010101010101010101a2696407a567726f7570c41003030303030303030303030303030303a468617368c4200404040404040404040404040404040404040404040404040404040404040404aa6e6f745f6265666f726502a8617474656d70747303",
        ),
        (
            Request::Leave { group, epoch: Epoch(1), proposal: vec![7] },
            Purpose::Leave { wish, group },
            "85a2696401a77265717565737481a54c6561766583a567726f7570c41003030303030303030303030303030303a565706f636801a870726f706f73616cc40107a7707572706f736581a54c6561766582a47769736882ac636f6e766572736174696f6e81a6446972656374c4200101010101010101010101010101010101010101010101010101010101010101a2696407a567726f7570c41003030303030303030303030303030303aa6e6f745f6265666f726502a8617474656d70747303",
        ),
        (
            Request::Tree { group, epoch: Epoch(1) },
            Purpose::Tree { group, epoch: Epoch(1) },
            "85a2696401a77265717565737481a45472656582a567726f7570c41003030303030303030303030303030303a565706f636801a7707572706f736581a45472656582a567726f7570c41003030303030303030303030303030303a565706f636801aa6e6f745f6265666f726502a8617474656d70747303",
        ),
    ];
    for (request, purpose, expected) in requests {
        let row = OutboxRow { id: 1, request, purpose, not_before: Timestamp(2), attempts: 3 };
        check("outbox", &row, expected);
    }
    let (own, direct) = (QuarantineRow::key_bytes(&(LogId::Inbox, Seq(1))), QuarantineRow::key_bytes(&(log, Seq(1))));
    assert_eq!(
        (shown(&own), shown(&direct)),
        ("000000000000000001".into(), "01030303030303030303030303030303030000000000000001".into())
    );
    assert_eq!(Table::Counters as u8, 15, "the numbers of the tables are on disk");
}

const ACCOUNT_OF_THE_FIRST_VERSION: &str = "8aa46e616d65a5616c696365a86964656e74697479c4200101010101010101010101010101010101010101010101010101010101010101a6646576696365c41002020202020202020202020202020202ad6964656e746974795f6b657973c44004040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404aa6465766963655f6b6579c4200505050505050505050505050505050505050505050505050505050505050505ac656e76656c6f70655f6b6579c4200606060606060606060606060606060606060606060606060606060606060606a86d616e6966657374c40107aa72656769737465726564c3a6646f6d61696ea164ae6b6579735f7075626c697368656408";
