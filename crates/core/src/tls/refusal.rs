//! Why a peer's certificate is refused, in OpenSSL's numbers and words, which operators' tools know from nginx.

use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};

/// A cause that rustls has no word for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("18:self-signed certificate")]
    SelfSigned,
    #[error("19:self-signed certificate in certificate chain")]
    SelfSignedInChain,
    #[error("20:unable to get local issuer certificate")]
    UnknownIssuer,
    #[error("22:certificate chain too long")]
    ChainTooLong,
    /// In no words of OpenSSL: it would find fault with the chain.
    #[error("no \"proxy_ssl_trusted_certificate\" to verify with")]
    NothingTrusted,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

/// `18:self-signed certificate`
pub(super) fn cause(error: &CertificateError) -> String {
    use CertificateError as E;
    let known = match error {
        E::BadEncoding => "13:format error in certificate",
        E::BadSignature => "7:certificate signature failure",
        E::Expired | E::ExpiredContext { .. } => "10:certificate has expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "9:certificate is not yet valid",
        E::UnknownIssuer => "20:unable to get local issuer certificate",
        E::Revoked => "23:certificate revoked",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "26:unsuitable certificate purpose",
        E::UnhandledCriticalExtension => "34:unhandled critical extension",
        E::UnsupportedSignatureAlgorithmContext { .. } => "68:CA signature digest algorithm too weak",
        E::Other(other) => return other_cause(other),
        // What is left concerns what is never asked for, or has a text of its own.
        other => return format!("1:unspecified certificate verification error: {other}"),
    };
    known.to_owned()
}

fn other_cause(other: &OtherError) -> String {
    use webpki::Error as E;
    if let Some(refusal) = other.0.downcast_ref::<Refusal>() {
        return refusal.to_string();
    }
    let known = match other.0.downcast_ref::<E>() {
        Some(E::CaUsedAsEndEntity | E::EndEntityUsedAsCa) => "79:invalid CA certificate",
        Some(E::PathLenConstraintViolated) => "25:path length constraint exceeded",
        Some(E::NameConstraintViolation) => "47:permitted subtree violation",
        Some(E::MaximumPathDepthExceeded) => "22:certificate chain too long",
        _ => return format!("1:unspecified certificate verification error: {other}"),
    };
    known.to_owned()
}
