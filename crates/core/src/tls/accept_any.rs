//! Verification turned off (`proxy_ssl_verify off`, nginx's default): any certificate will do.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, Error, ProtocolVersion, SignatureScheme};

use super::trust::{Chain, Signed, Trust};

/// Accepts every certificate, and still checks that the peer holds the key of the one that it shows.
#[derive(Debug)]
pub(super) struct AcceptAny {
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl Trust for AcceptAny {
    fn check(&self, _: &Chain<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// A certificate that webpki cannot read (X.509 v1, as old peers have) proves as little as any other that nobody
    /// verifies. Only a signature that is wrong is held against the peer.
    fn verify(&self, signed: &Signed<'_>) -> Result<HandshakeSignatureValid, Error> {
        let verify = match signed.version {
            ProtocolVersion::TLSv1_2 => verify_tls12_signature,
            _ => verify_tls13_signature,
        };
        match verify(signed.message, signed.leaf, signed.signature, &self.algorithms) {
            Err(Error::InvalidCertificate(reason)) if reason != CertificateError::BadSignature => {
                Ok(HandshakeSignatureValid::assertion())
            }
            other => other,
        }
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
