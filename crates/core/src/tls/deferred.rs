//! Verification that is asked for after the handshake, because handlers have the last word.

use std::sync::Arc;

use qanat_plan as spec;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, SignatureScheme};

use super::accept_any::AcceptAny;
use super::refusal::Refusal;
use super::trust::{Chain, Signed, Trust};
use super::verifier::Verifier;

/// In the handshake it accepts every certificate whose key the peer holds.
#[derive(Clone, Debug)]
pub(super) struct Deferred {
    /// What the certificates are held against; none without trusted ones.
    verifier: Option<Arc<Verifier>>,
    signatures: Arc<dyn Trust>,
}

impl Deferred {
    pub(super) fn link(tls: &spec::ProxyTls, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        if !tls.verify && tls.trusted.is_empty() {
            let algorithms = provider.signature_verification_algorithms;
            return Ok(Self { verifier: None, signatures: Arc::new(AcceptAny { algorithms }) });
        }
        let verifier = Arc::new(Verifier::link(&tls.trusted, tls.verify_depth, provider)?);
        Ok(Self { verifier: Some(Arc::clone(&verifier)), signatures: verifier })
    }

    /// Verifies what a peer has shown that should be `name`.
    ///
    /// # Errors
    /// Why it proves nothing, which it never does without trusted certificates.
    pub(super) fn verify(&self, chain: &[CertificateDer<'_>], name: &str) -> Result<(), Error> {
        let verifier = self.verifier.as_ref().ok_or(Refusal::NothingTrusted)?;
        let (leaf, others) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let name = ServerName::try_from(name).map_err(|_| CertificateError::NotValidForName)?;
        let now = UnixTime::now();
        verifier.check(&Chain { leaf, others, name: Some(&name), ocsp_response: &[], now })
    }
}

impl Trust for Deferred {
    fn check(&self, _: &Chain<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn verify(&self, signed: &Signed<'_>) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify(signed)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }
}
