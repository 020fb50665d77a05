use qpq_proto::code::Code;
use qpq_trust::suite::Suite;

use super::device::Device;
use super::world::World;

#[tokio::test]
async fn only_own_and_well_formed_key_packages_are_taken() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let publish = |device: &Device, one_time, last_resort| {
        let (service, caller) = (world.service.clone(), device.caller.clone());
        async move { service.publish(&caller, one_time, last_resort).await.map_err(|refusal| refusal.code) }
    };
    assert_eq!(publish(&alice, vec![alice.key_package(false)], vec![]).await, Ok(4));
    assert_eq!(publish(&alice, vec![bob.key_package(false)], vec![]).await, Err(Code::Invalid));
    assert_eq!(publish(&alice, vec![vec![1, 2, 3]], vec![]).await, Err(Code::Invalid));
    assert_eq!(publish(&alice, vec![alice.key_package(true)], vec![]).await, Err(Code::Forbidden));
    assert_eq!(publish(&alice, vec![], vec![alice.key_package(false)]).await, Err(Code::Forbidden));
}

#[tokio::test]
async fn claims_are_limited_per_claimer_and_per_target() {
    let world = World::with(|options| {
        options.limits.claims_per_minute = 3;
        options.limits.claims_per_minute_per_target = 2;
    })
    .await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let claim = |by: &Device, of: &Device| {
        let (service, by, of) = (world.service.clone(), by.caller.clone(), of.caller.identity);
        async move { service.claim(&by, of, Suite::Hybrid.number()).await.map(|all| all.len()).map_err(|r| r.detail) }
    };
    assert_eq!(claim(&alice, &bob).await, Ok(1));
    assert_eq!(claim(&alice, &bob).await, Ok(1));
    assert!(claim(&alice, &bob).await.unwrap_err().contains("per_target"));
    assert!(claim(&alice, &alice).await.unwrap_err().contains("claims_per_minute is"));
    let nobody = Device::new("nobody");
    assert!(claim(&bob, &nobody).await.unwrap_err().contains("no such account"));
}
