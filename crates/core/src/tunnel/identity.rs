//! Who a node is: an Ed25519 key, shown in TLS as a raw public key (RFC 7250). There are no certificates to keep, and
//! nothing that expires.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, Error, PeerIncompatible, ProtocolVersion, ServerConfig, SignatureScheme,
    version,
};

use crate::tls::{Chain, Signed, Trust, Trusting};

/// What a carrier is called in the TLS handshake.
const ALPN: &[u8] = b"qanat-tunnel/1";
/// What comes before the key in an Ed25519 `SubjectPublicKeyInfo` (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The public key of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeKey(pub [u8; 32]);

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ed25519:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl NodeKey {
    /// Reads the key that a peer has shown in its handshake.
    pub(super) fn shown(certificates: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let key = certificates?.first()?.strip_prefix(&SPKI_PREFIX)?;
        key.try_into().ok().map(Self)
    }
}

/// This node's key, ready for handshakes of either role.
#[derive(Debug)]
pub struct Identity {
    /// The public key.
    pub key: NodeKey,
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

impl Identity {
    /// The identity of a private key, as PKCS#8 DER.
    ///
    /// # Errors
    /// If it is not an Ed25519 key.
    pub fn new(pkcs8: &[u8]) -> Result<Self, String> {
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![
                TLS13_AES_128_GCM_SHA256,
                TLS13_AES_256_GCM_SHA384,
                TLS13_CHACHA20_POLY1305_SHA256,
            ],
            ..aws_lc_rs::default_provider()
        });
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec()));
        let private = aws_lc_rs::sign::any_eddsa_type(match &private {
            PrivateKeyDer::Pkcs8(private) => private,
            _ => return Err("not a PKCS#8 key".to_owned()),
        });
        let private = private.map_err(|error| format!("not an Ed25519 key: {error}"))?;
        let public = private.public_key().ok_or("a key without a public half")?;
        let certificate = CertificateDer::from(public.to_vec());
        let key = NodeKey::shown(Some(std::slice::from_ref(&certificate))).ok_or("not an Ed25519 key")?;
        let certified = Arc::new(CertifiedKey::new(vec![certificate], private));
        let verifier = Arc::new(Trusting(AnyKey { algorithms: provider.signature_verification_algorithms }));
        let tls13 = [&version::TLS13];
        let fail = |error: Error| format!("TLS for tunnels: {error}");
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&tls13)
            .map_err(fail)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(
                &certified,
            ))));
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.enable_sni = false;
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&tls13)
            .map_err(fail)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified)));
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self { key, client: Arc::new(client), server: Arc::new(server) })
    }
}

/// Checks that the other side holds the key that it shows. Whether that key is welcome is decided after.
#[derive(Debug)]
struct AnyKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust for AnyKey {
    fn check(&self, chain: &Chain<'_>) -> Result<(), Error> {
        match NodeKey::shown(Some(std::slice::from_ref(chain.leaf))) {
            Some(_) => Ok(()),
            None => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify(&self, signed: &Signed<'_>) -> Result<HandshakeSignatureValid, Error> {
        if signed.version != ProtocolVersion::TLSv1_3 {
            return Err(PeerIncompatible::Tls12NotOffered.into());
        }
        let key = SubjectPublicKeyInfoDer::from(signed.leaf.as_ref());
        verify_tls13_signature_with_raw_key(signed.message, &key, signed.signature, &self.algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn wants_raw_keys(&self) -> bool {
        true
    }
}
