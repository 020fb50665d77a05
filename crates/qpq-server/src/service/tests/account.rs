//! Devices that come and go, passwords that change, recovery, and the end: with callers that lie and race.

use std::time::Duration;

use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, RegistrationResponse,
};
use qpq_proto::code::{Code, Refusal};
use qpq_proto::groups::GroupKind;
use qpq_proto::ids::Seq;
use qpq_proto::keys::{DeviceRecord, X_WING_PUBLIC};
use qpq_proto::limits;
use qpq_proto::link::LinkStep;
use qpq_trust::identity::IdentityKeys;
use qpq_trust::manifest::Manifest;
use qpq_trust::opaque::{OpaqueSuite, Stretch, identifiers};
use qpq_trust::recovery;

use super::device::{Device, EXPORTER, Group, HERE};
use super::world::World;
use crate::service::auth::DeviceProof;
use crate::service::devices::Updated;
use crate::service::opaque::SystemRandom;
use crate::store::account::{AccountKey, NewManifest};

fn record(device: &Device) -> DeviceRecord {
    Manifest::verify(&device.manifest).unwrap().devices()[0].clone()
}

fn stranger(number: u8) -> DeviceRecord {
    DeviceRecord { signature_key: [number; 32], envelope_key: vec![1; X_WING_PUBLIC], name: "x".into() }
}

fn next(keys: &IdentityKeys, known: &[u8], devices: Vec<DeviceRecord>) -> Vec<u8> {
    keys.sign_successor(&Manifest::verify(known).unwrap(), devices).encode()
}

fn code<T: std::fmt::Debug>(outcome: Result<T, Refusal>) -> Code {
    outcome.unwrap_err().code
}

#[tokio::test]
async fn a_manifest_follows_the_one_before_it() {
    let world = World::with(|options| options.limits.devices_per_account = 3).await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let phone = alice.sibling();
    let update = async |manifest: Vec<u8>| world.service.update_manifest(&alice.caller, manifest).await;

    let of_bob = next(&bob.keys, &bob.manifest, vec![record(&bob), stranger(1)]);
    assert_eq!(code(update(of_bob).await), Code::Forbidden, "somebody else's");
    let forged = next(&IdentityKeys::generate().unwrap(), &alice.manifest, vec![record(&alice)]);
    assert_eq!(code(update(forged).await), Code::Forbidden, "signed with other keys it is another identity's");
    let skipping = alice.keys.sign_manifest(3, Some([7; 32]), vec![record(&alice)]).encode();
    assert_eq!(code(update(skipping).await), Code::Invalid, "a version is left out");
    let fork = alice.keys.sign_manifest(2, Some([7; 32]), vec![record(&alice)]).encode();
    assert_eq!(code(update(fork).await), Code::Invalid, "it follows another one");
    let theft = next(&alice.keys, &alice.manifest, vec![record(&alice), record(&bob)]);
    assert_eq!(code(update(theft).await), Code::Invalid, "a device has one account");
    let many = (0..3).map(stranger);
    let many = next(&alice.keys, &alice.manifest, many.chain([record(&alice)]).collect());
    assert_eq!(code(update(many).await), Code::QuotaExceeded);

    let second = next(&alice.keys, &alice.manifest, vec![record(&alice), phone.record()]);
    assert_eq!(update(second.clone()).await, Ok(Updated::Accepted));
    assert_eq!(update(second.clone()).await, Ok(Updated::Accepted), "repeating it is harmless");
    let racing = next(&alice.keys, &alice.manifest, vec![record(&alice), stranger(9)]);
    assert_eq!(update(racing).await, Ok(Updated::Superseded));
    assert_eq!(update(alice.manifest.clone()).await, Ok(Updated::Superseded), "a rollback changes nothing");
    let stored = world.service.store.account(AccountKey::Device(phone.caller.device)).await.unwrap().unwrap();
    assert_eq!(stored.manifest, second);
}

#[tokio::test]
async fn a_dropped_device_is_locked_out_at_once() {
    let world = World::new().await;
    let alice = world.device("alice").await;
    let phone = alice.sibling();
    let second = next(&alice.keys, &alice.manifest, vec![record(&alice), phone.record()]);
    world.service.update_manifest(&alice.caller, second.clone()).await.unwrap();
    let proof = phone.proof();
    let resume =
        || world.service.resume(DeviceProof { device: phone.caller.device, exporter: &EXPORTER, proof: &proof });
    resume().await.unwrap();
    phone.publish(&world.service, 2).await;
    let as_of = world.service.as_of();
    let session = world.service.begin_session(&phone.caller, as_of).await.unwrap();
    let own = world.service.begin_session(&alice.caller, as_of).await.unwrap();

    let third = next(&alice.keys, &second, vec![record(&alice)]);
    world.service.update_manifest(&alice.caller, third.clone()).await.unwrap();
    session.wait().await;
    assert!(tokio::time::timeout(Duration::from_millis(20), own.wait()).await.is_err(), "the others stay");
    assert_eq!(code(resume().await), Code::DeviceUnknown);
    let begun = world.service.begin_session(&phone.caller, as_of).await;
    assert_eq!(code(begun.map(|_| ())), Code::DeviceUnknown, "looked at before it was dropped");
    let again = next(&alice.keys, &third, vec![record(&alice), phone.record()]);
    assert_eq!(code(world.service.update_manifest(&phone.caller, again).await), Code::DeviceUnknown);
    let left = world.service.claim(&alice.caller, alice.caller.identity, 0x4e).await.unwrap();
    assert_eq!(left.len(), 1, "its key packages are gone");
}

#[tokio::test]
async fn a_dropped_device_is_locked_out_although_nobody_waits_for_the_answer() {
    let world = World::new().await;
    let alice = world.device("alice").await;
    let phone = alice.sibling();
    let second = next(&alice.keys, &alice.manifest, vec![record(&alice), phone.record()]);
    world.service.update_manifest(&alice.caller, second.clone()).await.unwrap();
    let session = world.service.begin_session(&phone.caller, world.service.as_of()).await.unwrap();
    let third = NewManifest {
        identity: alice.caller.identity,
        version: 3,
        manifest: next(&alice.keys, &second, vec![record(&alice)]),
        devices: vec![alice.caller.device],
        opaque_record: None,
    };
    drop(world.service.store.replace_manifest(third));
    session.wait().await;
}

#[tokio::test]
async fn a_sibling_comes_in_and_is_told_where_it_is_not() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut group = alice.group(1, GroupKind::Group);
    let new = group.creation(&world.service, &[&bob]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    group.merge();
    let phone = alice.sibling();
    let second = next(&alice.keys, &alice.manifest, vec![record(&alice), phone.record()]);
    world.service.update_manifest(&alice.caller, second).await.unwrap();
    let stays = world.service.memberships(&phone.caller).await.unwrap();
    assert_eq!((stays.len(), stays[0].inside, stays[0].acknowledged), (1, false, Seq(0)));
    let (_, commit) = Group::outside(&world.service, &phone, group.id).await;
    world.service.commit(&phone.caller, group.id, commit).await.unwrap();
    assert!(world.service.memberships(&phone.caller).await.unwrap()[0].inside);
}

/// The client's side of a change; none when it notices itself that the old password is wrong.
async fn change(world: &World, device: &Device, old: &str, new: &str) -> Option<Result<(), Refusal>> {
    let name = device.caller.name.clone();
    let login = ClientLogin::<OpaqueSuite>::start(&mut SystemRandom, old.as_bytes()).unwrap();
    let registration = ClientRegistration::<OpaqueSuite>::start(&mut SystemRandom, new.as_bytes()).unwrap();
    let (first, second) = (login.message.serialize(), registration.message.serialize());
    let started = match world.service.change_password(&device.caller, &first, &second).await {
        Ok(started) => started,
        Err(refusal) => return Some(Err(refusal)),
    };
    let parameters = ClientLoginFinishParameters::new(None, identifiers(name.as_str()), Some(&Stretch));
    let response = CredentialResponse::deserialize(&started.login).unwrap();
    let first = login.state.finish(&mut SystemRandom, old.as_bytes(), response, parameters).ok()?;
    let parameters = ClientRegistrationFinishParameters::new(identifiers(name.as_str()), Some(&Stretch));
    let response = RegistrationResponse::deserialize(&started.registration).unwrap();
    let second = registration.state.finish(&mut SystemRandom, new.as_bytes(), response, parameters).unwrap();
    let (first, second) = (first.message.serialize(), second.message.serialize());
    Some(world.service.finish_password_change(&device.caller, started.next, &first, &second).await)
}

#[tokio::test]
async fn a_new_password_needs_the_old_one() {
    let world = World::new().await;
    let alice = world.device("alice").await;
    assert_eq!(change(&world, &alice, "wrong", "new").await, None);
    assert!(alice.log_in(&world.service, "password").await.unwrap().is_ok());
    assert_eq!(change(&world, &alice, "password", "new").await, Some(Ok(())));
    assert!(alice.log_in(&world.service, "password").await.is_none());
    assert!(alice.log_in(&world.service, "new").await.unwrap().is_ok());
    // Whoever has taken over a session has not the password.
    let (login, registration) = (
        ClientLogin::<OpaqueSuite>::start(&mut SystemRandom, b"guess").unwrap(),
        ClientRegistration::<OpaqueSuite>::start(&mut SystemRandom, b"mine").unwrap(),
    );
    let (first, second) = (login.message.serialize(), registration.message.serialize());
    let started = world.service.change_password(&alice.caller, &first, &second).await.unwrap();
    let outcome = world.service.finish_password_change(&alice.caller, started.next, &[0; 64], &second).await;
    assert_eq!(code(outcome), Code::WrongCredentials);
}

#[tokio::test]
async fn only_the_owner_of_the_phrase_recovers() {
    let world = World::new().await;
    let alice = world.device("alice").await;
    let (seed, other) = ([3; 32], [4; 32]);
    world.service.set_recovery(&alice.caller, Some(recovery::public_key(&seed)), vec![9; 100]).await.unwrap();
    let too_large = vec![0; limits::RECOVERY_RECORD + 1];
    let refused = world.service.set_recovery(&alice.caller, Some([1; 32]), too_large).await;
    assert_eq!(code(refused), Code::TooLarge);
    let registration = ClientRegistration::<OpaqueSuite>::start(&mut SystemRandom, b"new").unwrap();
    let message = registration.message.serialize();
    let recover = async |name: &str, proof: [u8; 64]| {
        world.service.recover(HERE, name.parse().unwrap(), &EXPORTER, &proof, &message).await
    };
    let texts: Vec<_> = [
        recover("alice", recovery::sign(&other, &EXPORTER)).await,
        recover("alice", recovery::sign(&seed, &[0; 32])).await,
        recover("nobody", recovery::sign(&seed, &EXPORTER)).await,
    ]
    .into_iter()
    .map(|outcome| outcome.err().unwrap())
    .collect();
    assert!(texts.iter().all(|refusal| *refusal == texts[0] && refusal.code == Code::WrongCredentials));

    let started = recover("alice", recovery::sign(&seed, &EXPORTER)).await.unwrap();
    assert_eq!((started.record.len(), &started.manifest), (100, &alice.manifest));
    let upload = |response: &[u8]| {
        let parameters = ClientRegistrationFinishParameters::new(identifiers("alice"), Some(&Stretch));
        let response = RegistrationResponse::deserialize(response).unwrap();
        let state = registration.state.clone();
        state.finish(&mut SystemRandom, b"new", response, parameters).unwrap().message.serialize()
    };
    let phone = alice.sibling();
    let mallory = Device::new("mallory");
    let proof = mallory.proof();
    let proof = DeviceProof { device: mallory.caller.device, exporter: &EXPORTER, proof: &proof };
    let bytes = upload(&started.opaque);
    let finished = world.service.finish_recovery(started.next, &bytes, mallory.manifest.clone(), proof);
    assert_eq!(code(finished.await), Code::Invalid, "the identity's own keys must sign");

    let session = world.service.begin_session(&alice.caller, world.service.as_of()).await.unwrap();
    let started = recover("alice", recovery::sign(&seed, &EXPORTER)).await.unwrap();
    let manifest = next(&alice.keys, &started.manifest, vec![phone.record()]);
    let proof = phone.proof();
    let proof = DeviceProof { device: phone.caller.device, exporter: &EXPORTER, proof: &proof };
    let finished = world.service.finish_recovery(started.next, &upload(&started.opaque), manifest, proof).await;
    assert_eq!(finished, Ok(phone.caller.clone()));
    session.wait().await;
    assert!(phone.log_in(&world.service, "new").await.unwrap().is_ok());
    assert!(phone.log_in(&world.service, "password").await.is_none());
    assert_eq!(code(alice.log_in(&world.service, "new").await.unwrap()), Code::DeviceUnknown);
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_account() {
    let world = World::new().await;
    let (alice, bob) = (world.device("alice").await, world.device("bob").await);
    let mut shared = alice.group(1, GroupKind::Group);
    let new = shared.creation(&world.service, &[&bob]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    shared.merge();
    let mut alone = alice.group(2, GroupKind::Group);
    let new = alone.creation(&world.service, &[]).await;
    world.service.create_group(&alice.caller, new).await.unwrap();
    world.service.set_recovery(&alice.caller, Some(recovery::public_key(&[3; 32])), vec![9; 100]).await.unwrap();
    let session = world.service.begin_session(&alice.caller, world.service.as_of()).await.unwrap();

    world.service.delete_own_account(&alice.caller).await.unwrap();
    assert_eq!(world.service.delete_own_account(&alice.caller).await, Ok(()), "repeating it is harmless");
    world.service.end_sessions_of_changed_accounts().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_millis(20), session.wait()).await;
    assert!(ended.is_err(), "the answer may still be on its way");
    world.service.end_sessions_of_changed_accounts().await.unwrap();
    session.wait().await;
    let store = &world.service.store;
    assert_eq!(store.account(AccountKey::Identity(alice.caller.identity)).await, Ok(None));
    assert_eq!(store.recovery(alice.caller.name.clone()).await, Ok(None));
    assert_eq!(store.groups_of(alice.caller.identity, alice.caller.device).await, Ok(vec![]));
    assert_eq!(store.standing(alone.id, alice.caller.device, None).await, Ok(None), "nobody was in it any more");
    assert!(!store.standing(shared.id, alice.caller.device, None).await.unwrap().unwrap().was_member);
    assert!(store.standing(shared.id, bob.caller.device, None).await.unwrap().unwrap().is_member);
    let again = Device::new("alice").register(&world.service).await;
    assert_eq!(code(again), Code::NameTaken, "nobody else becomes her");
}

#[tokio::test]
async fn a_mailbox_is_small_short_lived_and_takes_each_step_once() {
    let world = World::new().await;
    let (id, now) = ([1; 16], Duration::ZERO);
    let put = |id, step, data: Vec<u8>| world.service.link_put(HERE, id, step, data);
    let take = async |id, step| world.service.link_take(HERE, id, step, now).await;
    assert_eq!(code(put(id, LinkStep::Hello, vec![1])), Code::NotFound, "nobody has made an offer");
    assert_eq!(code(take(id, LinkStep::Offer).await), Code::NotFound);
    put(id, LinkStep::Offer, vec![1]).unwrap();
    put(id, LinkStep::Offer, vec![1]).unwrap();
    assert_eq!(code(put(id, LinkStep::Offer, vec![2])), Code::Forbidden);
    assert_eq!(code(put(id, LinkStep::Reveal, vec![1])), Code::BadRequest, "too early");
    assert_eq!(take(id, LinkStep::Offer).await, Ok(Some(vec![1])));
    assert_eq!(take(id, LinkStep::Hello).await, Ok(None));
    put(id, LinkStep::Hello, vec![3]).unwrap();
    let second = put(id, LinkStep::Hello, vec![4]).unwrap_err();
    assert!(second.code == Code::Forbidden && second.detail.contains("used"), "{second}");
    assert_eq!(code(put(id, LinkStep::Reveal, vec![0; limits::LINK_MESSAGE + 1])), Code::TooLarge);
    put(id, LinkStep::Reveal, vec![0; limits::LINK_MESSAGE]).unwrap();
    assert_eq!(code(put(id, LinkStep::Bundle, vec![0; limits::LINK_BUNDLE + 1])), Code::TooLarge);
    put(id, LinkStep::Bundle, vec![0; limits::LINK_BUNDLE]).unwrap();

    world.pass(Duration::from_secs(601));
    assert_eq!(code(take(id, LinkStep::Offer).await), Code::NotFound, "its ten minutes are over");
    assert_eq!(code(put(id, LinkStep::Hello, vec![3])), Code::NotFound);
}

#[tokio::test]
async fn whoever_waits_for_a_step_is_woken() {
    let world = World::new().await;
    world.service.link_put(HERE, [1; 16], LinkStep::Offer, vec![1]).unwrap();
    let waiting = {
        let service = world.service.clone();
        tokio::spawn(async move { service.link_take(HERE, [1; 16], LinkStep::Hello, Duration::from_secs(60)).await })
    };
    tokio::task::yield_now().await;
    world.service.link_put(HERE, [1; 16], LinkStep::Hello, vec![2]).unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(Some(vec![2])));
}

#[tokio::test]
async fn mailboxes_are_limited_in_number_and_by_address() {
    let world = World::new().await;
    let outcome = (0_u64..300).find_map(|number| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        // From many places, so that only their number is in the way.
        let from = std::net::IpAddr::from([10, 0, (number / 100) as u8, 1]);
        world.service.link_put(from, id, LinkStep::Offer, vec![1]).err()
    });
    assert_eq!(outcome.unwrap().code, Code::Overloaded);
    let refused = (0..1000).find_map(|_| world.service.link_put(HERE, [0; 16], LinkStep::Offer, vec![1]).err());
    let refused = refused.unwrap();
    assert!(refused.code == Code::RateLimited && refused.retry_after.is_some(), "{refused}");
}
