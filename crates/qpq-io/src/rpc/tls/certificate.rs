//! The server's certificate and key.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::expiry::expiry;
use super::{Fingerprint, provider};
use crate::{Error, files};

/// A certificate chain and the private key that belongs to it.
#[derive(Clone)]
pub struct ServerCertificate {
    certified: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
}

impl ServerCertificate {
    /// Reads a chain (the server's own certificate first) and its private key.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read, [`Error::CertificateInvalid`] when it holds something else or the key
    /// belongs to another certificate.
    pub fn from_pem_files(cert: &Path, key: &Path) -> Result<Self, Error> {
        let chain = fs::read(cert).map_err(|e| Error::file("read", cert, e))?;
        let secret = Zeroizing::new(fs::read(key).map_err(|e| Error::file("read", key, e))?);
        let chain =
            CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>().map_err(|e| invalid(cert, e))?;
        let Some(end_entity) = chain.first() else {
            return Err(invalid(cert, "it holds no certificate"));
        };
        let fingerprint = Fingerprint::of(end_entity);
        let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|e| invalid(key, e))?;
        let certified = CertifiedKey::from_der(chain, secret, &provider()).map_err(|e| invalid(key, e))?;
        Ok(Self { certified: Arc::new(certified), fingerprint })
    }

    /// Reads both files if they are there. Otherwise makes a self-signed certificate for `names` (host names or IP
    /// addresses) and writes them, the key with permission 0600. A key without a certificate is kept and gets one.
    ///
    /// # Errors
    /// As [`from_pem_files`](Self::from_pem_files); [`Error::Config`] when there is a certificate without its key (which
    /// is not replaced: clients may have pinned it), or when a name is not one.
    pub fn self_signed(cert: &Path, key: &Path, names: &[String]) -> Result<Self, Error> {
        match (cert.exists(), key.exists()) {
            (true, true) => {}
            (true, false) => {
                return Err(Error::Config(format!(
                    "{} is there but its key {} is not: restore the key, or move the certificate away",
                    cert.display(),
                    key.display()
                )));
            }
            // The key is written first, so a crash in between leaves a key without a certificate.
            (false, true) => {
                let pem = Zeroizing::new(fs::read_to_string(key).map_err(|e| Error::file("read", key, e))?);
                let pair = KeyPair::from_pem(&pem).map_err(|e| invalid(key, e))?;
                write_certificate(cert, &pair, names)?;
            }
            (false, false) => {
                let pair = KeyPair::generate().map_err(|e| Error::CertificateInvalid(e.to_string()))?;
                let pem = Zeroizing::new(pair.serialize_pem());
                files::write_new_atomically(key, pem.as_bytes(), 0o600)?;
                write_certificate(cert, &pair, names)?;
            }
        }
        Self::from_pem_files(cert, key)
    }

    /// What clients compare and pin.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// When it expires, in seconds since 1970.
    pub fn expiry(&self) -> Option<i64> {
        self.certified.cert.first().and_then(|certificate| expiry(certificate))
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerCertificate({})", self.fingerprint)
    }
}

/// The certificate that a running server presents. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct ReloadableCertificate(Arc<CertificateResolver>);

impl ReloadableCertificate {
    /// Starts with `certificate`.
    pub fn new(certificate: ServerCertificate) -> Self {
        Self(Arc::new(CertificateResolver(RwLock::new(certificate))))
    }

    /// Presents `certificate` from the next handshake on; existing connections stay.
    pub fn replace(&self, certificate: ServerCertificate) {
        *self.0.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// The fingerprint of the current certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.current().fingerprint
    }

    /// When the current certificate expires, in seconds since 1970.
    pub fn expiry(&self) -> Option<i64> {
        self.0.current().expiry()
    }

    pub(super) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        self.0.clone()
    }
}

#[derive(Debug)]
struct CertificateResolver(RwLock<ServerCertificate>);

impl CertificateResolver {
    fn current(&self) -> ServerCertificate {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().certified)
    }
}

fn write_certificate(path: &Path, key: &KeyPair, names: &[String]) -> Result<(), Error> {
    let certificate = CertificateParams::new(names.to_vec())
        .and_then(|params| params.self_signed(key))
        .map_err(|e| Error::Config(format!("cannot make a certificate for {}: {e}", names.join(", "))))?;
    files::write_atomically(path, certificate.pem().as_bytes(), 0o644)
}

fn invalid(path: &Path, reason: impl fmt::Display) -> Error {
    Error::CertificateInvalid(format!("{}: {reason}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn make(dir: &Path, name: &str) -> Result<ServerCertificate, Error> {
        let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        ServerCertificate::self_signed(&cert, &key, &["localhost".into(), "127.0.0.1".into()])
    }

    #[test]
    fn made_once_then_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let first = make(dir.path(), "a").unwrap();
        assert_eq!(make(dir.path(), "a").unwrap().fingerprint(), first.fingerprint());
        assert_ne!(make(dir.path(), "b").unwrap().fingerprint(), first.fingerprint());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(dir.path().join("a.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn halves_are_completed_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "a").unwrap();
        let key = fs::read(dir.path().join("a.key")).unwrap();
        fs::remove_file(dir.path().join("a.pem")).unwrap();
        make(dir.path(), "a").unwrap();
        assert_eq!(fs::read(dir.path().join("a.key")).unwrap(), key);

        fs::remove_file(dir.path().join("a.key")).unwrap();
        assert!(matches!(make(dir.path(), "a"), Err(Error::Config(_))));
    }

    #[test]
    fn a_foreign_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "a").unwrap();
        make(dir.path(), "b").unwrap();
        let mixed = ServerCertificate::from_pem_files(&dir.path().join("a.pem"), &dir.path().join("b.key"));
        assert!(matches!(mixed, Err(Error::CertificateInvalid(_))));
        let swapped = ServerCertificate::from_pem_files(&dir.path().join("a.key"), &dir.path().join("a.key"));
        assert!(matches!(swapped, Err(Error::CertificateInvalid(_))));
    }

    #[test]
    fn replacing_shows_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (make(dir.path(), "a").unwrap(), make(dir.path(), "b").unwrap());
        let live = ReloadableCertificate::new(a);
        live.clone().replace(b.clone());
        assert_eq!(live.fingerprint(), b.fingerprint());
    }
}
