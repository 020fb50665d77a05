//! RFC 9807, appendix C, through our group, hash and key exchange. The vectors have no key stretching; ours is a function of its
//! own, whose standard (RFC 9106) has vectors in the argon2 crate.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use opaque_ke::rand::{CryptoRng, Error, RngCore};
use opaque_ke::{
    CipherSuite, ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialFinalization, CredentialRequest, CredentialResponse, Identifiers, RegistrationRequest,
    RegistrationResponse, RegistrationUpload, ServerLogin, ServerLoginParameters, ServerRegistration, ServerSetup,
};
use qpq_trust::opaque::OpaqueSuite;

/// Ours but for the stretching.
struct Unstretched;

impl CipherSuite for Unstretched {
    type OprfCs = <OpaqueSuite as CipherSuite>::OprfCs;
    type KeyExchange = <OpaqueSuite as CipherSuite>::KeyExchange;
    type Ksf = opaque_ke::ksf::Identity;
}

/// Random numbers that are none: these bytes, in this order, and not one more.
struct Given(Vec<u8>);

impl Given {
    fn new(parts: &[&[u8]]) -> Self {
        Self(parts.concat())
    }
}

impl RngCore for Given {
    fn next_u32(&mut self) -> u32 {
        panic!("only bytes are drawn")
    }

    fn next_u64(&mut self) -> u64 {
        panic!("only bytes are drawn")
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0[..out.len()]);
        self.0.drain(..out.len());
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Given {}

/// A scalar is drawn as 64 bytes and reduced; these reduce to the one that is wanted.
const ABOVE_A_SCALAR: [u8; 32] = [0; 32];

/// Name to value.
struct Vector(HashMap<String, Vec<u8>>);

impl Vector {
    fn all() -> Vec<(String, Self)> {
        let mut all: Vec<(String, Vec<(String, String)>)> = Vec::new();
        for line in include_str!("vectors/opaque-rfc9807.txt").lines() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
            } else if !line.starts_with(' ') {
                all.push((line.to_owned(), Vec::new()));
            } else if let Some((name, value)) = line.trim().split_once(": ") {
                all.last_mut().unwrap().1.push((name.to_owned(), value.to_owned()));
            } else {
                all.last_mut().unwrap().1.last_mut().unwrap().1.push_str(line.trim());
            }
        }
        let decoded = |values: Vec<(String, String)>| values.into_iter().map(|(name, hex)| (name, bytes(&hex)));
        all.into_iter().map(|(title, values)| (title, Self(decoded(values).collect()))).collect()
    }

    fn get(&self, name: &str) -> &[u8] {
        self.0.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn identifiers(&self) -> Identifiers<'_> {
        let value = |name| self.0.get(name).map(|value: &Vec<u8>| &value[..]);
        Identifiers { client: value("client_identity"), server: value("server_identity") }
    }

    /// The key of the fake records is not part of any vector: it is never used when there is a record.
    fn server_setup(&self) -> ServerSetup<Unstretched> {
        let any_key = self.get("server_public_key");
        ServerSetup::deserialize(&[self.get("oprf_seed"), self.get("server_private_key"), any_key].concat()).unwrap()
    }

    fn check(&self, name: &str, value: &[u8]) {
        assert_eq!(value, self.get(name), "{name}");
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn register(vector: &Vector) {
    let mut random = Given::new(&[vector.get("blind_registration"), &ABOVE_A_SCALAR]);
    let started = ClientRegistration::<Unstretched>::start(&mut random, vector.get("password")).unwrap();
    vector.check("registration_request", &started.message.serialize());
    let answer = ServerRegistration::start(
        &vector.server_setup(),
        RegistrationRequest::deserialize(vector.get("registration_request")).unwrap(),
        vector.get("credential_identifier"),
    )
    .unwrap();
    vector.check("registration_response", &answer.message.serialize());
    let finished = started
        .state
        .finish(
            &mut Given::new(&[vector.get("envelope_nonce")]),
            vector.get("password"),
            RegistrationResponse::deserialize(vector.get("registration_response")).unwrap(),
            ClientRegistrationFinishParameters::new(vector.identifiers(), None),
        )
        .unwrap();
    vector.check("registration_upload", &finished.message.serialize());
    vector.check("export_key", &finished.export_key);
}

/// The server's side of a login; the unused fake record is drawn first.
fn answer_login(vector: &Vector, record: &[u8]) -> ServerLogin<Unstretched> {
    let unused = [0; 64];
    let drawn =
        [&unused[..], vector.get("masking_nonce"), vector.get("server_keyshare_seed"), vector.get("server_nonce")];
    let record = ServerRegistration::finish(RegistrationUpload::<Unstretched>::deserialize(record).unwrap());
    let started = ServerLogin::start(
        &mut Given::new(&drawn),
        &vector.server_setup(),
        Some(record),
        CredentialRequest::deserialize(vector.get("KE1")).unwrap(),
        vector.get("credential_identifier"),
        ServerLoginParameters { context: Some(vector.get("Context")), identifiers: vector.identifiers() },
    )
    .unwrap();
    vector.check("KE2", &started.message.serialize());
    started.state
}

fn log_in(vector: &Vector) {
    let drawn =
        [vector.get("blind_login"), &ABOVE_A_SCALAR, vector.get("client_keyshare_seed"), vector.get("client_nonce")];
    let client = ClientLogin::<Unstretched>::start(&mut Given::new(&drawn), vector.get("password")).unwrap();
    vector.check("KE1", &client.message.serialize());
    let server = answer_login(vector, vector.get("registration_upload"));
    let finished = client
        .state
        .finish(
            &mut Given::new(&[]),
            vector.get("password"),
            CredentialResponse::deserialize(vector.get("KE2")).unwrap(),
            ClientLoginFinishParameters::new(Some(vector.get("Context")), vector.identifiers(), None),
        )
        .unwrap();
    vector.check("KE3", &finished.message.serialize());
    vector.check("session_key", &finished.session_key);
    vector.check("export_key", &finished.export_key);
    let parameters = ServerLoginParameters { context: Some(vector.get("Context")), identifiers: vector.identifiers() };
    let finalization = CredentialFinalization::deserialize(vector.get("KE3")).unwrap();
    vector.check("session_key", &server.finish(finalization, parameters).unwrap().session_key);
}

#[test]
fn the_protocol_gives_the_values_of_the_standard() {
    for (title, vector) in Vector::all() {
        println!("RFC 9807, {title}");
        match vector.0.contains_key("password") {
            true => {
                register(&vector);
                log_in(&vector);
            }
            // What an unknown user is answered with: a record of random keys with an empty envelope.
            false => {
                let record = [vector.get("client_public_key"), vector.get("masking_key"), &[0; 96]].concat();
                answer_login(&vector, &record);
            }
        }
    }
}
