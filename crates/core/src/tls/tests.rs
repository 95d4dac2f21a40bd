//! Handshakes over in-memory streams: our accepting side against our connecting side.

mod accepting;
mod connecting;
mod resuming;
mod verifying;

use std::sync::Arc;
use std::time::Duration;

use qanat_plan as spec;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::client;

use super::{CertifiedKey, PeerTls, ServerTls, TlsContext, TlsInfo, accept};
use crate::error::SessionError;

const LONG: Duration = Duration::from_secs(60);

/// A self-signed certificate.
fn certificate(name: &str, key: &KeyPair) -> spec::Certificate {
    let signed = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(key).unwrap();
    spec::Certificate {
        id: format!("{name} {:?}", key.algorithm()),
        chain: vec![signed.der().to_vec()],
        key: key.serialize_der(),
        origin: "test:1".to_owned(),
    }
}

fn ecdsa(name: &str) -> spec::Certificate {
    certificate(name, &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
}

fn rsa(name: &str) -> spec::Certificate {
    certificate(name, &KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap())
}

/// Settings as the compiler fills them in by default.
fn server_settings() -> spec::ServerTls {
    spec::ServerTls {
        certificates: Vec::new(),
        protocols: vec!["TLSv1.2".into(), "TLSv1.3".into()],
        ciphers: Vec::new(),
        prefer_server_ciphers: false,
        alpn: Vec::new(),
        reject_handshake: false,
        session_tickets: true,
        session_ticket_keys: Vec::new(),
        session_cache: 0,
        session_timeout_s: 300,
        handshake_timeout_ms: 60_000,
    }
}

fn peer_settings() -> spec::ProxyTls {
    spec::ProxyTls {
        name: None,
        server_name: true,
        verify: false,
        verify_depth: 1,
        trusted: Vec::new(),
        certificate: None,
        protocols: vec!["TLSv1.2".into(), "TLSv1.3".into()],
        ciphers: Vec::new(),
        alpn: Vec::new(),
        session_reuse: true,
    }
}

fn link_server(
    context: &TlsContext,
    mut settings: spec::ServerTls,
    certificates: &[spec::Certificate],
) -> Arc<ServerTls> {
    settings.certificates = certificates.iter().map(|certificate| certificate.id.clone()).collect();
    let linked =
        certificates.iter().map(|spec| Arc::new(CertifiedKey::link(spec, context).unwrap())).collect();
    ServerTls::link(&settings, &linked, false, context).unwrap()
}

fn link_peer(context: &TlsContext, settings: &spec::ProxyTls) -> Arc<PeerTls> {
    PeerTls::link(settings, &Vec::new(), false, context).unwrap()
}

type ClientResult = Result<client::TlsStream<DuplexStream>, SessionError>;

/// A handshake, and after it one byte each way. Returns what both ends know.
async fn shake(
    server: &Arc<ServerTls>,
    peer: &PeerTls,
    name: &str,
) -> (Result<TlsInfo, SessionError>, ClientResult) {
    let (near, far) = duplex(16 * 1024);
    let accepting = async {
        let (mut stream, info) = accept(near, LONG, |_| Some(Arc::clone(server))).await?;
        let byte = stream.read_u8().await.unwrap();
        stream.write_u8(byte + 1).await.unwrap();
        stream.flush().await.unwrap();
        Ok(info)
    };
    let connecting = async {
        let mut stream = peer.connect(far, name).await?;
        stream.write_u8(7).await.map_err(io_error)?;
        stream.flush().await.map_err(io_error)?;
        assert_eq!(stream.read_u8().await.map_err(io_error)?, 8);
        Ok(stream)
    };
    tokio::join!(accepting, connecting)
}

/// An alert may arrive only after the client believes the handshake done (TLS 1.3).
fn io_error(error: std::io::Error) -> SessionError {
    use crate::error::{Source, Status};
    SessionError::silent(Status::BadGateway, Source::Peer).because(error)
}

/// The first bytes that a client sends.
fn client_hello(name: &str) -> Vec<u8> {
    let context = TlsContext::new().unwrap();
    let peer = link_peer(&context, &peer_settings());
    let name = rustls::pki_types::ServerName::try_from(name).unwrap().to_owned();
    let mut client = rustls::ClientConnection::new(Arc::clone(peer.connector.config()), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}
