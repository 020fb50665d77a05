//! Which server certificates a client accepts.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, PeerIncompatible, RootCertStore, SignatureScheme};

use super::tls::{Fingerprint, provider};
use crate::Error;

/// How a client decides about a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerTrust {
    /// Accept what the system's root certificates vouch for; accept anything else as [`Verified::FirstUse`], which the
    /// caller has to pin (and show) so that the next connection accepts that certificate only.
    SystemRootsOrFirstUse,
    /// Accept exactly this certificate. Its names and its expiry do not matter.
    Pinned(Fingerprint),
    /// Accept what the root certificates in this PEM file vouch for, for the name that was asked for.
    CaFile(PathBuf),
}

/// Why a server's certificate was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// A root certificate vouches for it and its name matches.
    Roots,
    /// It is the pinned one.
    Pinned,
    /// Nobody vouches for it: pin this fingerprint before anything secret is sent, and show it to the user.
    FirstUse(Fingerprint),
}

/// The trust decision with its roots loaded, shared by many connections.
pub(super) enum Policy {
    RootsOrFirstUse(Option<Arc<WebPkiServerVerifier>>),
    Pinned(Fingerprint),
    Roots(Arc<WebPkiServerVerifier>),
}

impl Policy {
    pub(super) fn load(trust: ServerTrust) -> Result<Self, Error> {
        match trust {
            ServerTrust::SystemRootsOrFirstUse => Ok(Self::RootsOrFirstUse(system_roots())),
            ServerTrust::Pinned(fingerprint) => Ok(Self::Pinned(fingerprint)),
            ServerTrust::CaFile(path) => Ok(Self::Roots(file_roots(&path)?)),
        }
    }
}

/// The verifier of one connection. It keeps the decision, because rustls and quinn pass on only an alert.
pub(super) struct Verifier {
    policy: Arc<Policy>,
    provider: Arc<CryptoProvider>,
    decision: Mutex<Option<Result<Verified, Refusal>>>,
}

/// Why a certificate was refused.
#[derive(Clone, Debug)]
enum Refusal {
    Changed { expected: Fingerprint, presented: Fingerprint },
    Invalid(String),
}

impl Verifier {
    pub(super) fn new(policy: Arc<Policy>) -> Self {
        Self { policy, provider: provider(), decision: Mutex::new(None) }
    }

    /// What was decided about the certificate; `None` when the handshake did not get that far.
    pub(super) fn decision(&self) -> Option<Result<Verified, Error>> {
        let decision = self.decision.lock().unwrap_or_else(PoisonError::into_inner).clone();
        decision.map(|outcome| {
            outcome.map_err(|refusal| match refusal {
                Refusal::Changed { expected, presented } => Error::CertificateChanged { expected, presented },
                Refusal::Invalid(reason) => Error::CertificateInvalid(reason),
            })
        })
    }

    fn decide(&self, presented: Presented<'_>) -> Result<Verified, Refusal> {
        let fingerprint = Fingerprint::of(presented.end_entity);
        match &*self.policy {
            Policy::Pinned(expected) if *expected == fingerprint => Ok(Verified::Pinned),
            Policy::Pinned(expected) => Err(Refusal::Changed { expected: *expected, presented: fingerprint }),
            Policy::Roots(roots) => match presented.verify(roots) {
                Ok(_) => Ok(Verified::Roots),
                Err(e) => Err(Refusal::Invalid(e.to_string())),
            },
            Policy::RootsOrFirstUse(Some(roots)) if presented.verify(roots).is_ok() => Ok(Verified::Roots),
            Policy::RootsOrFirstUse(_) => Ok(Verified::FirstUse(fingerprint)),
        }
    }
}

/// The arguments of [`ServerCertVerifier::verify_server_cert`], to pass them on.
struct Presented<'a> {
    end_entity: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    ocsp: &'a [u8],
    now: UnixTime,
}

impl Presented<'_> {
    fn verify(&self, roots: &WebPkiServerVerifier) -> Result<ServerCertVerified, rustls::Error> {
        roots.verify_server_cert(self.end_entity, self.intermediates, self.name, self.ocsp, self.now)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let decision = self.decide(Presented { end_entity, intermediates, name, ocsp, now });
        let answer = match &decision {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
        };
        *self.decision.lock().unwrap_or_else(PoisonError::into_inner) = Some(decision);
        answer
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    /// Pinned and first-use certificates are worth something only because the server proves here that it has the key.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

/// Missing or unreadable system roots are no error: then everything is a first use.
fn system_roots() -> Option<Arc<WebPkiServerVerifier>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a system root certificate cannot be used");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    verifier(roots).ok()
}

fn file_roots(path: &Path) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let invalid = |reason: String| Error::CertificateInvalid(format!("{}: {reason}", path.display()));
    let pem = fs::read(path).map_err(|e| Error::file("read", path, e))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| invalid(e.to_string()))?;
        roots.add(certificate).map_err(|e| invalid(e.to_string()))?;
    }
    verifier(roots).map_err(invalid)
}

fn verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(|e| e.to_string())
}
