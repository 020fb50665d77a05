//! The local key file: the database key, wrapped with ChaCha20-Poly1305 under Argon2id of the password.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::Unopenable;

/// Wraps `database_key`. The cost travels in the file, so that it can grow in later versions.
///
/// # Errors
/// Without random numbers.
pub fn wrap(password: &[u8], database_key: &[u8; 32]) -> Result<Vec<u8>, getrandom::Error> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    let mut file = MAGIC.to_vec();
    for number in [MEMORY_KIB, PASSES] {
        file.extend(number.to_le_bytes());
    }
    file.extend(salt);
    let key = stretch(password, &salt, MEMORY_KIB, PASSES).expect("our own cost is within Argon2's limits");
    let sealed = super::seal(&key, &file, database_key)?;
    file.extend(sealed);
    Ok(file)
}

/// Unwraps the database key.
///
/// # Errors
/// [`KeyFileError::Damaged`] when it is no key file, [`KeyFileError::WrongPassword`] otherwise.
pub fn unwrap(password: &[u8], file: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let (header, sealed) = file.split_at_checked(HEADER).ok_or(KeyFileError::Damaged)?;
    let (magic, rest) = header.split_at(MAGIC.len());
    let number = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
    let (memory, passes) = (number(0), number(4));
    // Bounds, so that a damaged file cannot make us allocate without end.
    if magic != MAGIC || memory > 1024 * 1024 || passes > 16 {
        return Err(KeyFileError::Damaged);
    }
    let key = stretch(password, &rest[8..], memory, passes).ok_or(KeyFileError::Damaged)?;
    let database_key = super::open(&key, header, sealed).map_err(|Unopenable| KeyFileError::WrongPassword)?;
    database_key[..].try_into().map(Zeroizing::new).map_err(|_| KeyFileError::Damaged)
}

/// Why a key file does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    #[error("wrong password")]
    WrongPassword,
    #[error("the key file is damaged")]
    Damaged,
}

fn stretch(password: &[u8], salt: &[u8], memory: u32, passes: u32) -> Option<Zeroizing<[u8; 32]>> {
    let params = Params::new(memory, passes, 1, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(password, salt, &mut key[..]).ok()?;
    Some(key)
}

const MAGIC: &[u8] = b"qpq key file 1\n";
const HEADER: usize = 15 + 8 + 16;
/// RFC 9106's second recommendation, on one lane.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the first version: magic, memory in KiB, passes, salt, nonce, sealed key.
    #[test]
    fn files_that_were_written_once_stay_readable() {
        let file = hex::decode("717071206b65792066696c6520310a0000010003000000f7f8da1bd1701272456cfee5de1c14ff5b799abd94ce44c296027c034905738a5059d4fb39adb51f5aa4ef5f58f9331adb56a428e5c5bd8b413ad95b7872738cf968fad8cf8244e17f260bf0").expect("hexadecimal");
        assert_eq!(*unwrap(b"correct horse", &file).expect("an old file"), [5; 32]);
    }

    #[test]
    fn the_password_opens_it_and_nothing_else() {
        let file = wrap(b"correct horse", &[5; 32]).expect("random numbers");
        assert_eq!(*unwrap(b"correct horse", &file).expect("own file"), [5; 32]);
        assert_eq!(unwrap(b"battery staple", &file), Err(KeyFileError::WrongPassword));
        assert_eq!(unwrap(b"correct horse", &file[..20]), Err(KeyFileError::Damaged));
        assert_eq!(unwrap(b"correct horse", &[0xff; 200]), Err(KeyFileError::Damaged));
        let mut changed = file;
        *changed.last_mut().expect("not empty") ^= 1;
        assert_eq!(unwrap(b"correct horse", &changed), Err(KeyFileError::WrongPassword));
    }
}
