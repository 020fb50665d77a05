//! Whispers: signs that somebody is typing, for those who are online. Sealed under an exporter of the epoch and signed by the
//! device, apart from the ratchet of MLS: what may be lost must not move it, and costs no write on either side.

use qpq_proto::ids::{DeviceId, Epoch, GroupId};
use qpq_proto::time::Timestamp;

use super::Unopenable;

/// The exporter label of the key (RFC 9420, section 8.5).
pub const EXPORTER_LABEL: &str = "quicproquo whisper 1";

/// Who whispers, and when, by the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whisper {
    pub group: GroupId,
    pub epoch: Epoch,
    pub device: DeviceId,
    pub at: Timestamp,
}

impl Whisper {
    /// Seals it; `sign` signs as the device.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn seal(&self, key: &[u8; 32], sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Result<Vec<u8>, getrandom::Error> {
        let signature = sign(&self.signed_bytes());
        let at = self.at.0.to_be_bytes();
        super::seal(key, &aad(self.group), &[&[FORMAT], &self.device.0[..], &at, &signature].concat())
    }

    /// Opens one of this epoch. Whose it is has to be checked with `is_signed` over [`Self::signed_bytes`].
    ///
    /// # Errors
    /// [`Unopenable`]: another key, or nonsense.
    pub fn open(key: &[u8; 32], group: GroupId, epoch: Epoch, sealed: &[u8]) -> Result<(Self, [u8; 64]), Unopenable> {
        let plain = super::open(key, &aad(group), sealed)?;
        let rest = plain.strip_prefix(&[FORMAT]).ok_or(Unopenable)?;
        let (device, rest) = rest.split_first_chunk::<16>().ok_or(Unopenable)?;
        let (at, signature) = rest.split_first_chunk::<8>().ok_or(Unopenable)?;
        let whisper = Self { group, epoch, device: DeviceId(*device), at: Timestamp(u64::from_be_bytes(*at)) };
        Ok((whisper, signature.try_into().map_err(|_| Unopenable)?))
    }

    /// What the device signs: neither another member nor the server can use it again later, or elsewhere.
    pub fn signed_bytes(&self) -> Vec<u8> {
        [DOMAIN, &self.group.0, &self.epoch.0.to_be_bytes(), &self.device.0, &self.at.0.to_be_bytes()].concat()
    }
}

fn aad(group: GroupId) -> Vec<u8> {
    [DOMAIN, &group.0].concat()
}

const DOMAIN: &[u8] = b"quicproquo typing 1\0";
const FORMAT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whisper_is_of_its_group_and_epoch_and_moment() {
        let (key, group) = ([1; 32], GroupId([2; 16]));
        let whisper = Whisper { group, epoch: Epoch(3), device: DeviceId([4; 16]), at: Timestamp(5) };
        let sealed = whisper.seal(&key, |_| [6; 64]).expect("random numbers");
        assert!(sealed.len() <= qpq_proto::limits::WHISPER);
        assert_eq!(Whisper::open(&key, group, Epoch(3), &sealed), Ok((whisper, [6; 64])));
        assert!(Whisper::open(&[9; 32], group, Epoch(3), &sealed).is_err());
        assert!(Whisper::open(&key, GroupId([9; 16]), Epoch(3), &sealed).is_err());
        let others = [
            Whisper { group: GroupId([9; 16]), ..whisper },
            Whisper { epoch: Epoch(4), ..whisper },
            Whisper { device: DeviceId([9; 16]), ..whisper },
            Whisper { at: Timestamp(6), ..whisper },
        ];
        assert!(others.iter().all(|other| other.signed_bytes() != whisper.signed_bytes()));
        assert!(Whisper::open(&key, group, Epoch(3), &sealed[..40]).is_err());
    }
}
