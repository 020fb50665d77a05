//! Making an account, and the client's side of OPAQUE (RFC 9807) as states that are consumed step by step.

use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, RegistrationResponse,
};
use qpq_proto::account::UserName;
use qpq_proto::ids::DeviceId;
use qpq_proto::keys::DeviceRecord;
use qpq_trust::identity::{IdentityKeys, device_id};
use qpq_trust::manifest::Manifest;
use qpq_trust::opaque::{OpaqueSuite, Stretch, identifiers};
use rand_opaque::OsRng;
use zeroize::Zeroizing;

use crate::crypto::envelope::EnvelopeKey;
use crate::error::Error;
use crate::store::rows::AccountRow;

/// A fresh identity with this device as its only one.
///
/// # Errors
/// Without random numbers.
pub fn generate(name: &UserName, device_name: &str) -> Result<AccountRow, Error> {
    let keys = IdentityKeys::generate()?;
    let secrets = DeviceSecrets::generate(device_name)?;
    let manifest = keys.sign_manifest(1, None, vec![secrets.record.clone()]).encode();
    let account = secrets.account(name.clone(), &keys, &Manifest::verify(&manifest)?, "");
    Ok(AccountRow { registered: false, ..account })
}

/// An identity whose keys the recovery phrase has brought back, with this device in the place of all others.
///
/// # Errors
/// The server's manifest is not this identity's, or there are no random numbers.
pub fn recover(
    name: &UserName,
    identity_keys: &[u8; 64],
    newest: &[u8],
    device_name: &str,
) -> Result<AccountRow, Error> {
    let keys = IdentityKeys::from_bytes(identity_keys);
    let known = Manifest::verify(newest)?;
    if known.identity() != keys.public().id() {
        return Err(Error::BadInput("the server offers the devices of another identity; nothing was recovered".into()));
    }
    let secrets = DeviceSecrets::generate(device_name)?;
    let next = keys.sign_successor(&known, vec![secrets.record.clone()]).encode();
    Ok(secrets.account(name.clone(), &keys, &Manifest::verify(&next)?, ""))
}

/// The keys of a device that nobody lists yet.
pub struct DeviceSecrets {
    pub record: DeviceRecord,
    device_key: Zeroizing<[u8; 32]>,
    envelope_key: Zeroizing<[u8; 32]>,
}

impl DeviceSecrets {
    /// Fresh ones.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn generate(name: &str) -> Result<Self, Error> {
        let (mut device_key, mut envelope_key) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        getrandom::fill(&mut device_key[..])?;
        getrandom::fill(&mut envelope_key[..])?;
        let record = DeviceRecord {
            signature_key: ed25519_dalek::SigningKey::from_bytes(&device_key).verifying_key().to_bytes(),
            envelope_key: EnvelopeKey::from_seed(&envelope_key).public(),
            name: name.to_owned(),
        };
        Ok(Self { record, device_key, envelope_key })
    }

    /// The device's id.
    pub fn id(&self) -> DeviceId {
        device_id(&self.record.signature_key)
    }

    /// The key that envelopes to it are opened with.
    pub fn envelope(&self) -> EnvelopeKey {
        EnvelopeKey::from_seed(&self.envelope_key)
    }

    /// The account of this device, which the manifest lists.
    pub fn account(&self, name: UserName, keys: &IdentityKeys, manifest: &Manifest, domain: &str) -> AccountRow {
        AccountRow {
            name,
            identity: manifest.identity(),
            device: self.id(),
            identity_keys: keys.to_bytes().to_vec(),
            device_key: *self.device_key,
            envelope_key: *self.envelope_key,
            manifest: manifest.encoded().to_vec(),
            registered: true,
            domain: domain.to_owned(),
            incarnation: 0,
            keys_published: None,
        }
    }
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
