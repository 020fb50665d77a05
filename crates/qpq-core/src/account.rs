//! Making an account, and the client's side of OPAQUE (RFC 9807) as states that are consumed step by step.

use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, RegistrationResponse,
};
use qpq_proto::account::UserName;
use qpq_proto::keys::DeviceRecord;
use qpq_trust::identity::{IdentityKeys, device_id};
use qpq_trust::opaque::{OpaqueSuite, Stretch, identifiers};
use rand_opaque::OsRng;

use crate::crypto::envelope::EnvelopeKey;
use crate::error::Error;
use crate::store::rows::AccountRow;

/// A fresh identity with this device as its only one.
///
/// # Errors
/// Without random numbers.
pub fn generate(name: &UserName, device_name: &str) -> Result<AccountRow, Error> {
    let identity_keys = IdentityKeys::generate()?;
    let (mut device_key, mut envelope_key) = ([0; 32], [0; 32]);
    getrandom::fill(&mut device_key)?;
    getrandom::fill(&mut envelope_key)?;
    let signature_key = ed25519_dalek::SigningKey::from_bytes(&device_key).verifying_key().to_bytes();
    let record = DeviceRecord {
        signature_key,
        envelope_key: EnvelopeKey::from_seed(&envelope_key).public(),
        name: device_name.to_owned(),
    };
    Ok(AccountRow {
        name: name.clone(),
        identity: identity_keys.public().id(),
        device: device_id(&signature_key),
        manifest: identity_keys.sign_manifest(1, None, vec![record]).encode(),
        identity_keys: identity_keys.to_bytes().to_vec(),
        device_key,
        envelope_key,
        registered: false,
        domain: String::new(),
        incarnation: 0,
        keys_published: None,
    })
}

/// Registration: first message sent.
pub struct Registering {
    state: ClientRegistration<OpaqueSuite>,
}

impl Registering {
    /// Blinds the password; the bytes are the first message.
    pub fn start(password: &[u8]) -> Result<(Self, Vec<u8>), OpaqueError> {
        let started = ClientRegistration::<OpaqueSuite>::start(&mut OsRng, password).map_err(|_| OpaqueError)?;
        Ok((Self { state: started.state }, started.message.serialize().to_vec()))
    }

    /// Stretches the password; the bytes are the record that the server keeps.
    pub fn finish(self, name: &UserName, password: &[u8], response: &[u8]) -> Result<Vec<u8>, OpaqueError> {
        let response = RegistrationResponse::deserialize(response).map_err(|_| OpaqueError)?;
        let parameters = ClientRegistrationFinishParameters::new(identifiers(name.as_str()), Some(&Stretch));
        let finished = self.state.finish(&mut OsRng, password, response, parameters).map_err(|_| OpaqueError)?;
        Ok(finished.message.serialize().to_vec())
    }
}

/// Login: first message sent.
pub struct LoggingIn {
    state: ClientLogin<OpaqueSuite>,
}

impl LoggingIn {
    /// Blinds the password; the bytes are the first message.
    pub fn start(password: &[u8]) -> Result<(Self, Vec<u8>), OpaqueError> {
        let started = ClientLogin::<OpaqueSuite>::start(&mut OsRng, password).map_err(|_| OpaqueError)?;
        Ok((Self { state: started.state }, started.message.serialize().to_vec()))
    }

    /// Fails for a wrong password, and likewise for a user whom the server does not know.
    pub fn finish(self, name: &UserName, password: &[u8], response: &[u8]) -> Result<Vec<u8>, OpaqueError> {
        let response = CredentialResponse::deserialize(response).map_err(|_| OpaqueError)?;
        let parameters = ClientLoginFinishParameters::new(None, identifiers(name.as_str()), Some(&Stretch));
        let finished = self.state.finish(&mut OsRng, password, response, parameters).map_err(|_| OpaqueError)?;
        Ok(finished.message.serialize().to_vec())
    }
}

/// The protocol failed: wrong password, unknown user, or a server that does not follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrong password or unknown user")]
pub struct OpaqueError;
