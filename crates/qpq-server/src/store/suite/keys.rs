use std::collections::BTreeSet;

use futures::future::join_all;
use qpq_proto::time::Timestamp;

use crate::store::key_package::{LOW_STOCK, Published, StoredKeyPackage};

use super::world::{NOW, World, device, identity};

fn package(number: u8, last_resort: bool) -> StoredKeyPackage {
    StoredKeyPackage {
        reference: vec![number; 32],
        package: vec![number; 100],
        suite: 1,
        last_resort,
        expires: Timestamp(NOW.0 + 1000),
    }
}

#[tokio::test]
async fn each_one_time_package_is_given_once_and_then_the_last_resort() {
    let world = World::new();
    world.account(1).await;
    let mut packages: Vec<_> = (1..=20).map(|number| package(number, false)).collect();
    packages.push(package(99, true));
    assert_eq!(world.store.publish(device(1), packages.clone(), NOW).await, Ok(Published::Done));

    let claims = join_all((0..30).map(|_| world.store.claim(identity(1), 1, NOW))).await;
    let given: Vec<_> = claims.into_iter().flat_map(|claimed| claimed.unwrap()).collect();
    assert_eq!(given.len(), 30);
    let one_time: BTreeSet<_> = given.iter().filter(|claimed| !claimed.last_resort).map(|c| &c.package).collect();
    assert_eq!(one_time.len(), 20);
    assert_eq!(given.iter().filter(|claimed| claimed.last_resort).count(), 10);

    // A device that repeats itself does not bring them back.
    assert_eq!(world.store.publish(device(1), packages, NOW).await, Ok(Published::Done));
    assert!(world.store.claim(identity(1), 1, NOW).await.unwrap()[0].last_resort);
}

#[tokio::test]
async fn expired_packages_are_never_given() {
    let world = World::new();
    world.account(1).await;
    world.store.publish(device(1), vec![package(1, false), package(2, true)], NOW).await.unwrap();
    let later = Timestamp(NOW.0 + 1000);
    assert_eq!(world.store.stock(device(1), 1, later).await, Ok(0));
    assert_eq!(world.store.claim(identity(1), 1, later).await, Ok(vec![]));
}

#[tokio::test]
async fn a_device_has_one_last_resort_and_a_quota() {
    let world = World::new();
    world.account(1).await;
    world.store.publish(device(1), vec![package(1, true)], NOW).await.unwrap();
    world.store.publish(device(1), vec![package(2, true)], NOW).await.unwrap();
    assert_eq!(world.store.claim(identity(1), 1, NOW).await.unwrap()[0].package, vec![2; 100]);
    let many = (10..61).map(|number| package(number, false)).collect();
    assert_eq!(world.store.publish(device(1), many, NOW).await, Ok(Published::QuotaExceeded));
    assert_eq!(world.store.stock(device(1), 1, NOW).await, Ok(0));
}

#[tokio::test]
async fn a_stock_is_counted_until_it_is_enough() {
    let world = World::new();
    world.account(1).await;
    let many = LOW_STOCK as u8 + 2;
    world.store.publish(device(1), (0..many).map(|number| package(number, false)).collect(), NOW).await.unwrap();
    assert_eq!(world.store.stock(device(1), 1, NOW).await, Ok(LOW_STOCK + 2));
    for left in [LOW_STOCK, LOW_STOCK, LOW_STOCK - 1, LOW_STOCK - 2] {
        assert_eq!(world.store.claim(identity(1), 1, NOW).await.unwrap()[0].left, left);
        assert_eq!(world.store.inbox_and_stock(device(1), 1, NOW).await.unwrap().1, left);
    }
}

#[tokio::test]
async fn suites_are_apart() {
    let world = World::new();
    world.account(1).await;
    let other = StoredKeyPackage { suite: 2, ..package(3, true) };
    world.store.publish(device(1), vec![package(1, false), package(2, true), other], NOW).await.unwrap();
    let claimed = world.store.claim(identity(1), 2, NOW).await.unwrap();
    assert_eq!((claimed.len(), &claimed[0].package, claimed[0].left), (1, &vec![3; 100], 0));
    assert_eq!(world.store.claim(identity(1), 3, NOW).await, Ok(vec![]));
    assert_eq!(world.store.stock(device(1), 1, NOW).await, Ok(1));
}
