//! Small changes to something valid: what a fuzzer would never find by itself behind a signature or a checksum.

use arbitrary::Arbitrary;

/// Applied in order to a copy.
#[derive(Arbitrary, Debug)]
pub struct Edits {
    set: Vec<(u16, u8)>,
    insert: Option<(u16, Vec<u8>)>,
    remove: Option<(u16, u8)>,
    cut: Option<u16>,
}

impl Edits {
    /// The changed bytes.
    pub fn apply(&self, original: &[u8]) -> Vec<u8> {
        let mut bytes = original.to_vec();
        for (at, value) in &self.set {
            if !bytes.is_empty() {
                let at = usize::from(*at) % bytes.len();
                bytes[at] ^= value;
            }
        }
        if let Some((at, more)) = &self.insert {
            let at = usize::from(*at) % (bytes.len() + 1);
            bytes.splice(at..at, more.iter().copied());
        }
        if let Some((at, count)) = &self.remove {
            let at = usize::from(*at) % (bytes.len() + 1);
            let end = (at + usize::from(*count)).min(bytes.len());
            bytes.drain(at..end);
        }
        if let Some(cut) = self.cut {
            bytes.truncate(usize::from(cut));
        }
        bytes
    }
}
