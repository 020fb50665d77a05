//! What every run begins with: accounts that are registered and have their key packages on the server. Made once in a
//! process, because Argon2, ML-DSA and key generation cost more than a whole run.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use qpq_core::account::{Registering, generate};
use qpq_core::engine::{Effect, Engine, Input};
use qpq_core::store::memory::MemoryStore;
use qpq_core::store::rows::{AccountRow, Row as _};
use qpq_proto::time::Timestamp;
use qpq_server::service::Service;
use qpq_server::service::auth::DeviceProof;
use qpq_trust::proof;

use super::agenda::Agenda;
use super::calls::call;
use super::server::Server;
use super::tasks::at_once;

/// The server's database and everybody's device.
pub struct Template {
    /// When it was made, and virtual time begins: OpenMLS dates key packages by the real clock.
    pub now: Timestamp,
    pub database: Vec<u8>,
    pub people: Vec<Person>,
}

/// Somebody who was never online but to register.
pub struct Person {
    pub account: AccountRow,
    pub store: MemoryStore,
}

impl Template {
    /// The one of this process.
    pub fn shared() -> &'static Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        TEMPLATE.get_or_init(|| Self::make().expect("accounts can be registered"))
    }

    fn make() -> Result<Self> {
        let now = today();
        let mut server = Server::new(Agenda::new(now), &[])?;
        server.start(None)?;
        let service = server.running.as_ref().context("it was just started")?.service.clone();
        let mut accounts =
            NAMES.iter().map(|name| Ok(generate(&name.parse()?, "device")?)).collect::<Result<Vec<_>>>()?;
        // The engine looks at identities in the order of their ids, which are random: that order must not differ from
        // process to process.
        accounts.sort_by_key(|account| account.identity);
        let mut people = Vec::new();
        for (name, mut account) in NAMES.iter().zip(accounts) {
            account.name = name.parse()?;
            people.push(register(&service, account, now)?);
        }
        drop(service);
        server.running = None;
        Ok(Self { now, database: server.database()?, people })
    }
}

fn register(service: &std::sync::Arc<Service>, account: AccountRow, now: Timestamp) -> Result<Person> {
    let (started, first) = Registering::start(PASSWORD)?;
    let answer = at_once(service.register(HERE, account.name.clone(), "", &first)).context("a pause")?;
    let (response, in_progress) = answer?;
    let upload = started.finish(&account.name, PASSWORD, &response)?;
    let signature = prove(&account);
    let proof = DeviceProof { device: account.device, exporter: &EXPORTER, proof: &signature };
    let finished = service.finish_registration(in_progress, &upload, account.manifest.clone(), proof);
    let caller = at_once(finished).context("a pause")??;

    let (mut store, mut engine) = (MemoryStore::default(), Engine::new());
    account.save(&mut store)?;
    let effects = engine.handle(&mut store, now, Input::Connected(service.hello()))?;
    for effect in effects {
        if let Effect::Request { id, request } = effect {
            let result = at_once(call(service, &caller, request)).context("a pause")?;
            engine.handle(&mut store, now, Input::Reply { request: id, result })?;
        }
    }
    Ok(Person { account, store })
}

/// Proves the device on any of the connections here, which all have the same exporter value.
pub fn prove(account: &AccountRow) -> [u8; 64] {
    proof::sign(&account.device_key, &EXPORTER)
}

/// What a TLS connection would give.
pub const EXPORTER: [u8; 32] = [5; 32];
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PASSWORD: &[u8] = b"correct horse battery staple";
const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

fn today() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    Timestamp(u64::try_from(since_epoch.unwrap_or_default().as_millis()).unwrap_or(0))
}
