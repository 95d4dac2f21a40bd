//! A peer's own certificate, read without webpki, which knows neither X.509 v1 nor common names.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, Error};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

/// The certificate that a peer shows first.
pub(super) struct Leaf<'a>(X509Certificate<'a>);

impl<'a> Leaf<'a> {
    pub(super) fn read(der: &'a CertificateDer<'_>) -> Result<Self, Error> {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(Self(certificate)),
            _ => Err(CertificateError::BadEncoding.into()),
        }
    }

    /// Whether it is one that OpenSSL accepts and webpki does not.
    pub(super) fn is_beyond_webpki(&self) -> bool {
        self.0.version() == X509Version::V1 || self.0.is_ca()
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.0.subject().as_raw() == self.0.issuer().as_raw()
    }

    /// The public key.
    pub(super) fn key(&self) -> SubjectPublicKeyInfoDer<'_> {
        SubjectPublicKeyInfoDer::from(self.0.public_key().raw)
    }

    /// Whether names below it are limited; so they are if that cannot be told.
    pub(super) fn limits_names(&self) -> bool {
        !matches!(self.0.name_constraints(), Ok(None))
    }

    /// Whether it may issue certificates. Version 1 does not say: there, it is who has issued its own.
    fn is_authority(&self) -> bool {
        (self.0.version() == X509Version::V1 && self.is_self_issued()) || self.0.is_ca()
    }

    /// Whether `issuer` has signed it, and may do so at all and now.
    pub(super) fn is_issued_by(
        &self,
        issuer: &Leaf<'_>,
        algorithms: &[&dyn rustls::pki_types::SignatureVerificationAlgorithm],
        now: UnixTime,
    ) -> bool {
        let spki = issuer.key();
        let Ok(key) = webpki::RawPublicKeyEntity::try_from(&spki) else { return false };
        let (signed, signature) = (self.0.tbs_certificate.as_ref(), &*self.0.signature_value.data);
        self.0.issuer().as_raw() == issuer.0.subject().as_raw()
            && issuer.is_authority()
            && !issuer.limits_names()
            && issuer.check_time(now).is_ok()
            && algorithms.iter().any(|algorithm| key.verify_signature(*algorithm, signed, signature).is_ok())
    }

    /// Checks all that does not concern who has issued it.
    pub(super) fn check(
        &self,
        der: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        self.check_time(now)?;
        self.check_purpose()?;
        let has_name = rustls::server::ParsedCertificate::try_from(der)
            .is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok());
        if has_name || self.has_common_name(name) {
            Ok(())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn check_time(&self, now: UnixTime) -> Result<(), Error> {
        let validity = self.0.validity();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < validity.not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > validity.not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        Ok(())
    }

    fn check_purpose(&self) -> Result<(), Error> {
        match self.0.extended_key_usage() {
            Ok(None) => Ok(()),
            Ok(Some(usage)) if usage.value.server_auth || usage.value.any => Ok(()),
            _ => Err(CertificateError::InvalidPurpose.into()),
        }
    }

    /// Whether it has no alternative name that could be compared, and a common name that matches.
    pub(super) fn has_common_name(&self, name: &ServerName<'_>) -> bool {
        let has_none = match self.0.subject_alternative_name() {
            Ok(None) => true,
            Ok(Some(names)) => {
                let compared = |name: &GeneralName<'_>| {
                    matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_))
                };
                // What cannot be read might have been one.
                let unread = |name: &GeneralName<'_>| matches!(name, GeneralName::Invalid(..));
                !names.value.general_names.iter().any(|name| compared(name) || unread(name))
            }
            Err(_) => false,
        };
        let host = name.to_str();
        let mut common = self.0.subject().iter_common_name().filter_map(|common| common.as_str().ok());
        has_none && common.any(|common| is_match(common, &host))
    }
}

/// `*` stands for one whole label in front of at least two.
fn is_match(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(suffix), Some((label, rest))) = (pattern.strip_prefix("*."), host.split_once('.')) else {
        return false;
    };
    let is_address = host.parse::<IpAddr>().is_ok();
    !is_address && !label.is_empty() && suffix.contains('.') && suffix.eq_ignore_ascii_case(rest)
}

#[cfg(test)]
mod tests {
    use super::is_match;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (pattern, host, expected) in [
            ("a.test", "A.TEST", true),
            ("a.test", "a.test.", true),
            ("*.b.test", "a.b.test", true),
            ("*.b.test", "b.test", false),
            ("*.b.test", "c.a.b.test", false),
            ("*.test", "a.test", false),
            ("*.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("*", "a", false),
        ] {
            assert_eq!(is_match(pattern, host), expected, "{pattern} {host}");
        }
    }
}
