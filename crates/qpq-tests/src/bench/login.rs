//! A login with the password (OPAQUE, RFC 9807): the server's work, without the stretching that is the client's.

use anyhow::{Result, anyhow, bail};
use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, ServerLogin, ServerLoginParameters, ServerRegistration, ServerSetup,
};
use qpq_io::rpc::connect::ServerAddress;
use qpq_proto::generated::gateway_capnp::{gateway, login_reply};
use qpq_trust::opaque::identifiers;
use qpq_trust::proof;
use rand_opaque::OsRng;
use tempfile::tempdir;

use super::probe::{Cpu, thread_seconds};
use super::session::{Unstretched, block_on, gateway, register};
use super::{Figure, Measured, Target, median};
use crate::world::Server;

/// Several logins over each connection, which is a session after the first one: the handshake is another scenario.
pub fn run() -> Result<Measured> {
    let data = tempdir()?;
    let server = Server::start_with(data.path(), "127.0.0.1:0", super::post::GENEROUS)?;
    block_on(async {
        let address: ServerAddress = server.address.parse()?;
        let account = register(&address, NAME).await?.account;
        let bare = Bare::new()?;
        let (mut ours, mut alone, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut gateways = Vec::new();
            for _ in 0..IN_A_ROUND / ON_A_CONNECTION {
                gateways.push(gateway(&address).await?);
            }
            let cpu = Cpu::start(server.pid())?;
            for (connection, gateway) in &gateways {
                let proof = proof::sign(&account.device_key, &connection.exporter());
                for _ in 0..ON_A_CONNECTION {
                    log_in(gateway, &account.device.0, &proof).await?;
                }
            }
            let (micros, _) = cpu.micros_each(f64::from(IN_A_ROUND))?;
            let limit = bare.micros()?;
            ours.push(micros);
            alone.push(limit);
            ratios.push(micros / limit);
        }
        let (ours, alone) = (median(&mut ours), median(&mut alone));
        Ok(vec![Figure {
            name: "login: server CPU".into(),
            measured: format!("{ours:.0} µs"),
            limit: format!("{alone:.0} µs of opaque-ke alone"),
            ratio: median(&mut ratios),
            target: Target::AtMost(1.2),
        }]
        .into())
    })
}

/// Both calls. All but the first are refused at their very end, since the connection is a session already.
async fn log_in(gateway: &gateway::Client, device: &[u8; 16], proof: &[u8; 64]) -> Result<()> {
    let started = ClientLogin::<Unstretched>::start(&mut OsRng, PASSWORD).map_err(failed)?;
    let mut request = gateway.login_request();
    request.get().set_name(NAME);
    request.get().set_opaque(&started.message.serialize());
    let response = request.send().promise.await?;
    let login_reply::Ok(ok) = response.get()?.get_reply()?.which()? else { bail!("the login was refused") };
    let answer = CredentialResponse::deserialize(ok.get_opaque()?).map_err(failed)?;
    let parameters = ClientLoginFinishParameters::new(None, identifiers(NAME), None);
    let finished = started.state.finish(&mut OsRng, PASSWORD, answer, parameters).map_err(failed)?;
    let mut request = ok.get_next()?.finish_request();
    request.get().set_opaque(&finished.message.serialize());
    request.get().set_device(device);
    request.get().set_proof(proof);
    request.send().promise.await?;
    Ok(())
}

/// opaque-ke without a server around it.
struct Bare {
    setup: ServerSetup<Unstretched>,
    record: ServerRegistration<Unstretched>,
}

impl Bare {
    fn new() -> Result<Self> {
        let setup = ServerSetup::new(&mut OsRng);
        let started = ClientRegistration::<Unstretched>::start(&mut OsRng, PASSWORD).map_err(failed)?;
        let answer = ServerRegistration::start(&setup, started.message, NAME.as_bytes()).map_err(failed)?;
        let parameters = ClientRegistrationFinishParameters::new(identifiers(NAME), None);
        let finished = started.state.finish(&mut OsRng, PASSWORD, answer.message, parameters).map_err(failed)?;
        Ok(Self { setup, record: ServerRegistration::finish(finished.message) })
    }

    /// The server's part of a login.
    fn micros(&self) -> Result<f64> {
        let parameters = || ServerLoginParameters { context: None, identifiers: identifiers(NAME) };
        let mut seconds = 0.0;
        for _ in 0..IN_A_ROUND {
            let client = ClientLogin::<Unstretched>::start(&mut OsRng, PASSWORD).map_err(failed)?;
            let begin = thread_seconds();
            let record = Some(self.record.clone());
            let name = NAME.as_bytes();
            let started = ServerLogin::start(&mut OsRng, &self.setup, record, client.message, name, parameters());
            let started = started.map_err(failed)?;
            seconds += thread_seconds() - begin;
            let finish = ClientLoginFinishParameters::new(None, identifiers(NAME), None);
            let finished = client.state.finish(&mut OsRng, PASSWORD, started.message, finish).map_err(failed)?;
            let begin = thread_seconds();
            started.state.finish(finished.message, parameters()).map_err(failed)?;
            seconds += thread_seconds() - begin;
        }
        Ok(seconds * 1e6 / f64::from(IN_A_ROUND))
    }
}

fn failed(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("OPAQUE: {error:?}")
}

const NAME: &str = "somebody";
const PASSWORD: &[u8] = b"password";
const ROUNDS: u32 = 5;
const IN_A_ROUND: u32 = 900;
/// Fewer than the refusals after which the server ends a connection.
const ON_A_CONNECTION: u32 = 15;
