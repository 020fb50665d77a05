//! Device manifests: any bytes, and manifests of a real identity whose content or encoding is strange.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use qpq_fuzz::edits::Edits;
use qpq_proto::keys::{DeviceRecord, ManifestBody, SignedManifest, X_WING_PUBLIC};
use qpq_trust::identity::IdentityKeys;
use qpq_trust::manifest::Manifest;

static KEYS: LazyLock<IdentityKeys> = LazyLock::new(|| IdentityKeys::from_bytes(&[5; 64]));

#[derive(Arbitrary, Debug)]
enum Input {
    Raw(Vec<u8>),
    Signed { version: u64, previous: Option<[u8; 32]>, devices: Vec<([u8; 32], String)>, edits: Option<Edits> },
}

fuzz_target!(|input: Input| match input {
    Input::Raw(bytes) => {
        if let Ok(body) = ManifestBody::decode(&bytes) {
            assert_eq!(ManifestBody::decode(&body.encode()), Ok(body));
        }
        if let Ok(signed) = SignedManifest::decode(&bytes) {
            assert_eq!(SignedManifest::decode(&signed.encode()), Ok(signed));
        }
        assert!(Manifest::verify(&bytes).is_err());
    }
    Input::Signed { version, previous, devices, edits } => {
        let devices = devices.into_iter().map(|(signature_key, name)| DeviceRecord {
            signature_key,
            envelope_key: vec![1; X_WING_PUBLIC],
            name,
        });
        let encoded = KEYS.sign_manifest(version, previous, devices.collect()).encode();
        let verified = Manifest::verify(&encoded);
        if let Ok(manifest) = &verified {
            assert!(manifest.version() == version && version > 0 && !manifest.devices().is_empty());
            assert_eq!(manifest.check_succeeds(manifest), Ok(()));
        }
        if let Some(edits) = edits
            && let Ok(manifest) = Manifest::verify(&edits.apply(&encoded))
        {
            // Another encoding of the same content, at most: the signatures are over the body's bytes.
            assert!(verified.is_ok_and(|original| original.devices() == manifest.devices()));
        }
    }
});
