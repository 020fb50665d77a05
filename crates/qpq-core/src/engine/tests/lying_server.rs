//! A server that swaps identities, manifests or key packages is caught.

use qpq_proto::account::Account;

use super::delivery::name;
use super::world::World;
use crate::account::generate;
use crate::engine::{Command, Query};
use crate::view::{ConversationId, EventKind};

#[test]
fn another_identity_behind_a_pinned_name_is_noticed() {
    let mut world = World::new(1, &["alice", "bob"]);
    let bob = world.nodes[1].identity;
    world.command(0, Command::Direct(bob));
    world.send(0, ConversationId::Direct(bob), "before");
    world.quiesce();

    let mallory = generate(&name("bob"), "device").unwrap();
    world.delivery.accounts[1].0 = Account { name: name("bob"), manifest: mallory.manifest };
    world.command(0, Command::LookUp(name("bob")));
    world.quiesce();

    let query = Query::new(&mut world.nodes[0].store);
    let pinned = query.pinned(&name("bob")).unwrap().unwrap();
    assert_eq!(pinned.identity, bob, "the pin stays until the user decides");
    assert_eq!(pinned.replaced_by, Some(mallory.identity));
    let changed = |event: &crate::view::Event| matches!(event.kind, EventKind::KeyChanged { .. });
    assert_eq!(world.events(0).iter().filter(|event| changed(event)).count(), 1);
    // Asking again is not another change.
    world.command(0, Command::LookUp(name("bob")));
    world.quiesce();
    assert_eq!(world.events(0).iter().filter(|event| changed(event)).count(), 1);
}

#[test]
fn a_manifest_that_does_not_verify_is_not_believed() {
    let mut world = World::new(2, &["alice", "bob"]);
    let mut manifest = world.delivery.accounts[1].0.manifest.clone();
    let last = manifest.len() - 1;
    manifest[last - 100] ^= 1;
    world.delivery.accounts[1].0.manifest = manifest;
    world.command(0, Command::LookUp(name("bob")));
    world.quiesce();
    let query = Query::new(&mut world.nodes[0].store);
    assert_eq!(query.pinned(&name("bob")).unwrap().unwrap().replaced_by, None);
}

#[test]
fn a_swapped_key_package_adds_nobody() {
    let mut world = World::new(3, &["alice", "bob", "mallory"]);
    let bob = world.nodes[1].identity;
    // The server hands out Mallory's key packages for Bob.
    world.delivery.swap_packages(1, 2);
    world.command(0, Command::Direct(bob));
    world.send(0, ConversationId::Direct(bob), "secret");
    world.quiesce();
    assert!(world.delivery.groups.is_empty());
    assert!(world.texts(1).is_empty() && world.texts(2).is_empty());
    let refused = |event: &crate::view::Event| matches!(event.kind, EventKind::NotSent { .. });
    assert!(world.events(0).iter().any(refused));
}
