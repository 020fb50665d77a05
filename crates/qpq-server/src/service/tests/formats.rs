//! What lies on the disks of servers must stay readable: bytes of the first version.

use openmls_rust_crypto::RustCrypto;
use qpq_proto::ids::Epoch;
use qpq_trust::group;
use sha2::Digest as _;
use tls_codec::Serialize as _;

use super::world::World;
use crate::service::groups::public;
use crate::service::opaque::OpaqueServer;

fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A snapshot of a group of two, in its first epoch.
#[test]
fn snapshots_of_groups_stay_readable() {
    let bytes = include_bytes!("formats/public-group.bin");
    let group = public::decode(bytes).unwrap();
    assert_eq!((group::epoch(&group), group::roster(&group).unwrap().len()), (Epoch(1), 2));
    assert_eq!(group::id(&group).unwrap().0, [1; 16]);
    group::state(&group).unwrap();
    let tree = group.export_ratchet_tree().tls_serialize_detached().unwrap();
    assert_eq!(sha256(&tree), "527e76bfe4a52dcb0d5d392bb2948910b6f347f93a0d52bfd5a2f0cfb278fb17");
    assert_eq!(public::encode(&RustCrypto::default(), &group).unwrap(), bytes);
}

/// The OPAQUE keys: seed, private key, and the public key of fake records; here those of RFC 9807, C.1.1. Should they be read
/// in another way, no password would be right any more.
#[tokio::test]
async fn opaque_keys_and_records_stay_good() {
    let world = World::new().await;
    let hex =
        |text: &str| (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    let setup: Vec<u8> = hex(concat!(
        "f433d0227b0b9dd54f7c4422b600e764e47fb503f1f9a0f0a47c6606b054a7fd",
        "c65347f1a08f277e22358bbabe26f823fca82c7848e9a75661f4ec5d5c1989ef",
        "47451a85372f8b3537e249d7b54188091fb18edde78094b43e2ba42b5eb89f0d",
        "b2fe7af9f48cc502d016729d2fe25cdd433f2c4bc904660b2a382c9b79df1a78",
    ));
    assert_eq!(world.service.store.setting_or_insert("opaque_setup", vec![]).await.unwrap().len(), setup.len());
    let server = OpaqueServer::decode(&setup).unwrap();
    let request: Vec<u8> = hex("5059ff249eb1551b7ce4991f3336205bde44a105a032e747d21bf382e75f7a71");
    let answer = server.register(&"alice".parse().unwrap(), &request).unwrap();
    assert_eq!(sha256(&answer), "ea7c6896c78a910a0659830bb574cc3e692b7508e8ce0846c6ec7d08c46c488b");
}

/// Released migrations are never edited; a change of the schema is another file.
#[test]
fn migrations_stay_as_they_are() {
    let first = include_bytes!("../../store/sqlcipher/migrations/0001_initial.sql");
    assert_eq!(sha256(first), "76e7713deb82cd5e5560853c19b77e5c306a734cf8b6184d8ba952c9798a844d");
}
