//! Device manifests as they are signed and stored. What they mean is decided in `qpq-trust`.

use capnp::message::TypedBuilder;
use serde::{Deserialize, Serialize};

use crate::generated::keys_capnp;
use crate::ids::DeviceId;
use crate::limits;
use crate::read::{self, Malformed};

/// The newest format of [`ManifestBody`].
pub const MANIFEST_FORMAT: u16 = 1;
/// Length of an ML-DSA-65 public key (FIPS 204).
pub const ML_DSA_65_PUBLIC: usize = 1952;
/// Length of an ML-DSA-65 signature (FIPS 204).
pub const ML_DSA_65_SIGNATURE: usize = 3309;
/// Length of an X-Wing public key (draft-connolly-cfrg-xwing-kem).
pub const X_WING_PUBLIC: usize = 1216;

/// One device in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Ed25519; also the key of the device's MLS leaves.
    pub signature_key: [u8; 32],
    /// X-Wing, [`X_WING_PUBLIC`] bytes.
    #[serde(with = "serde_bytes")]
    pub envelope_key: Vec<u8>,
    pub name: String,
}

impl DeviceRecord {
    pub(crate) fn read(reader: keys_capnp::device::Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            signature_key: read::array("device.signatureKey", reader.get_signature_key())?,
            envelope_key: read::array::<X_WING_PUBLIC>("device.envelopeKey", reader.get_envelope_key())?.to_vec(),
            name: read::text("device.name", reader.get_name(), limits::DEVICE_NAME)?,
        })
    }

    pub(crate) fn write(&self, mut builder: keys_capnp::device::Builder<'_>) {
        builder.set_signature_key(&self.signature_key);
        builder.set_envelope_key(&self.envelope_key);
        builder.set_name(&self.name[..]);
    }
}

/// What the identity keys sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestBody {
    pub version: u64,
    /// SHA-256 of the encoded `SignedManifest` before; none for version 1.
    pub previous: Option<[u8; 32]>,
    pub ed25519: [u8; 32],
    /// [`ML_DSA_65_PUBLIC`] bytes.
    pub ml_dsa_65: Vec<u8>,
    pub devices: Vec<DeviceRecord>,
    /// Devices that earlier manifests listed, the newest last: what they said before they were unlinked stays said.
    pub former: Vec<DeviceId>,
}

impl ManifestBody {
    /// The bytes that are signed.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = TypedBuilder::<keys_capnp::manifest_body::Owned>::new_default();
        let mut builder = message.init_root();
        builder.set_format(MANIFEST_FORMAT);
        builder.set_version(self.version);
        builder.set_previous(self.previous.as_ref().map_or(&[][..], |hash| &hash[..]));
        builder.set_ed25519(&self.ed25519);
        builder.set_ml_dsa65(&self.ml_dsa_65);
        let mut devices = builder.reborrow().init_devices(self.devices.len() as u32);
        for (index, device) in self.devices.iter().enumerate() {
            device.write(devices.reborrow().get(index as u32));
        }
        if !self.former.is_empty() {
            let mut former = builder.init_former(self.former.len() as u32);
            self.former.iter().enumerate().for_each(|(index, device)| former.set(index as u32, &device.0));
        }
        read::to_bytes(&message)
    }

    /// Decodes what was signed; check the signatures first.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = read::from_bytes::<keys_capnp::manifest_body::Owned>(bytes)?;
        let reader = message.get()?;
        read::format("manifest.format", reader.get_format(), MANIFEST_FORMAT)?;
        let list = reader.get_devices()?;
        read::count("manifest.devices", list.len(), limits::DEVICES)?;
        let devices = list.iter().map(DeviceRecord::read).collect::<Result<_, _>>()?;
        let list = reader.get_former()?;
        read::count("manifest.former", list.len(), limits::FORMER_DEVICES)?;
        let former =
            list.iter().map(|id| read::array("manifest.former", id).map(DeviceId)).collect::<Result<_, _>>()?;
        Ok(Self {
            version: reader.get_version(),
            previous: read::optional_array("manifest.previous", reader.get_previous())?,
            ed25519: read::array("manifest.ed25519", reader.get_ed25519())?,
            ml_dsa_65: read::array::<ML_DSA_65_PUBLIC>("manifest.mlDsa65", reader.get_ml_dsa65())?.to_vec(),
            devices,
            former,
        })
    }
}

/// A manifest with both signatures, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedManifest {
    /// An encoded [`ManifestBody`].
    pub body: Vec<u8>,
    pub ed25519: [u8; 64],
    /// [`ML_DSA_65_SIGNATURE`] bytes.
    pub ml_dsa_65: Vec<u8>,
}

impl SignedManifest {
    /// The bytes that travel and are stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = TypedBuilder::<keys_capnp::signed_manifest::Owned>::new_default();
        let mut builder = message.init_root();
        builder.set_body(&self.body);
        builder.set_ed25519(&self.ed25519);
        builder.set_ml_dsa65(&self.ml_dsa_65);
        read::to_bytes(&message)
    }

    /// Decodes the outer structure only.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = read::from_bytes::<keys_capnp::signed_manifest::Owned>(bytes)?;
        let reader = message.get()?;
        Ok(Self {
            body: read::some_bytes("manifest.body", reader.get_body(), limits::MANIFEST)?,
            ed25519: read::array("manifest.ed25519", reader.get_ed25519())?,
            ml_dsa_65: read::array::<ML_DSA_65_SIGNATURE>("manifest.mlDsa65", reader.get_ml_dsa65())?.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_the_wire() {
        let body = ManifestBody {
            version: 3,
            previous: Some([9; 32]),
            ed25519: [1; 32],
            ml_dsa_65: vec![2; ML_DSA_65_PUBLIC],
            devices: vec![DeviceRecord {
                signature_key: [3; 32],
                envelope_key: vec![4; X_WING_PUBLIC],
                name: "laptop".into(),
            }],
            former: vec![DeviceId([5; 16])],
        };
        assert_eq!(ManifestBody::decode(&body.encode()), Ok(body.clone()));
        let signed = SignedManifest { body: body.encode(), ed25519: [5; 64], ml_dsa_65: vec![6; ML_DSA_65_SIGNATURE] };
        assert_eq!(SignedManifest::decode(&signed.encode()), Ok(signed));
    }

    #[test]
    fn cut_or_padded_bytes_are_refused() {
        let signed = SignedManifest { body: vec![1], ed25519: [5; 64], ml_dsa_65: vec![6; ML_DSA_65_SIGNATURE] };
        let bytes = signed.encode();
        assert!(SignedManifest::decode(&bytes[..bytes.len() - 8]).is_err());
        assert!(SignedManifest::decode(&[&bytes[..], &[0; 8]].concat()).is_err());
        assert!(SignedManifest::decode(&[]).is_err());
    }
}
