//! TLS towards peers: from `proxy_ssl_*` to a rustls configuration, and the handshake.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use qanat_plan as spec;
use qanat_plan::Level;
use rustls::client::{Resumption, danger::ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, Error};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client};

use super::accept_any::AcceptAny;
use super::deferred::Deferred;
use super::refusal::cause;
use super::trust::Trusting;
use super::verifier::Verifier;
use super::{Certificates, TlsContext, suites};
use crate::error::{SessionError, Source, Status};
use crate::phase::handshake::Shown;

/// How lines about a peer's certificate begin.
const REFUSED: &str = "upstream SSL certificate";
/// Sessions that one configuration remembers, over all names.
const SESSIONS: usize = 1024;

/// TLS settings towards peers, ready to connect.
pub struct PeerTls {
    pub(super) connector: TlsConnector,
    /// `proxy_ssl_verify`.
    verify: bool,
    /// Handlers judge the peer after the handshake, with what this says.
    judged: Option<Deferred>,
    certificates: Certificates,
}

impl PeerTls {
    /// Links the settings; equal ones may share their result, and with it the sessions that can be resumed. If
    /// `is_judged`, the handshake accepts any certificate, and what it proves is asked for after it.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn link(
        tls: &spec::ProxyTls,
        certificates: &Certificates,
        is_judged: bool,
        context: &TlsContext,
    ) -> Result<Arc<Self>, String> {
        // All but `name`, which is a matter of each connection.
        let peer = (
            tls.server_name,
            tls.verify,
            tls.verify_depth,
            &tls.trusted,
            &tls.certificate,
            tls.session_reuse,
        );
        let key = rmp_serde::to_vec(&(peer, &tls.protocols, &tls.ciphers, &tls.alpn, is_judged))
            .map_err(|error| error.to_string())?;
        let fits = |present: &Self| {
            present.certificates.len() == certificates.len()
                && present.certificates.iter().zip(certificates).all(|(one, other)| Arc::ptr_eq(one, other))
        };
        context.peers.get_or_link(&key, fits, || {
            let provider = suites::restrict(&context.provider, &tls.protocols, &tls.ciphers);
            let judged = is_judged.then(|| Deferred::link(tls, &provider)).transpose()?;
            let verifier = match &judged {
                Some(deferred) => Arc::new(Trusting(deferred.clone())),
                None => verifier(tls, &provider)?,
            };
            let config = configure(tls, certificates, provider, verifier)?;
            Ok(Self {
                connector: TlsConnector::from(Arc::new(config)),
                verify: tls.verify,
                judged,
                certificates: certificates.clone(),
            })
        })
    }

    /// Performs the handshake with a peer that should be `name`: a host name or an IP address.
    ///
    /// It has no timeout of its own: `proxy_connect_timeout` covers it. Not cancel safe.
    ///
    /// # Errors
    /// With status 502 when the handshake or the verification fails.
    pub async fn connect<S>(&self, stream: S, name: &str) -> Result<client::TlsStream<S>, SessionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let server_name = match ServerName::try_from(name) {
            Ok(valid) => valid.to_owned(),
            Err(_) if self.verify && self.judged.is_none() => return Err(failure(mismatch(name))),
            // An address is never sent as SNI, and nobody compares it.
            Err(_) => ServerName::from(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        };
        self.connector.connect(server_name, stream).await.map_err(|error| describe(error, name))
    }

    /// Whether handlers judge the peer.
    pub fn is_judged(&self) -> bool {
        self.judged.is_some()
    }

    /// What the peer has shown that should be `name`; in a resumed session, what it had shown before.
    pub fn shown<S>(&self, stream: &client::TlsStream<S>, name: &str) -> Box<Shown> {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let doubt = match &self.judged {
            Some(deferred) => deferred.verify(chain, name).err(),
            None => None,
        };
        Box::new(Shown {
            chain: chain.iter().map(|der| der.to_vec()).collect(),
            doubt: doubt.map(|error| doubt_of(&error, name)),
            enforced: self.verify,
            name: name.to_owned(),
        })
    }
}

fn configure(
    tls: &spec::ProxyTls,
    certificates: &Certificates,
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&suites::versions(&tls.protocols))
        .map_err(|error| format!("no cipher suite is left for the protocols: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match certificates.first() {
        None => builder.with_no_client_auth(),
        Some(certified) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&certified.key))))
        }
    };
    config.enable_sni = tls.server_name;
    config.alpn_protocols = tls.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption =
        if tls.session_reuse { Resumption::in_memory_sessions(SESSIONS) } else { Resumption::disabled() };
    Ok(config)
}

fn verifier(
    tls: &spec::ProxyTls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if !tls.verify {
        let algorithms = provider.signature_verification_algorithms;
        return Ok(Arc::new(Trusting(AcceptAny { algorithms })));
    }
    Ok(Arc::new(Trusting(Verifier::link(&tls.trusted, tls.verify_depth, provider)?)))
}

fn describe(error: io::Error, name: &str) -> SessionError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error @ Error::InvalidCertificate(_)) => failure(format!("{REFUSED} {}", doubt_of(error, name))),
        Some(reason) => failure(format!("TLS handshake with upstream failed ({reason})")),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            failure("peer closed connection in TLS handshake")
        }
        None => failure("TLS handshake with upstream failed").because(error),
    }
}

/// What is wrong with a peer's certificate, as the end of a sentence.
fn doubt_of(error: &Error, name: &str) -> String {
    match error {
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("does not match \"{name}\""),
        Error::InvalidCertificate(reason) => format!("verify error: ({})", cause(reason)),
        other => format!("verify error: ({other})"),
    }
}

fn mismatch(name: &str) -> String {
    format!("{REFUSED} does not match \"{name}\"")
}

fn failure(message: impl Into<String>) -> SessionError {
    SessionError::new(Status::BadGateway, Source::Peer, Level::Error, message)
}
