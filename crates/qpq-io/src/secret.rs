//! Secrets in memory: wiped on drop, and without any way to print or copy them by accident.

use zeroize::{Zeroize, Zeroizing};

/// `N` secret bytes on the heap, so that moving the value leaves no copies behind. Wiped on drop; has no `Debug`,
/// `Display` or `Clone`.
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Takes over `bytes`, and wipes the argument.
    pub fn new(mut bytes: [u8; N]) -> Self {
        let secret = Self(Box::new(bytes));
        bytes.zeroize();
        secret
    }

    /// Fresh bytes from the operating system.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: nothing that we do would be safe then.
    pub fn random() -> Self {
        let mut bytes = Box::new([0; N]);
        getrandom::fill(&mut bytes[..]).expect("the operating system provides randomness");
        Self(bytes)
    }

    /// The bytes. Whoever copies them wipes the copy.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut secret = Self(Box::new([0; N]));
        hex::decode_to_slice(text, &mut secret.0[..]).ok()?;
        Some(secret)
    }

    pub(crate) fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(&self.0[..]))
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A password or another secret text. Wiped on drop; has no `Debug`, `Display` or `Clone`.
pub struct SecretString(Box<str>);

impl SecretString {
    /// Takes over `text`. Where that has spare capacity it is copied once, and the original is wiped.
    pub fn new(text: String) -> Self {
        let text = Zeroizing::new(text);
        Self(Box::from(text.as_str()))
    }

    /// The text. Whoever copies it wipes the copy.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing was entered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for SecretString {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl Drop for SecretString {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_secrets_differ() {
        assert_ne!(Secret::<32>::random().expose(), Secret::<32>::random().expose());
    }

    #[test]
    fn hex_round_trip() {
        let secret = Secret::<32>::random();
        let again = Secret::<32>::from_hex(&secret.to_hex()).map(|s| *s.expose());
        assert_eq!(again, Some(*secret.expose()));
        assert!(Secret::<32>::from_hex("00").is_none());
        assert!(Secret::<1>::from_hex("zz").is_none());
    }

    #[test]
    fn text_is_kept() {
        assert_eq!(SecretString::new("correct horse".into()).expose(), "correct horse");
        assert!(SecretString::new(String::new()).is_empty());
    }
}
