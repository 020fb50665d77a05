use qpq_proto::time::Timestamp;

use crate::store::account::{AccountKey, InviteHash, Registered};
use crate::store::group::MemberRecord;

use super::world::{NOW, World, account, device, identity};

#[tokio::test]
async fn names_identities_and_devices_belong_to_one_account() {
    let world = World::new();
    world.account(1).await;
    let mut same_name = account(2);
    same_name.name = account(1).name;
    assert_eq!(world.store.register(same_name, NOW).await, Ok(Registered::NameTaken));
    let mut same_identity = account(2);
    same_identity.identity = identity(1);
    assert_eq!(world.store.register(same_identity, NOW).await, Ok(Registered::IdentityTaken));
    let mut same_device = account(2);
    same_device.devices.push(device(1));
    assert_eq!(world.store.register(same_device, NOW).await, Ok(Registered::IdentityTaken));

    let keys = [AccountKey::Name(account(1).name), AccountKey::Identity(identity(1)), AccountKey::Device(device(1))];
    for key in keys {
        assert_eq!(world.store.account(key).await.unwrap().unwrap().identity, identity(1));
    }
    assert_eq!(world.store.account(AccountKey::Device(device(2))).await, Ok(None));
    world.account(2).await;
    let record = |of: u8, whose: u8| MemberRecord { device: device(of), identity: identity(whose) };
    for (devices, are_listed) in [
        (vec![], true),
        (vec![record(1, 1), record(2, 2)], true),
        (vec![record(1, 1), record(2, 1)], false),
        (vec![record(3, 3)], false),
    ] {
        assert_eq!(world.store.are_listed(devices).await, Ok(are_listed));
    }
}

#[tokio::test]
async fn an_invite_is_used_once_and_only_in_time() {
    let world = World::new();
    let (good, late) = (InviteHash([1; 32]), InviteHash([2; 32]));
    world.store.add_invites(vec![good], Timestamp(NOW.0 + 1)).await.unwrap();
    world.store.add_invites(vec![late], NOW).await.unwrap();
    assert!(world.store.is_invite_good(good, NOW).await.unwrap());
    assert!(!world.store.is_invite_good(late, NOW).await.unwrap());
    let register = |number, invite| {
        let mut new = account(number);
        new.invite = Some(invite);
        world.store.register(new, NOW)
    };
    assert_eq!(register(1, late).await, Ok(Registered::InviteInvalid));
    assert_eq!(register(1, good).await, Ok(Registered::Done));
    assert_eq!(register(2, good).await, Ok(Registered::InviteInvalid));
    assert!(!world.store.is_invite_good(good, NOW).await.unwrap());
}

#[tokio::test]
async fn disabling_and_deleting_are_announced() {
    let world = World::new();
    world.account(1).await;
    world.account(2).await;
    assert_eq!(world.store.account_changes(0).await, Ok((0, vec![])));
    assert!(world.store.set_disabled(account(1).name, true).await.unwrap());
    assert!(world.store.account(AccountKey::Identity(identity(1))).await.unwrap().unwrap().disabled);
    assert!(world.store.delete_account(account(2).name).await.unwrap());
    assert!(!world.store.delete_account(account(2).name).await.unwrap());
    assert_eq!(world.store.account_changes(0).await, Ok((2, vec![identity(1), identity(2)])));
    assert_eq!(world.store.account_changes(1).await, Ok((2, vec![identity(2)])));
    assert_eq!(world.store.accounts().await.unwrap().len(), 1);
    world.account(2).await;
}

#[tokio::test]
async fn a_setting_keeps_its_first_value() {
    let world = World::new();
    assert_eq!(world.store.setting_or_insert("k", vec![1]).await, Ok(vec![1]));
    let world = world.restart();
    assert_eq!(world.store.setting_or_insert("k", vec![2]).await, Ok(vec![1]));
}
