//! Verification turned on (`proxy_ssl_verify on`): webpki's, and beyond it what nginx accepts: a trusted certificate as
//! the peer's own, common names, X.509 v1.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore, SignatureScheme,
};

use super::leaf::Leaf;
use super::refusal::Refusal;
use super::trust::{Chain, Signed, Trust};

/// Verifies peers against trusted certificates.
#[derive(Debug)]
pub(super) struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    trusted: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    /// `proxy_ssl_verify_depth`.
    depth: usize,
}

impl Verifier {
    pub(super) fn link(
        trusted: &[Vec<u8>],
        depth: u32,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let trusted: Vec<_> = trusted.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let mut roots = RootCertStore::empty();
        for der in &trusted {
            roots.add(der.clone()).map_err(|error| format!("cannot use a trusted certificate: {error}"))?;
        }
        let roots = Arc::new(roots);
        let webpki =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider)).build();
        let webpki = webpki.map_err(|error| format!("no trusted certificate to verify with: {error}"))?;
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { webpki, roots, trusted, algorithms, depth: depth as usize })
    }

    /// Whether a trusted certificate has issued this one, with none between.
    fn has_issued(&self, leaf: &Leaf<'_>, now: UnixTime) -> bool {
        let issuers = self.trusted.iter().filter_map(|der| Leaf::read(der).ok());
        issuers.into_iter().any(|issuer| leaf.is_issued_by(&issuer, self.algorithms.all, now))
    }

    /// Whether some authority that may be concerned limits the names below it: webpki applies such limits to
    /// alternative names alone.
    fn limits_names(&self, intermediates: &[CertificateDer<'_>]) -> bool {
        let limits = |der: &CertificateDer<'_>| Leaf::read(der).map_or(true, |one| one.limits_names());
        self.trusted.iter().any(limits) || intermediates.iter().any(limits)
    }

    /// Looks for a path that is short enough, if one that webpki has found could be too long.
    fn check_depth(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if intermediates.len() <= self.depth {
            return Ok(());
        }
        let fits = |path: &webpki::VerifiedPath<'_>| match path.intermediate_certificates().count() {
            count if count <= self.depth => Ok(()),
            _ => Err(webpki::Error::UnknownIssuer),
        };
        let leaf = webpki::EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let found = leaf.verify_for_usage(
            self.algorithms.all,
            &self.roots.roots,
            intermediates,
            now,
            webpki::KeyUsage::server_auth(),
            None,
            Some(&fits),
        );
        found.map(drop).map_err(|_| Refusal::ChainTooLong.into())
    }

    /// Verifies with the key alone, where webpki cannot read the certificate.
    fn verify_with_key(
        &self,
        message: &[u8],
        leaf: &Leaf<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = leaf.key();
        let key = webpki::RawPublicKeyEntity::try_from(&spki).map_err(|_| CertificateError::BadEncoding)?;
        let of_scheme = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let is_valid = of_scheme
            .flat_map(|(_, algorithms)| *algorithms)
            .any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok());
        if is_valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }
}

impl Trust for Verifier {
    fn check(&self, chain: &Chain<'_>) -> Result<(), Error> {
        let Chain { leaf: end_entity, others: intermediates, name, ocsp_response, now } = *chain;
        let server_name = name.ok_or(CertificateError::NotValidForName)?;
        let leaf = Leaf::read(end_entity)?;
        let is_trusted = self.trusted.contains(end_entity);
        if is_trusted || (leaf.is_beyond_webpki() && self.has_issued(&leaf, now)) {
            return leaf.check(end_entity, server_name, now);
        }
        let verified =
            self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // webpki compares names last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if leaf.has_common_name(server_name) && !self.limits_names(intermediates) => {}
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_),
            )) => {
                return Err(why_untrusted(&leaf, intermediates, verified));
            }
            Err(other) => return Err(other),
            Ok(_) => {}
        }
        self.check_depth(end_entity, intermediates, now)
    }

    fn verify(&self, signed: &Signed<'_>) -> Result<HandshakeSignatureValid, Error> {
        let Signed { version, message, leaf, signature } = *signed;
        if version != ProtocolVersion::TLSv1_2 {
            let leaf = Leaf::read(leaf)?;
            return verify_tls13_signature_with_raw_key(message, &leaf.key(), signature, &self.algorithms);
        }
        if ParsedCertificate::try_from(leaf).is_ok() {
            return self.webpki.verify_tls12_signature(message, leaf, signature);
        }
        self.verify_with_key(message, &Leaf::read(leaf)?, signature)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What OpenSSL would say where webpki finds no path.
fn why_untrusted(
    leaf: &Leaf<'_>,
    intermediates: &[CertificateDer<'_>],
    verified: Result<ServerCertVerified, Error>,
) -> Error {
    let is_self_issued = |der| Leaf::read(der).is_ok_and(|one| one.is_self_issued());
    match verified {
        _ if leaf.is_self_issued() => Refusal::SelfSigned.into(),
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
            if intermediates.iter().any(is_self_issued) =>
        {
            Refusal::SelfSignedInChain.into()
        }
        Err(Error::InvalidCertificate(CertificateError::Other(_))) if leaf.is_beyond_webpki() => {
            Refusal::UnknownIssuer.into()
        }
        Err(other) => other,
        Ok(_) => Refusal::UnknownIssuer.into(),
    }
}
