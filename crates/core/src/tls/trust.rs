//! Verifiers as what they decide. [`Trusting`] puts rustls' traits around it, whose methods always have the same form.

use std::fmt::Debug;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ProtocolVersion, SignatureScheme};

/// What the other side shows of itself.
pub(crate) struct Chain<'a> {
    /// Its own certificate, or its raw public key.
    pub(crate) leaf: &'a CertificateDer<'a>,
    /// What else it sends, to lead to an authority.
    pub(crate) others: &'a [CertificateDer<'a>],
    /// Whom a client wants to talk to; servers want nobody in particular.
    pub(crate) name: Option<&'a ServerName<'a>>,
    pub(crate) ocsp_response: &'a [u8],
    pub(crate) now: UnixTime,
}

/// What the other side signs to show that it holds the key.
pub(crate) struct Signed<'a> {
    pub(crate) version: ProtocolVersion,
    pub(crate) message: &'a [u8],
    pub(crate) leaf: &'a CertificateDer<'a>,
    pub(crate) signature: &'a DigitallySignedStruct,
}

/// Whom to trust.
pub(crate) trait Trust: Debug + Send + Sync {
    /// Whether the other side is welcome, if the key is its own.
    ///
    /// # Errors
    /// Why it is not.
    fn check(&self, chain: &Chain<'_>) -> Result<(), Error>;

    /// Whether the key is its own.
    ///
    /// # Errors
    /// Why that is not shown.
    fn verify(&self, signed: &Signed<'_>) -> Result<HandshakeSignatureValid, Error>;

    /// Kinds of signatures that it can verify.
    fn schemes(&self) -> Vec<SignatureScheme>;

    /// Whether there are keys instead of certificates (RFC 7250).
    fn wants_raw_keys(&self) -> bool {
        false
    }
}

/// The methods that both of rustls' traits have.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.0.verify(&Signed { version: ProtocolVersion::TLSv1_2, message, leaf, signature })
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.0.verify(&Signed { version: ProtocolVersion::TLSv1_3, message, leaf, signature })
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.schemes()
        }

        fn requires_raw_public_keys(&self) -> bool {
            self.0.wants_raw_keys()
        }
    };
}

/// Verifies as `T` decides, on either side of a handshake.
#[derive(Clone, Debug)]
pub(crate) struct Trusting<T>(pub(crate) T);

impl<T: Trust> ServerCertVerifier for Trusting<T> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = Chain { leaf, others, name: Some(name), ocsp_response, now };
        self.0.check(&chain).map(|()| ServerCertVerified::assertion())
    }

    signatures!();
}

impl<T: Trust> ClientCertVerifier for Trusting<T> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain = Chain { leaf, others, name: None, ocsp_response: &[], now };
        self.0.check(&chain).map(|()| ClientCertVerified::assertion())
    }

    signatures!();
}
