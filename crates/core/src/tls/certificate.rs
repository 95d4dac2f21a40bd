//! Certificates with their keys, and the choice among several.

use std::sync::Arc;

use qanat_plan as spec;
use rustls::crypto::KeyProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign;

use super::{TlsContext, suites};

/// A certificate with its key, ready to sign.
#[derive(Debug)]
pub struct CertifiedKey {
    pub(super) key: Arc<sign::CertifiedKey>,
}

/// Certificates of a server, in order.
pub type Certificates = Vec<Arc<CertifiedKey>>;

impl CertifiedKey {
    /// Links a certificate.
    ///
    /// # Errors
    /// What is wrong with the chain or the key.
    pub fn link(certificate: &spec::Certificate, context: &TlsContext) -> Result<Self, String> {
        Self::read(certificate.chain.clone(), &certificate.key, context.provider.key_provider)
    }

    /// Reads a certificate that no plan holds: DER, the leaf first, and PKCS#8.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub fn of_der(chain: Vec<Vec<u8>>, key: &[u8]) -> Result<Self, String> {
        Self::read(chain, key, suites::key_provider())
    }

    fn read(chain: Vec<Vec<u8>>, key: &[u8], provider: &dyn KeyProvider) -> Result<Self, String> {
        let der = PrivateKeyDer::try_from(key.to_vec())
            .map_err(|reason| format!("cannot use the private key: {reason}"))?;
        let key =
            provider.load_private_key(der).map_err(|error| format!("cannot use the private key: {error}"))?;
        let leaf = chain.first().ok_or("no certificate")?;
        if !holds_public_key(leaf, key.as_ref()) {
            return Err("the private key does not match the certificate".to_owned());
        }
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        Ok(Self { key: Arc::new(sign::CertifiedKey::new(chain, key)) })
    }
}

/// Looks for the encoded public key in the certificate. rustls' own check would parse the certificate, and refuse the
/// X.509 v1 ones that `openssl x509 -req` makes and that nginx serves.
fn holds_public_key(leaf: &[u8], key: &dyn sign::SigningKey) -> bool {
    key.public_key().is_none_or(|public| leaf.windows(public.len()).any(|part| part == public.as_ref()))
}

/// The certificate for the scheme that the client likes best of those that any key can sign with; the first of several.
#[derive(Debug)]
pub(super) struct CertificateChoice {
    pub(super) certificates: Certificates,
}

impl ResolvesServerCert for CertificateChoice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<sign::CertifiedKey>> {
        let signs = |scheme| {
            self.certificates
                .iter()
                .find(|one| one.key.key.choose_scheme(std::slice::from_ref(scheme)).is_some())
        };
        let chosen = match self.certificates.as_slice() {
            [only] => Some(only),
            // With none that suits, rustls finds the same with the first one, and sends the alert for it.
            several => hello.signature_schemes().iter().find_map(signs).or(several.first()),
        };
        chosen.map(|chosen| Arc::clone(&chosen.key))
    }
}
