//! The OPAQUE configuration (RFC 9807): ristretto255-SHA512, 3DH, Argon2id.

use argon2::{Algorithm, Argon2, Params, Version};
use opaque_ke::errors::InternalError;
use opaque_ke::generic_array::{ArrayLength, GenericArray};
use opaque_ke::{Ristretto255, TripleDh};
use sha2_opaque::Sha512;

/// What both ends instantiate opaque-ke with.
pub struct OpaqueSuite;

impl opaque_ke::CipherSuite for OpaqueSuite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, Sha512>;
    type Ksf = Stretch;
}

/// Argon2id with 64 MiB and three passes (RFC 9106, the second recommended choice, on one lane). Runs on the client.
#[derive(Default)]
pub struct Stretch;

impl opaque_ke::ksf::Ksf for Stretch {
    fn hash<L: ArrayLength<u8>>(&self, input: GenericArray<u8, L>) -> Result<GenericArray<u8, L>, InternalError> {
        let params = Params::new(64 * 1024, 3, 1, Some(L::USIZE)).map_err(|_| InternalError::KsfError)?;
        let mut output = GenericArray::default();
        // RFC 9807 section 10.9: the salt is all zeros, the OPRF output already is unique to the user.
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&input, &[0; 16], &mut output)
            .map_err(|_| InternalError::KsfError)?;
        Ok(output)
    }
}

/// The identifiers that go into the OPAQUE transcript: the user's name, and nothing for the server, whose TLS
/// certificate may be renewed.
pub fn identifiers(name: &str) -> opaque_ke::Identifiers<'_> {
    opaque_ke::Identifiers { client: Some(name.as_bytes()), server: None }
}
