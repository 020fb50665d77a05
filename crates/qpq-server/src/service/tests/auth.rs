use qpq_proto::code::Code;
use qpq_proto::ids::DeviceId;

use super::device::{Device, EXPORTER};
use super::world::World;
use crate::config::Policy;
use crate::service::auth::DeviceProof;
use crate::service::invites;

#[tokio::test]
async fn register_log_in_and_resume() {
    let world = World::new().await;
    let alice = Device::new("alice");
    assert_eq!(alice.register(&world.service).await, Ok(alice.caller.clone()));
    assert_eq!(Device::new("alice").register(&world.service).await.unwrap_err().code, Code::NameTaken);

    let world = world.restart().await;
    assert_eq!(alice.log_in(&world.service, "password").await.unwrap(), Ok(alice.caller.clone()));
    assert!(alice.log_in(&world.service, "another").await.is_none());
    let unlisted = Device::new("alice");
    let outcome = unlisted.log_in(&world.service, "password").await.unwrap();
    assert_eq!(outcome.unwrap_err().code, Code::DeviceUnknown);

    let proof = alice.proof();
    let resume = |device, exporter| {
        let world = &world;
        async move { world.service.resume(DeviceProof { device, exporter, proof: &proof }).await }
    };
    assert_eq!(resume(alice.caller.device, &EXPORTER).await, Ok(alice.caller.clone()));
    assert_eq!(resume(alice.caller.device, &[6; 32]).await.unwrap_err().code, Code::Invalid);
    assert_eq!(resume(DeviceId([0; 16]), &EXPORTER).await.unwrap_err().code, Code::DeviceUnknown);
}

#[tokio::test]
async fn an_unknown_name_looks_like_a_wrong_password() {
    let world = World::new().await;
    world.device("alice").await;
    let nobody = Device::new("nobody");
    assert!(nobody.log_in(&world.service, "password").await.is_none());
    // A client that goes on regardless is told the same in both cases.
    for name in ["alice", "nobody"] {
        let name: qpq_proto::account::UserName = name.parse().unwrap();
        let mut request = [7; 96];
        request[..32].copy_from_slice(&[
            0xe2, 0xf2, 0xae, 0x0a, 0x6a, 0xbc, 0x4e, 0x71, 0xa8, 0x84, 0xa9, 0x61, 0xc5, 0x00, 0x51, 0x5f, 0x58, 0xe3,
            0x0b, 0x6a, 0xa5, 0x82, 0xdd, 0x8d, 0xb6, 0xa6, 0x59, 0x45, 0xe0, 0x8d, 0x2d, 0x76,
        ]);
        request.copy_within(..32, 64);
        let (response, started) = world.service.login(super::device::HERE, name, &request).await.unwrap();
        assert_eq!(response.len(), 320);
        let proof = DeviceProof { device: nobody.caller.device, exporter: &EXPORTER, proof: &[0; 64] };
        let outcome = world.service.finish_login(started, &[9; 64], proof).await;
        assert_eq!(outcome.unwrap_err().code, Code::WrongCredentials);
    }
}

#[tokio::test]
async fn closed_means_closed_and_an_invite_is_used_once() {
    let closed = World::with(|options| options.policy = Policy::Closed).await;
    let refused = Device::new("alice").register(&closed.service).await;
    assert_eq!(refused.unwrap_err().code, Code::RegistrationClosed);

    let world = World::with(|options| options.policy = Policy::Invite).await;
    let (code, hash) = invites::generate();
    let later = qpq_proto::time::Timestamp(u64::MAX / 2);
    world.service.store.add_invites(vec![hash], later).await.unwrap();
    let register = |name, code| {
        let (service, device) = (world.service.clone(), Device::new(name));
        async move { device.register_with(&service, code, "password").await.map_err(|refusal| refusal.code) }
    };
    assert_eq!(register("alice", "0000").await, Err(Code::InviteInvalid));
    assert!(register("alice", &code).await.is_ok());
    assert_eq!(register("bob", &code).await, Err(Code::InviteInvalid));
}

#[tokio::test]
async fn a_stolen_manifest_registers_nobody() {
    let world = World::new().await;
    let (alice, mut thief) = (Device::new("alice"), Device::new("thief"));
    thief.manifest = alice.manifest.clone();
    assert_eq!(thief.register(&world.service).await.unwrap_err().code, Code::DeviceUnknown);
    // Naming Alice's device does not help without its key.
    thief.caller.device = alice.caller.device;
    assert_eq!(thief.register(&world.service).await.unwrap_err().code, Code::Invalid);
    assert!(alice.register(&world.service).await.is_ok());
}

#[tokio::test]
async fn passwords_are_tried_at_a_limited_rate() {
    let world = World::with(|options| options.limits.logins_per_minute_per_account = 2).await;
    let alice = world.device("alice").await;
    for _ in 0..2 {
        assert!(alice.log_in(&world.service, "wrong").await.is_none());
    }
    let refusal = alice.log_in(&world.service, "password").await.unwrap().unwrap_err();
    assert_eq!(refusal.code, Code::RateLimited);
    assert!(refusal.retry_after.is_some() && refusal.detail.contains("logins_per_minute_per_account"));
}

#[tokio::test]
async fn a_disabled_account_is_shown_the_door() {
    let world = World::new().await;
    let alice = world.device("alice").await;
    let as_of = world.service.as_of();
    let session = world.service.begin_session(&alice.caller, as_of).await.unwrap();
    world.service.end_sessions_of_changed_accounts().await.unwrap();
    world.service.store.set_disabled(alice.caller.name.clone(), true).await.unwrap();
    world.service.end_sessions_of_changed_accounts().await.unwrap();
    session.wait().await;
    let outcome = alice.log_in(&world.service, "password").await.unwrap();
    assert_eq!(outcome.unwrap_err().code, Code::AccountDisabled);
    assert!(world.service.begin_session(&alice.caller, as_of).await.is_err(), "looked at before it was disabled");
}
