//! Whispers: signs that somebody is typing, for those who are online. Sealed under an exporter of the epoch and signed by the
//! device, apart from the ratchet of MLS: what may be lost must not move it, and costs no write on either side.

use qpq_proto::ids::{DeviceId, GroupId};

use super::Unopenable;

/// The exporter label of the key (RFC 9420, section 8.5).
pub const EXPORTER_LABEL: &str = "quicproquo whisper 1";

/// The whisper of a device that its user is typing.
pub fn seal(
    key: &[u8; 32],
    group: GroupId,
    device: DeviceId,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Result<Vec<u8>, getrandom::Error> {
    let signature = sign(&signed_bytes(group, device));
    super::seal(key, &[DOMAIN, &group.0].concat(), &[&[FORMAT], &device.0[..], &signature].concat())
}

/// Whose it is; `verify` is asked whether the signature over the bytes is that device's.
pub fn open(
    key: &[u8; 32],
    group: GroupId,
    sealed: &[u8],
    verify: impl FnOnce(DeviceId, &[u8], &[u8; 64]) -> bool,
) -> Result<DeviceId, Unopenable> {
    let plain = super::open(key, &[DOMAIN, &group.0].concat(), sealed)?;
    let rest = plain.strip_prefix(&[FORMAT]).ok_or(Unopenable)?;
    let (device, signature) = rest.split_at_checked(16).ok_or(Unopenable)?;
    let device = DeviceId(device.try_into().map_err(|_| Unopenable)?);
    let signature = signature.try_into().map_err(|_| Unopenable)?;
    if verify(device, &signed_bytes(group, device), &signature) { Ok(device) } else { Err(Unopenable) }
}

fn signed_bytes(group: GroupId, device: DeviceId) -> Vec<u8> {
    [DOMAIN, &group.0, &device.0].concat()
}

const DOMAIN: &[u8] = b"quicproquo typing 1\0";
const FORMAT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whisper_is_its_senders_and_of_its_group() {
        let (key, group, device) = ([1; 32], GroupId([2; 16]), DeviceId([3; 16]));
        let sealed = seal(&key, group, device, |_| [4; 64]).expect("random bytes");
        assert!(sealed.len() <= qpq_proto::limits::WHISPER);
        let opened =
            |key: &[u8; 32], group, good| open(key, group, &sealed, |_, _, signature| good && *signature == [4; 64]);
        assert!(opened(&key, group, true).is_ok_and(|found| found == device));
        assert!(opened(&key, group, false).is_err());
        assert!(opened(&[9; 32], group, true).is_err());
        assert!(opened(&key, GroupId([9; 16]), true).is_err());
    }
}
