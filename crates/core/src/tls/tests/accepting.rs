//! Termination: certificates, choice by name, parameters, refusals.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::super::accept_any::AcceptAny;
use super::super::trust::Trusting;
use super::*;
use crate::error::Status;

#[test]
fn a_key_that_does_not_match_its_certificate_is_refused() {
    let context = TlsContext::new().unwrap();
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut mixed = ecdsa("a.test");
    mixed.key = other.serialize_der();
    let error = CertifiedKey::link(&mixed, &context).unwrap_err();
    assert_eq!(error, "the private key does not match the certificate");
    mixed.key = b"no key".to_vec();
    assert!(CertifiedKey::link(&mixed, &context).unwrap_err().starts_with("cannot use the private key: "));
    mixed.chain.clear();
    mixed.key = other.serialize_der();
    assert_eq!(CertifiedKey::link(&mixed, &context).unwrap_err(), "no certificate");
}

#[tokio::test]
async fn tls13_session_is_described_in_openssl_words() {
    let context = TlsContext::new().unwrap();
    let mut settings = server_settings();
    settings.alpn = vec!["h2".into(), "stream".into()];
    let server = link_server(&context, settings, &[rsa("a.test")]);
    let mut peer = peer_settings();
    peer.alpn = vec!["other".into(), "stream".into()];
    let (info, _) = shake(&server, &link_peer(&context, &peer), "A.test").await;
    let info = info.unwrap();
    assert_eq!((info.protocol, info.cipher), ("TLSv1.3", "TLS_AES_256_GCM_SHA384"));
    assert_eq!(info.curve, "X25519MLKEM768");
    assert_eq!(info.server_name.as_deref(), Some("a.test"));
    assert_eq!(info.alpn.as_deref(), Some(&b"stream"[..]));
    assert!(!info.session_reused);
    assert!(info.ciphers().starts_with("TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:"));
    assert!(info.curves().contains("X25519:prime256v1"), "{}", info.curves());
}

#[tokio::test]
async fn protocols_and_ciphers_are_those_of_the_settings() {
    let context = TlsContext::new().unwrap();
    let mut settings = server_settings();
    settings.protocols = vec!["TLSv1.2".into()];
    settings.ciphers =
        vec!["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".into(), "TLS_RSA_WITH_3DES_EDE_CBC_SHA".into()];
    let server = link_server(&context, settings.clone(), &[rsa("a.test")]);
    let (info, _) = shake(&server, &link_peer(&context, &peer_settings()), "a.test").await;
    let info = info.unwrap();
    assert_eq!((info.protocol, info.cipher), ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256"));

    // `ssl_ciphers` says nothing about TLS 1.3.
    settings.protocols = vec!["TLSv1.2".into(), "TLSv1.3".into()];
    let server = link_server(&context, settings.clone(), &[rsa("a.test")]);
    let (info, _) = shake(&server, &link_peer(&context, &peer_settings()), "a.test").await;
    assert_eq!(info.unwrap().cipher, "TLS_AES_256_GCM_SHA384");

    settings.ciphers = vec!["TLS13_CHACHA20_POLY1305_SHA256".into()];
    let server = link_server(&context, settings.clone(), &[rsa("a.test")]);
    let (info, _) = shake(&server, &link_peer(&context, &peer_settings()), "a.test").await;
    assert_eq!(info.unwrap().cipher, "TLS_CHACHA20_POLY1305_SHA256");

    settings.protocols = vec!["TLSv1.2".into()];
    let certificates = vec![Arc::new(CertifiedKey::link(&rsa("a.test"), &context).unwrap())];
    let error = ServerTls::link(&settings, &certificates, false, &context).unwrap_err();
    assert!(error.starts_with("no cipher suite is left"), "{error}");
}

#[tokio::test]
async fn server_order_of_ciphers_counts_when_preferred() {
    let context = TlsContext::new().unwrap();
    let mut settings = server_settings();
    settings.ciphers = vec!["TLS13_AES_128_GCM_SHA256".into(), "TLS13_AES_256_GCM_SHA384".into()];
    settings.prefer_server_ciphers = true;
    let server = link_server(&context, settings, &[ecdsa("a.test")]);
    let (info, _) = shake(&server, &link_peer(&context, &peer_settings()), "a.test").await;
    assert_eq!(info.unwrap().cipher, "TLS_AES_128_GCM_SHA256");
}

#[tokio::test]
async fn alpn_without_overlap_is_a_fatal_alert_and_without_setting_is_ignored() {
    let context = TlsContext::new().unwrap();
    let mut peer = peer_settings();
    peer.alpn = vec!["h2".into()];
    let peer = link_peer(&context, &peer);
    let mut settings = server_settings();
    let server = link_server(&context, settings.clone(), &[ecdsa("a.test")]);
    assert_eq!(shake(&server, &peer, "a.test").await.0.unwrap().alpn, None);

    settings.alpn = vec!["stream".into()];
    let server = link_server(&context, settings, &[ecdsa("a.test")]);
    let (accepted, connected) = shake(&server, &peer, "a.test").await;
    let error = accepted.unwrap_err();
    assert_eq!(error.status, Status::Internal);
    assert!(error.message.starts_with("TLS handshake failed ("), "{error}");
    assert!(connected.unwrap_err().message.contains("NoApplicationProtocol"));
}

#[tokio::test]
async fn the_certificate_suits_the_client() {
    let context = TlsContext::new().unwrap();
    let pair = [ecdsa("a.test"), rsa("a.test")];
    let server = link_server(&context, server_settings(), &pair);
    for (cipher, expected) in [
        ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", &pair[1]),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", &pair[0]),
    ] {
        let mut peer = peer_settings();
        peer.protocols = vec!["TLSv1.2".into()];
        peer.ciphers = vec![cipher.into()];
        let (accepted, connected) = shake(&server, &link_peer(&context, &peer), "a.test").await;
        accepted.unwrap();
        let connected = connected.unwrap();
        let shown = connected.get_ref().1.peer_certificates().unwrap();
        assert_eq!(shown[0].as_ref(), expected.chain[0].as_slice(), "{cipher}");
    }
}

/// A client that prefers its schemes in the reverse of rustls' order: RSA first.
fn prefers_rsa(context: &TlsContext) -> rustls::ClientConfig {
    let mut algorithms = context.provider.signature_verification_algorithms;
    algorithms.mapping = algorithms.mapping.iter().rev().copied().collect::<Vec<_>>().leak();
    rustls::ClientConfig::builder_with_provider(Arc::clone(&context.provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(AcceptAny { algorithms })))
        .with_no_client_auth()
}

#[tokio::test]
async fn the_client_s_order_of_signature_schemes_chooses_the_certificate() {
    let context = TlsContext::new().unwrap();
    let (ecdsa, rsa) = (ecdsa("a.test"), rsa("a.test"));
    let usual = Arc::clone(link_peer(&context, &peer_settings()).connector.config());
    for (client, expected) in [(usual, &ecdsa), (Arc::new(prefers_rsa(&context)), &rsa)] {
        for pair in [[ecdsa.clone(), rsa.clone()], [rsa.clone(), ecdsa.clone()]] {
            let server = link_server(&context, server_settings(), &pair);
            let (near, far) = duplex(16 * 1024);
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&client));
            let connecting = connector.connect("a.test".try_into().unwrap(), far);
            let (accepted, connected) = tokio::join!(accept(near, LONG, |_| Some(server)), connecting);
            accepted.unwrap();
            let shown = connected.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone();
            assert_eq!(shown.as_ref(), expected.chain[0].as_slice(), "{}", pair[0].id);
        }
    }
}

#[tokio::test]
async fn the_virtual_server_is_chosen_by_the_name_asked_for() {
    let context = TlsContext::new().unwrap();
    let certificates = [ecdsa("a.test"), ecdsa("b.test")];
    let servers: Vec<_> = certificates
        .iter()
        .map(|certificate| link_server(&context, server_settings(), std::slice::from_ref(certificate)))
        .collect();
    let peer = link_peer(&context, &peer_settings());
    for (name, expected) in [("a.test", 0), ("b.test", 1)] {
        let (near, far) = duplex(16 * 1024);
        let choose = |hello: &rustls::server::ClientHello<'_>| match hello.server_name() {
            Some("b.test") => Some(Arc::clone(&servers[1])),
            _ => Some(Arc::clone(&servers[0])),
        };
        let (accepted, connected) = tokio::join!(accept(near, LONG, choose), peer.connect(far, name));
        assert_eq!(accepted.unwrap().1.server_name.as_deref(), Some(name));
        let connected = connected.unwrap();
        let shown = connected.get_ref().1.peer_certificates().unwrap();
        assert_eq!(shown[0].as_ref(), certificates[expected].chain[0].as_slice());
    }
}

/// What a client gets that sends `bytes`, until the end of the stream; and our side of it.
async fn answer(bytes: &[u8], server: Option<Arc<ServerTls>>) -> (Vec<u8>, SessionError) {
    let (near, mut far) = duplex(16 * 1024);
    far.write_all(bytes).await.unwrap();
    let error = accept(near, LONG, |_| server).await.unwrap_err();
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await.unwrap();
    (answer, error)
}

#[tokio::test]
async fn a_rejected_handshake_gets_the_alert_unrecognized_name() {
    let context = TlsContext::new().unwrap();
    let mut settings = server_settings();
    settings.reject_handshake = true;
    let server = link_server(&context, settings, &[]);
    let (answer, error) = answer(&client_hello("a.test"), Some(server)).await;
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 112]);
    assert_eq!(error.status, Status::Internal);
    assert_eq!(error.message, "TLS handshake rejected: server name \"a.test\"");
}

#[tokio::test]
async fn a_server_without_certificate_gives_the_alert_handshake_failure() {
    let (answer, error) = answer(&client_hello("a.test"), None).await;
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 40]);
    assert_eq!(error.message, "TLS handshake refused: no certificate for \"a.test\"");
    let context = TlsContext::new().unwrap();
    assert_eq!(
        ServerTls::link(&server_settings(), &Vec::new(), false, &context).unwrap_err(),
        "no certificate"
    );
}

#[tokio::test]
async fn bytes_that_are_no_tls_end_the_session() {
    let (answer, error) = answer(b"GET / HTTP/1.1\r\n\r\n", None).await;
    assert_eq!(answer[0], 21, "an alert");
    assert_eq!(error.status, Status::Internal);
    assert!(error.message.starts_with("TLS handshake failed ("), "{error}");
}

#[tokio::test]
async fn a_client_that_leaves_during_the_handshake_is_told_apart() {
    let (near, far) = duplex(16 * 1024);
    drop(far);
    let error = accept(near, LONG, |_| None).await.unwrap_err();
    assert_eq!(error.message, "client closed connection in TLS handshake");

    let context = TlsContext::new().unwrap();
    let server = link_server(&context, server_settings(), &[ecdsa("a.test")]);
    let (near, mut far) = duplex(16 * 1024);
    far.write_all(&client_hello("a.test")).await.unwrap();
    far.shutdown().await.unwrap();
    let error = accept(near, LONG, |_| Some(server)).await.unwrap_err();
    assert_eq!(error.message, "client closed connection in TLS handshake");
}

#[tokio::test]
async fn a_silent_client_times_out() {
    let (near, _far) = duplex(16 * 1024);
    let error = accept(near, Duration::from_millis(1), |_| None).await.unwrap_err();
    assert_eq!(error.to_string(), "client timed out (110: Connection timed out)");
    assert_eq!(error.status, Status::Internal);
}

#[test]
fn servers_with_equal_settings_share_one_configuration() {
    let context = TlsContext::new().unwrap();
    let certificates = vec![Arc::new(CertifiedKey::link(&ecdsa("a.test"), &context).unwrap())];
    let link =
        |settings: &spec::ServerTls| ServerTls::link(settings, &certificates, false, &context).unwrap();
    let first = link(&server_settings());
    assert!(Arc::ptr_eq(&first, &link(&server_settings())));
    let mut other = server_settings();
    other.alpn.push("h2".into());
    assert!(!Arc::ptr_eq(&first, &link(&other)));

    let replaced = vec![Arc::new(CertifiedKey::link(&ecdsa("a.test"), &context).unwrap())];
    let second = ServerTls::link(&server_settings(), &replaced, false, &context).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
}
