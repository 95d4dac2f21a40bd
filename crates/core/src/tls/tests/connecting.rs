//! Origination: verification, names, what is shared.

use super::*;
use crate::error::{Source, Status};

pub(super) fn verifying(trusted: &spec::Certificate) -> spec::ProxyTls {
    let mut settings = peer_settings();
    settings.verify = true;
    settings.trusted = trusted.chain.clone();
    settings
}

#[tokio::test]
async fn a_trusted_certificate_for_the_name_is_accepted() {
    let context = TlsContext::new().unwrap();
    let certificate = ecdsa("a.test");
    let server = link_server(&context, server_settings(), std::slice::from_ref(&certificate));
    let peer = link_peer(&context, &verifying(&certificate));
    let (info, connected) = shake(&server, &peer, "a.test").await;
    connected.unwrap();
    assert_eq!(info.unwrap().protocol, "TLSv1.3");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let context = TlsContext::new().unwrap();
    let certificate = ecdsa("a.test");
    let server = link_server(&context, server_settings(), std::slice::from_ref(&certificate));
    let peer = link_peer(&context, &verifying(&certificate));
    let (accepted, connected) = shake(&server, &peer, "b.test").await;
    let error = connected.unwrap_err();
    assert_eq!(error.message, "upstream SSL certificate does not match \"b.test\"");
    assert_eq!((error.status, error.source), (Status::BadGateway, Source::Peer));
    assert!(accepted.is_err(), "the peer gets an alert");
}

#[tokio::test]
async fn an_untrusted_certificate_is_refused() {
    let context = TlsContext::new().unwrap();
    let server = link_server(&context, server_settings(), &[ecdsa("a.test")]);
    let peer = link_peer(&context, &verifying(&ecdsa("other.test")));
    let error = shake(&server, &peer, "a.test").await.1.unwrap_err();
    assert_eq!(error.message, "upstream SSL certificate verify error: (18:self-signed certificate)");
}

#[test]
fn verification_needs_something_to_trust() {
    let context = TlsContext::new().unwrap();
    let mut settings = peer_settings();
    settings.verify = true;
    let link = |settings: &spec::ProxyTls| match PeerTls::link(settings, &Vec::new(), false, &context) {
        Ok(_) => panic!("linked"),
        Err(message) => message,
    };
    assert!(link(&settings).starts_with("no trusted certificate to verify with: "));
    settings.trusted = vec![b"no certificate".to_vec()];
    assert!(link(&settings).starts_with("cannot use a trusted certificate: "));
}

#[tokio::test]
async fn the_name_is_sent_only_when_asked_for_and_never_if_it_is_an_address() {
    let context = TlsContext::new().unwrap();
    let server = link_server(&context, server_settings(), &[ecdsa("a.test")]);
    let mut settings = peer_settings();
    for (server_name, name, sent) in [
        (true, "a.test", Some("a.test")),
        (true, "127.0.0.1", None),
        (true, "::1", None),
        (true, "not a name!", None),
        (false, "a.test", None),
    ] {
        settings.server_name = server_name;
        let (info, connected) = shake(&server, &link_peer(&context, &settings), name).await;
        connected.unwrap();
        assert_eq!(info.unwrap().server_name.as_deref(), sent, "{name}");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_verified_is_refused() {
    let context = TlsContext::new().unwrap();
    let certificate = ecdsa("a.test");
    let peer = link_peer(&context, &verifying(&certificate));
    let (near, _far) = duplex(16);
    let error = peer.connect(near, "not a name!").await.unwrap_err();
    assert_eq!(error.message, "upstream SSL certificate does not match \"not a name!\"");
}

#[tokio::test]
async fn a_peer_that_closes_is_told_apart() {
    let context = TlsContext::new().unwrap();
    let peer = link_peer(&context, &peer_settings());
    let (near, mut far) = duplex(16 * 1024);
    far.shutdown().await.unwrap();
    let error = peer.connect(near, "a.test").await.unwrap_err();
    assert_eq!(error.message, "peer closed connection in TLS handshake");
}

#[tokio::test]
async fn the_client_certificate_is_shown_to_a_peer_that_asks() {
    let context = TlsContext::new().unwrap();
    let ours = ecdsa("client.test");
    let theirs = ecdsa("a.test");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ours.chain[0].as_slice().into()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&context.provider),
    );
    let key = rustls::pki_types::PrivateKeyDer::try_from(theirs.key.clone()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&context.provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![theirs.chain[0].clone().into()], key)
        .unwrap();
    let certificates = vec![Arc::new(CertifiedKey::link(&ours, &context).unwrap())];
    let peer = PeerTls::link(&peer_settings(), &certificates, false, &context).unwrap();
    let (near, far) = duplex(16 * 1024);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (accepted, connected) = tokio::join!(acceptor.accept(far), peer.connect(near, "a.test"));
    connected.unwrap();
    let accepted = accepted.unwrap();
    assert_eq!(accepted.get_ref().1.peer_certificates().unwrap()[0].as_ref(), ours.chain[0].as_slice());
}

#[test]
fn equal_settings_share_their_sessions_whatever_the_name() {
    let context = TlsContext::new().unwrap();
    let first = link_peer(&context, &peer_settings());
    let mut named = peer_settings();
    named.name = Some(spec::Template::default());
    assert!(Arc::ptr_eq(&first, &link_peer(&context, &named)));
    named.alpn.push("h2".into());
    assert!(!Arc::ptr_eq(&first, &link_peer(&context, &named)));
}
