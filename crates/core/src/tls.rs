//! TLS with clients and with peers.

use std::sync::Arc;

use qanat_plan as spec;

/// Tickets and caches that all TLS settings of a gateway share.
pub struct TlsContext {}

impl TlsContext {
    /// A fresh context.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn new() -> Result<Self, String> {
        Ok(Self {})
    }
}

/// A certificate with its key, ready to sign.
pub struct CertifiedKey {}

/// Certificates of a server, in order.
pub type Certificates = Vec<Arc<CertifiedKey>>;

impl CertifiedKey {
    /// Links a certificate.
    ///
    /// # Errors
    /// What is wrong with the chain or the key.
    pub fn link(_certificate: &spec::Certificate, _context: &TlsContext) -> Result<Self, String> {
        Ok(Self {})
    }
}

/// TLS settings of a virtual server, ready to accept.
pub struct ServerTls {}

impl ServerTls {
    /// Links the settings; equal ones may share their result.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn link(
        _tls: &spec::ServerTls,
        _certificates: &Certificates,
        _context: &TlsContext,
    ) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self {}))
    }
}

/// TLS settings towards peers, ready to connect.
pub struct PeerTls {}

impl PeerTls {
    /// Links the settings.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn link(
        _tls: &spec::ProxyTls,
        _certificates: &Certificates,
        _context: &TlsContext,
    ) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self {}))
    }
}

/// What is known of the TLS session with a client.
#[derive(Debug, Default)]
pub struct TlsInfo {}
