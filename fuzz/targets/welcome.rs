//! What an envelope contains: the bundle with the Welcome.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openmls::prelude::MlsMessageIn;
use qpq_proto::content::WelcomeBundle;
use tls_codec::{DeserializeBytes as _, Serialize as _};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = WelcomeBundle::decode(bytes) {
        assert!(WelcomeBundle::decode(&bundle.encode()).is_ok_and(|again| again == bundle));
        let _ = bundle.signed_bytes();
        mls(&bundle.welcome);
    }
    mls(bytes);
});

fn mls(bytes: &[u8]) {
    if let Ok(message) = MlsMessageIn::tls_deserialize_exact_bytes(bytes) {
        let _ = message.tls_serialize_detached();
    }
}
