//! What has happened before the engine under test meets its strange server: real groups, real logs, real answers.

use qpq_core::engine::{Command, Engine, Input};
use qpq_core::request::{Reply, Request};
use qpq_core::store::memory::MemoryStore;
use qpq_core::store::rows::WishKind;
use qpq_core::view::ConversationId;
use qpq_proto::account::ServerHello;
use qpq_proto::code::Refusal;
use qpq_proto::ids::{DeviceId, IdentityId, Seq};
use qpq_proto::stream::{Entry, LogId};

use crate::world::World;

/// Bob, at several points of his life, and everything that lies on the server for him.
pub struct History {
    world: World,
    pub bob: DeviceId,
    pub others: Vec<IdentityId>,
    /// Newly registered; with a group and a direct conversation, and much that he has missed; up to date.
    pub states: Vec<MemoryStore>,
    pub logs: Vec<(LogId, Vec<Entry>)>,
    pub conversations: Vec<ConversationId>,
}

impl History {
    pub fn new() -> Self {
        let mut world = World::new(1, &["alice", "bob", "carol", "dave"]);
        let mut states = vec![world.nodes[1].store.clone()];
        let identities: Vec<_> = world.nodes.iter().map(|node| node.identity).collect();
        let (alice, dave) = (identities[0], identities[3]);
        world.command(0, Command::Direct(identities[1]));
        world.send(0, ConversationId::Direct(identities[1]), "hello");
        let group = world.create_group(0, "plans", &[1, 2]);
        world.quiesce();
        world.send(1, group, "mine");
        world.send(1, ConversationId::Direct(alice), "hello yourself");
        world.quiesce();

        world.disconnect(1);
        states.push(world.nodes[1].store.clone());
        world.send(0, group, "missed");
        world.change(0, group, WishKind::Rename { name: "better plans".into() });
        world.change(0, group, WishKind::Add { who: vec![dave] });
        world.quiesce();
        world.change(0, group, WishKind::SetAdmin { who: dave, is_admin: true });
        world.change(3, group, WishKind::UpdateKey);
        world.quiesce();
        world.send(3, group, "also missed");
        world.change(2, group, WishKind::Leave);
        world.quiesce();
        world.change(0, group, WishKind::Remove { who: identities[1] });
        world.quiesce();
        world.change(0, group, WishKind::Add { who: vec![identities[1]] });
        world.send(0, group, "welcome back");
        world.quiesce();
        let bob = world.delivery.accounts[1].2;
        let ids: Vec<_> = world.delivery.groups.keys().copied().collect();
        let logs = ids.into_iter().map(LogId::Group).chain([LogId::Inbox]);
        let logs = logs.map(|log| (log, world.delivery.read(bob, log, Seq(0)))).collect();
        world.connect(1);
        world.quiesce();
        states.push(world.nodes[1].store.clone());
        let conversations = vec![group, ConversationId::Direct(alice), ConversationId::Direct(identities[1])];
        Self { world, bob, others: identities, states, logs, conversations }
    }

    /// What an honest server answers, where answering changes nothing on it.
    pub fn answer(&mut self, request: &Request) -> Option<Result<Reply, Refusal>> {
        match request {
            Request::ByName(_)
            | Request::ByIdentity(_)
            | Request::Tree { .. }
            | Request::RejoinInfo(_)
            | Request::Memberships
            | Request::Claim { .. } => Some(self.world.delivery.call(self.bob, request.clone())),
            Request::PublishKeys { .. }
            | Request::Create(_)
            | Request::Commit { .. }
            | Request::Post { .. }
            | Request::UpdateManifest(_)
            | Request::Leave { .. } => None,
        }
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

/// An engine that has just begun on a copy of a store, connected.
pub fn wake_up(store: &mut MemoryStore, now: qpq_proto::time::Timestamp) -> (Engine, Vec<qpq_core::Effect>) {
    let mut engine = Engine::new();
    let effects = engine.handle(
        store,
        now,
        Input::Connected(ServerHello { protocol: 1, domain: "test".into(), software: String::new(), incarnation: 1, now: qpq_proto::time::Timestamp(0) }),
    );
    (engine, effects.expect("a store that was written by an engine is readable"))
}
