//! Where a profile lives and which server it talks to.

use std::path::PathBuf;

use qpq_io::rpc::connect::ServerAddress;
use qpq_io::rpc::tls::Fingerprint;

/// How to open a profile.
#[derive(Clone, Debug)]
pub struct Options {
    /// One profile per directory.
    pub home: PathBuf,
    /// Overrides and replaces the remembered one; 127.0.0.1:7000 when nothing is remembered.
    pub server: Option<ServerAddress>,
    /// Trust only these roots.
    pub ca_cert: Option<PathBuf>,
    /// Trust only this certificate.
    pub fingerprint: Option<Fingerprint>,
}
