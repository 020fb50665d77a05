//! The server's side of OPAQUE (RFC 9807): two messages to register, three to log in.

use opaque_ke::rand::{self, CryptoRng, RngCore};
use opaque_ke::{
    CredentialFinalization, CredentialRequest, RegistrationRequest, RegistrationUpload, ServerLogin,
    ServerLoginParameters, ServerRegistration, ServerSetup,
};
use qpq_proto::account::UserName;
use qpq_proto::code::{Code, Refusal};
use qpq_trust::opaque::{OpaqueSuite, identifiers};

use crate::store::{Store, StoreError};

/// The server's long-term OPAQUE keys. Losing them makes every password useless.
pub struct OpaqueServer(ServerSetup<OpaqueSuite>);

/// A login between its first and its last message.
pub struct PendingLogin(ServerLogin<OpaqueSuite>);

impl OpaqueServer {
    /// Reads the keys from the store, which gets fresh ones the first time.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let fresh = ServerSetup::<OpaqueSuite>::new(&mut SystemRandom).serialize().to_vec();
        let stored = store.setting_or_insert("opaque_setup", fresh).await?;
        Self::decode(&stored)
    }

    /// The keys as they are stored.
    pub fn decode(stored: &[u8]) -> Result<Self, StoreError> {
        ServerSetup::deserialize(stored)
            .map(Self)
            .map_err(|_| StoreError::Internal("the stored OPAQUE setup is damaged".into()))
    }

    /// Answers a registration request.
    pub fn register(&self, name: &UserName, request: &[u8]) -> Result<Vec<u8>, Refusal> {
        let request = RegistrationRequest::<OpaqueSuite>::deserialize(request).map_err(|_| malformed())?;
        let started = ServerRegistration::<OpaqueSuite>::start(&self.0, request, name.as_str().as_bytes())
            .map_err(|_| malformed())?;
        Ok(started.message.serialize().to_vec())
    }

    /// The record to store, from the last message of a registration.
    pub fn record(upload: &[u8]) -> Result<Vec<u8>, Refusal> {
        let upload = RegistrationUpload::<OpaqueSuite>::deserialize(upload).map_err(|_| malformed())?;
        Ok(ServerRegistration::<OpaqueSuite>::finish(upload).serialize().to_vec())
    }

    /// Answers a login request; without a record the answer is a fake of the same size.
    pub fn login(
        &self,
        name: &UserName,
        record: Option<&[u8]>,
        request: &[u8],
    ) -> Result<(Vec<u8>, PendingLogin), Refusal> {
        let request = CredentialRequest::<OpaqueSuite>::deserialize(request).map_err(|_| malformed())?;
        let record = record
            .map(ServerRegistration::<OpaqueSuite>::deserialize)
            .transpose()
            .map_err(|_| super::refuse::internal("a stored OPAQUE record is damaged"))?;
        let started =
            ServerLogin::start(&mut SystemRandom, &self.0, record, request, name.as_str().as_bytes(), parameters(name))
                .map_err(|_| malformed())?;
        Ok((started.message.serialize().to_vec(), PendingLogin(started.state)))
    }
}

impl PendingLogin {
    /// Checks the last message. The only answer to a wrong password, and to a name that does not exist.
    pub fn finish(self, name: &UserName, finalization: &[u8]) -> Result<(), Refusal> {
        let wrong = || Refusal::new(Code::WrongCredentials, "wrong name or password");
        let finalization = CredentialFinalization::<OpaqueSuite>::deserialize(finalization).map_err(|_| wrong())?;
        self.0.finish(finalization, parameters(name)).map(|_| ()).map_err(|_| wrong())
    }
}

fn parameters(name: &UserName) -> ServerLoginParameters<'_, '_> {
    ServerLoginParameters { context: None, identifiers: identifiers(name.as_str()) }
}

fn malformed() -> Refusal {
    Refusal::new(Code::BadRequest, "not an OPAQUE message")
}

/// The operating system's random numbers, for the version of the traits that opaque-ke wants.
pub struct SystemRandom;

impl RngCore for SystemRandom {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system provides randomness");
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for SystemRandom {}
