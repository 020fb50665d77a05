//! OPAQUE's messages, from either side: read back, they are what they were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opaque_ke::{
    CredentialFinalization, CredentialRequest, CredentialResponse, RegistrationRequest, RegistrationResponse,
    RegistrationUpload, ServerRegistration, ServerSetup,
};
use qpq_trust::opaque::OpaqueSuite;

macro_rules! check {
    ($kind:ty, $bytes:expr) => {
        if let Ok(read) = <$kind>::deserialize($bytes) {
            // opaque-ke does not mind what follows after a message's end.
            assert!($bytes.starts_with(&read.serialize()));
        }
    };
}

fuzz_target!(|bytes: &[u8]| {
    check!(RegistrationRequest<OpaqueSuite>, bytes);
    check!(RegistrationResponse<OpaqueSuite>, bytes);
    check!(RegistrationUpload<OpaqueSuite>, bytes);
    check!(CredentialRequest<OpaqueSuite>, bytes);
    check!(CredentialResponse<OpaqueSuite>, bytes);
    check!(CredentialFinalization<OpaqueSuite>, bytes);
    check!(ServerRegistration<OpaqueSuite>, bytes);
    let _ = ServerSetup::<OpaqueSuite>::deserialize(bytes);
});
