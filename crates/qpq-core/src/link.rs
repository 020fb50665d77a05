//! Taking in a new device: what the two devices say to each other, as states that are consumed step by step.
//!
//! The new device shows a code, which a person carries to the old one. In it are a secret, from which both derive the
//! mailbox at the server and the key of all that they put there, and a commitment to what the new device says of itself. A
//! server that does not see the code can neither read nor change anything; one that does see it cannot swap the new device's
//! keys, and is caught when the two numbers are compared: they depend on everything that was said, and on a nonce of the new
//! device that it reveals only after the old one has spoken.

use std::fmt;
use std::str::FromStr;

use hkdf::Hkdf;
use qpq_proto::account::UserName;
use qpq_proto::ids::ContentHash;
use qpq_proto::keys::DeviceRecord;
use qpq_proto::link::{LinkBundle, LinkHello, LinkOffer, LinkStep};
use qpq_proto::stream::digest;
use qpq_trust::identity::{IdentityKeys, device_id, verify_ed25519};
use qpq_trust::manifest::Manifest;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::account::DeviceSecrets;
use crate::crypto::{self, envelope};
use crate::engine::random;
use crate::error::Error;
use crate::mls::Myself;
use crate::store::rows::AccountRow;

/// What the person carries from one device to the other.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkCode {
    secret: [u8; 16],
    /// The beginning of the SHA-256 of the offer.
    commitment: [u8; 16],
}

impl LinkCode {
    /// Where both find each other.
    pub fn mailbox(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id.copy_from_slice(&self.derive(b"quicproquo link mailbox 1")[..16]);
        id
    }

    fn seal(&self, step: LinkStep, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(crypto::seal(&self.derive(b"quicproquo link key 1"), &[step as u8], plaintext)?)
    }

    fn open(&self, step: LinkStep, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        crypto::open(&self.derive(b"quicproquo link key 1"), &[step as u8], sealed)
            .map_err(|_| refused("what the server passed on does not come from the other device"))
    }

    fn derive(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &self.secret)
            .expand(label, &mut key[..])
            .expect("32 bytes are within what HKDF can give");
        key
    }
}

/// Groups of four of Crockford's base 32.
impl fmt::Display for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.secret, self.commitment].concat();
        let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
        for character in 0..CHARACTERS {
            if character > 0 && character % 4 == 0 {
                f.write_str("-")?;
            }
            let value = (0..5).fold(0, |value, at| value << 1 | bit(character * 5 + at));
            fmt::Write::write_char(f, char::from(ALPHABET[usize::from(value)]))?;
        }
        Ok(())
    }
}

impl FromStr for LinkCode {
    type Err = Error;

    /// Case, hyphens and spaces do not matter, and letters that look like digits count as those.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::BadInput("this is not a link code; copy the whole of it from the new device".into());
        let mut bytes = Zeroizing::new([0_u8; 32]);
        let mut count = 0;
        for c in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
            let c = match c.to_ascii_lowercase() {
                'o' => '0',
                'i' | 'l' => '1',
                other => other,
            };
            let value = ALPHABET.iter().position(|known| char::from(*known) == c).ok_or_else(invalid)?;
            for bit in (0..5).filter(|bit| value >> (4 - bit) & 1 == 1) {
                let at = count * 5 + bit;
                *bytes.get_mut(at / 8).ok_or_else(invalid)? |= 0x80 >> (at % 8);
            }
            count += 1;
        }
        if count != CHARACTERS {
            return Err(invalid());
        }
        let (mut secret, mut commitment) = ([0; 16], [0; 16]);
        secret.copy_from_slice(&bytes[..16]);
        commitment.copy_from_slice(&bytes[16..]);
        Ok(Self { secret, commitment })
    }
}

/// Eight digits that both devices show: the same, if nobody stands between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison(u32);

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04} {:04}", self.0 / 10_000, self.0 % 10_000)
    }
}

/// The new device: it has made its keys and shows the code.
pub struct Newcomer {
    code: LinkCode,
    secrets: DeviceSecrets,
    offer: Vec<u8>,
    nonce: [u8; 32],
}

impl Newcomer {
    /// Makes keys and a code.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn new(device_name: &str) -> Result<Self, Error> {
        let (secrets, nonce) = (DeviceSecrets::generate(device_name)?, random::<32>()?);
        let commitment = Sha256::digest(nonce).into();
        let offer = LinkOffer { device: secrets.record.clone(), commitment }.encode();
        let code = LinkCode { secret: random()?, commitment: commit(&offer) };
        Ok(Self { code, secrets, offer, nonce })
    }

    /// To be shown.
    pub fn code(&self) -> &LinkCode {
        &self.code
    }

    /// What goes into the mailbox first.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn offer(&self) -> Result<Vec<u8>, Error> {
        self.code.seal(LinkStep::Offer, &self.offer)
    }

    /// Somebody takes this device in.
    ///
    /// # Errors
    /// It is nobody who has the code, or not a device of the identity that it says.
    pub fn hear(self, sealed: &[u8]) -> Result<Heard, Error> {
        let bytes = self.code.open(LinkStep::Hello, sealed)?;
        let hello = LinkHello::decode(&bytes).map_err(qpq_trust::TrustError::from)?;
        let manifest = Manifest::verify(&hello.manifest)?;
        let device = manifest.device(hello.device).ok_or(qpq_trust::TrustError::UnlistedDevice)?;
        let signature_key = device.signature_key;
        let transcript = transcript(&self.offer, &bytes, &self.nonce);
        Ok(Heard { newcomer: self, hello, manifest, signature_key, transcript })
    }
}

/// The new device knows who takes it in.
pub struct Heard {
    newcomer: Newcomer,
    hello: LinkHello,
    manifest: Manifest,
    signature_key: [u8; 32],
    transcript: [u8; 32],
}

impl Heard {
    /// Whose device this is to become.
    pub fn name(&self) -> &UserName {
        &self.hello.name
    }

    /// To be compared by the user.
    pub fn comparison(&self) -> Comparison {
        comparison(&self.transcript)
    }

    /// What lets the other device show the number, too.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn reveal(&self) -> Result<Vec<u8>, Error> {
        self.newcomer.code.seal(LinkStep::Reveal, &self.newcomer.nonce)
    }

    /// Opens the bundle: the account of this device, and what else the other one knows.
    ///
    /// # Errors
    /// It does not come from the device of the hello, or is not about its identity, or does not list this device.
    pub fn accept(self, sealed: &[u8]) -> Result<(AccountRow, LinkBundle), Error> {
        let secrets = self.newcomer.secrets;
        let id = secrets.id();
        let bytes = secrets.envelope().open(id, sealed).map_err(|error| refused(&error.to_string()))?;
        let bundle = LinkBundle::decode(&bytes).map_err(qpq_trust::TrustError::from)?;
        verify_ed25519(&self.signature_key, &signed(&self.transcript, &bundle), &bundle.signature)?;
        let manifest = Manifest::verify(&bundle.manifest)?;
        manifest.check_succeeds(&self.manifest)?;
        let keys = IdentityKeys::from_bytes(&bundle.identity_keys);
        if keys.public().id() != manifest.identity() {
            return Err(refused("the bundle holds the keys of another identity"));
        }
        if manifest.device(id) != Some(&secrets.record) {
            return Err(refused("the manifest does not list this device"));
        }
        let account = secrets.account(self.hello.name, &keys, &manifest, &bundle.domain);
        Ok((account, bundle))
    }
}

/// The old device has read the offer that the code commits to.
pub struct Host {
    code: LinkCode,
    offer: Vec<u8>,
    device: LinkOffer,
    hello: Vec<u8>,
}

impl Host {
    /// Reads the offer, and introduces the device of `account`.
    ///
    /// # Errors
    /// The offer is not the one that the code is for.
    pub fn new(code: LinkCode, sealed: &[u8], account: &AccountRow) -> Result<Self, Error> {
        let offer = code.open(LinkStep::Offer, sealed)?.to_vec();
        if commit(&offer) != code.commitment {
            return Err(refused("the server passed on another device than the one that shows this code"));
        }
        let device = LinkOffer::decode(&offer).map_err(qpq_trust::TrustError::from)?;
        if !envelope::is_key(&device.device.envelope_key) {
            return Err(refused("the new device's key cannot be used"));
        }
        let (name, manifest) = (account.name.clone(), account.manifest.clone());
        let hello = LinkHello { name, manifest, device: account.device, nonce: random()? }.encode();
        Ok(Self { code, offer, device, hello })
    }

    /// What goes into the mailbox.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn hello(&self) -> Result<Vec<u8>, Error> {
        self.code.seal(LinkStep::Hello, &self.hello)
    }

    /// The new device has heard it.
    ///
    /// # Errors
    /// What it reveals is not what it has committed to.
    pub fn compare(self, sealed: &[u8]) -> Result<Compared, Error> {
        let nonce = self.code.open(LinkStep::Reveal, sealed)?;
        let nonce: [u8; 32] = nonce[..].try_into().map_err(|_| refused("a nonce of another length"))?;
        if Sha256::digest(nonce)[..] != self.device.commitment {
            return Err(refused("the new device reveals something else than it has committed to"));
        }
        let transcript = transcript(&self.offer, &self.hello, &nonce);
        Ok(Compared { device: self.device.device, transcript })
    }
}

/// The old device can show the number.
pub struct Compared {
    device: DeviceRecord,
    transcript: [u8; 32],
}

impl Compared {
    /// To be compared by the user before anything else happens.
    pub fn comparison(&self) -> Comparison {
        comparison(&self.transcript)
    }

    /// What the manifest is to list.
    pub fn device(&self) -> &DeviceRecord {
        &self.device
    }

    /// Signs and seals the bundle for the new device, which the manifest in it lists.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn seal(&self, account: &AccountRow, mut bundle: LinkBundle) -> Result<Vec<u8>, Error> {
        bundle.signature = Myself::new(account).sign_bytes(&signed(&self.transcript, &bundle));
        let id = device_id(&self.device.signature_key);
        envelope::seal(id, &self.device.envelope_key, &bundle.encode()).map_err(Error::mls)
    }
}

fn commit(offer: &[u8]) -> [u8; 16] {
    let mut commitment = [0; 16];
    commitment.copy_from_slice(&Sha256::digest([b"quicproquo link offer 1\0", offer].concat())[..16]);
    commitment
}

/// Everything that was said, so that no part of it can be exchanged.
fn transcript(offer: &[u8], hello: &[u8], nonce: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"quicproquo link transcript 1\0");
    for part in [offer, hello, nonce] {
        hash.update(Sha256::digest(part));
    }
    hash.finalize().into()
}

fn comparison(transcript: &[u8; 32]) -> Comparison {
    let number = digest(ContentHash::of(&[b"quicproquo link number 1\0", &transcript[..]].concat())) % 100_000_000;
    Comparison(u32::try_from(number).unwrap_or_default())
}

fn signed(transcript: &[u8; 32], bundle: &LinkBundle) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([b"quicproquo link bundle 1\0", &transcript[..], &bundle.signed_bytes()].concat())
}

fn refused(what: &str) -> Error {
    Error::BadInput(format!("{what}; nothing was linked, make another code and try again"))
}

/// Crockford's base 32: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 256 bits.
const CHARACTERS: usize = 52;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::generate;
    use crate::engine::identity_keys;

    fn alice() -> AccountRow {
        generate(&"alice".parse().expect("a name"), "laptop").expect("an account")
    }

    /// The next manifest, and the bundle with it.
    fn bundle(account: &AccountRow, device: &DeviceRecord) -> LinkBundle {
        let known = Manifest::verify(&account.manifest).expect("own manifest");
        let keys = identity_keys(account).expect("own keys");
        let devices = [known.devices(), std::slice::from_ref(device)].concat();
        LinkBundle {
            identity_keys: keys.to_bytes(),
            manifest: keys.sign_successor(&known, devices).encode(),
            domain: "test".into(),
            contacts: vec![],
            groups: vec![],
            silent: false,
            history: None,
            signature: [0; 64],
        }
    }

    /// Both have spoken, and can compare.
    fn introduced(host: &AccountRow) -> (Heard, Compared) {
        let newcomer = Newcomer::new("phone").expect("keys");
        let code = newcomer.code().to_string().parse().expect("own code");
        let host = Host::new(code, &newcomer.offer().expect("sealed"), host).expect("the offer of this code");
        let heard = newcomer.hear(&host.hello().expect("sealed")).expect("a device of alice");
        let compared = host.compare(&heard.reveal().expect("sealed")).expect("what it committed to");
        (heard, compared)
    }

    #[test]
    fn a_new_device_gets_the_account_and_both_show_one_number() {
        let alice = alice();
        let (heard, compared) = introduced(&alice);
        assert_eq!((heard.name().as_str(), heard.comparison()), ("alice", compared.comparison()));
        assert_eq!(compared.device().name, "phone");
        let sealed = compared.seal(&alice, bundle(&alice, compared.device())).expect("sealed");
        let (account, _) = heard.accept(&sealed).expect("the bundle");
        assert_eq!((account.identity, account.identity_keys), (alice.identity, alice.identity_keys));
        assert!(account.device != alice.device && account.registered);
    }

    #[test]
    fn a_server_that_has_not_seen_the_code_can_only_be_silent() {
        let alice = alice();
        let (newcomer, other) = (Newcomer::new("phone").expect("keys"), Newcomer::new("phone").expect("keys"));
        // Another device in the place of the new one.
        assert!(Host::new(newcomer.code().clone(), &other.offer().expect("sealed"), &alice).is_err());
        // Another identity in the place of the old one: the mailbox of the one does not open with the code of the other.
        let host = Host::new(other.code().clone(), &other.offer().expect("sealed"), &alice).expect("its own");
        assert!(newcomer.hear(&host.hello().expect("sealed")).is_err());
        let mut changed = other.offer().expect("sealed");
        changed[20] ^= 1;
        assert!(Host::new(other.code().clone(), &changed, &alice).is_err());
    }

    #[test]
    fn a_server_that_has_seen_the_code_shows_in_the_numbers() {
        let (alice, mallory) = (alice(), generate(&"alice".parse().expect("a name"), "x").expect("an account"));
        let newcomer = Newcomer::new("phone").expect("keys");
        let (code, offer) = (newcomer.code().clone(), newcomer.offer().expect("sealed"));
        let evil = Newcomer::new("phone").expect("keys");
        let mut swapped = code.clone();
        swapped.commitment = evil.code().commitment;
        let forged = swapped.seal(LinkStep::Offer, &evil.offer).expect("sealed");
        assert!(Host::new(code.clone(), &forged, &alice).is_err(), "the code names the device");

        // Mallory answers in the place of Alice's device, and lets that one speak with nobody.
        let honest = Host::new(code.clone(), &offer, &alice).expect("the real offer");
        let forged = Host::new(code, &offer, &mallory).expect("the real offer");
        let heard = newcomer.hear(&forged.hello().expect("sealed")).expect("a device of some identity");
        let reveal = heard.reveal().expect("sealed");
        let (seen, shown) = (honest.compare(&reveal).expect("the nonce"), heard.comparison());
        assert_ne!(seen.comparison(), shown);
        // And a bundle of Alice's device is not one for what was said to Mallory.
        let sealed = seen.seal(&alice, bundle(&alice, seen.device())).expect("sealed");
        assert!(heard.accept(&sealed).is_err());
    }

    #[test]
    fn a_bundle_must_be_what_it_says() {
        let alice = alice();
        let stranger = generate(&"bob".parse().expect("a name"), "x").expect("an account");
        let spoil: [fn(&mut LinkBundle, &AccountRow, &AccountRow); 3] = [
            // The new device is not listed.
            |bundle, alice, _| bundle.manifest = alice.manifest.clone(),
            // The keys of somebody else.
            |bundle, _, stranger| bundle.identity_keys = identity_keys(stranger).expect("keys").to_bytes(),
            // The manifest of somebody else.
            |bundle, _, stranger| bundle.manifest = stranger.manifest.clone(),
        ];
        for spoil in spoil {
            let (heard, compared) = introduced(&alice);
            let mut spoiled = bundle(&alice, compared.device());
            spoil(&mut spoiled, &alice, &stranger);
            assert!(heard.accept(&compared.seal(&alice, spoiled).expect("sealed")).is_err());
        }
        let (heard, compared) = introduced(&alice);
        let by_another = compared.seal(&stranger, bundle(&alice, compared.device())).expect("sealed");
        assert!(heard.accept(&by_another).is_err(), "signed by another device than that of the hello");
        let (_, compared) = introduced(&alice);
        let (heard, _) = introduced(&alice);
        let of_another = compared.seal(&alice, bundle(&alice, compared.device())).expect("sealed");
        assert!(heard.accept(&of_another).is_err(), "of another link");
    }

    #[test]
    fn a_nonce_that_was_not_committed_to_is_refused() {
        let newcomer = Newcomer::new("phone").expect("keys");
        let host = Host::new(newcomer.code().clone(), &newcomer.offer().expect("sealed"), &alice()).expect("a host");
        let other = newcomer.code().seal(LinkStep::Reveal, &[7; 32]).expect("sealed");
        assert!(host.compare(&other).is_err());
    }

    #[test]
    fn codes_survive_being_typed() {
        let code = LinkCode { secret: [0xa5; 16], commitment: [0x3c; 16] };
        let text = code.to_string();
        assert_eq!(text.len(), 52 + 12);
        assert!(text.parse::<LinkCode>().is_ok_and(|read| read == code));
        let typed = text.to_uppercase().replace('-', " ").replace('1', "l").replace('0', "O");
        assert!(typed.parse::<LinkCode>().is_ok_and(|read| read == code));
        for wrong in ["", "abcd", &text[1..], &format!("{text}0"), &text.replace('m', "u")] {
            assert!(wrong.parse::<LinkCode>().is_err(), "{wrong}");
        }
    }
}
