//! Cipher suites and protocol versions: from the plan's names to rustls' objects, and to the names that OpenSSL shows.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, KeyProvider, aws_lc_rs};
use rustls::{NamedGroup, SupportedCipherSuite, SupportedProtocolVersion, version};

/// The default cryptography, the post-quantum hybrid key exchange preferred.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.sort_by_key(|group| group.name() != NamedGroup::X25519MLKEM768);
    provider
}

/// What reads private keys.
pub(super) fn key_provider() -> &'static dyn KeyProvider {
    aws_lc_rs::default_provider().key_provider
}

/// SHA-256.
pub(super) fn digest(bytes: &[u8]) -> Vec<u8> {
    let hash = match aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256 {
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
    };
    hash.hash(bytes).as_ref().to_vec()
}

/// `default` cut down to the protocols, with the named cipher suites in the order given. Names without TLS 1.3 suites
/// speak of TLS 1.2 only, as `ssl_ciphers` does. Names that rustls does not know are skipped: the compiler has warned
/// of them. Suites of other protocols must go: in a hello they would promise what is then refused.
pub(super) fn restrict(
    default: &Arc<CryptoProvider>,
    protocols: &[String],
    ciphers: &[String],
) -> Arc<CryptoProvider> {
    let versions = versions(protocols);
    if ciphers.is_empty() && versions.len() == 2 {
        return Arc::clone(default);
    }
    let find = |name: &String| {
        let name = name.replacen("TLS13_", "TLS_", 1);
        default.cipher_suites.iter().copied().find(|suite| iana_name(*suite) == name)
    };
    let mut suites: Vec<_> = ciphers.iter().filter_map(find).collect();
    if ciphers.is_empty() {
        suites.clone_from(&default.cipher_suites);
    } else if !suites.iter().any(|suite| suite.tls13().is_some()) {
        let tls13 = default.cipher_suites.iter().copied().filter(|suite| suite.tls13().is_some());
        suites.splice(0..0, tls13);
    }
    suites.retain(|suite| versions.contains(&suite.version()));
    Arc::new(CryptoProvider { cipher_suites: suites, ..default.as_ref().clone() })
}

fn iana_name(suite: SupportedCipherSuite) -> String {
    suite.suite().as_str().unwrap_or_default().replacen("TLS13_", "TLS_", 1)
}

/// The named versions that rustls speaks.
pub(super) fn versions(names: &[String]) -> Vec<&'static SupportedProtocolVersion> {
    let wants = |text: &str| names.iter().any(|name| name == text);
    let tls13 = wants("TLSv1.3").then_some(&version::TLS13);
    let tls12 = wants("TLSv1.2").then_some(&version::TLS12);
    tls13.into_iter().chain(tls12).collect()
}
