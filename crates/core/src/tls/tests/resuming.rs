//! Resumption: by ticket or by cache, across servers of one identity, and never beyond.

use super::*;

/// Whether a second connection, to `second`, resumes the session of a first one, to `first`.
async fn resumes(
    context: &TlsContext,
    first: &Arc<ServerTls>,
    second: &Arc<ServerTls>,
    protocol: &str,
) -> bool {
    let mut settings = peer_settings();
    settings.protocols = vec![protocol.to_owned()];
    // Settings of its own, so that no other test's sessions are used.
    let peer = link_peer(context, &settings);
    let (info, connected) = shake(first, &peer, "a.test").await;
    assert!(!info.unwrap().session_reused);
    drop(connected.unwrap());
    let (info, connected) = shake(second, &peer, "a.test").await;
    connected.unwrap();
    info.unwrap().session_reused
}

#[tokio::test]
async fn tickets_are_good_at_every_server_with_the_same_certificate() {
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let context = TlsContext::new().unwrap();
        let certificate = [ecdsa("a.test")];
        let server = link_server(&context, server_settings(), &certificate);
        let mut other = server_settings();
        other.handshake_timeout_ms = 1000;
        let other = link_server(&context, other, &certificate);
        assert!(!Arc::ptr_eq(&server, &other));
        assert!(resumes(&context, &server, &other, protocol).await, "{protocol}");
    }
}

#[tokio::test]
async fn tickets_are_no_good_where_another_certificate_is_served() {
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let context = TlsContext::new().unwrap();
        let first = link_server(&context, server_settings(), &[ecdsa("a.test")]);
        let second = link_server(&context, server_settings(), &[rsa("a.test")]);
        assert!(!resumes(&context, &first, &second, protocol).await, "{protocol}");
    }
}

#[tokio::test]
async fn without_tickets_only_a_cache_resumes() {
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        for (session_cache, expected) in [(0, false), (100, true)] {
            let context = TlsContext::new().unwrap();
            let mut settings = server_settings();
            settings.session_tickets = false;
            settings.session_cache = session_cache;
            let server = link_server(&context, settings, &[ecdsa("a.test")]);
            assert_eq!(resumes(&context, &server, &server, protocol).await, expected, "{protocol}");
        }
    }
}

#[tokio::test]
async fn a_peer_without_session_reuse_begins_anew() {
    let context = TlsContext::new().unwrap();
    let server = link_server(&context, server_settings(), &[ecdsa("a.test")]);
    let mut settings = peer_settings();
    settings.session_reuse = false;
    let peer = link_peer(&context, &settings);
    for _ in 0..2 {
        let (info, connected) = shake(&server, &peer, "a.test").await;
        connected.unwrap();
        assert!(!info.unwrap().session_reused);
    }
}

#[tokio::test]
async fn a_ticket_key_of_the_configuration_is_good_in_every_process() {
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let certificate = [ecdsa("a.test")];
        let link = |keys: &[Vec<u8>]| {
            let context = TlsContext::new().unwrap();
            let mut settings = server_settings();
            settings.session_ticket_keys = keys.to_vec();
            link_server(&context, settings, &certificate)
        };
        let (old, new) = (vec![1; 48], vec![2; 80]);
        let clients = TlsContext::new().unwrap();
        let first = link(std::slice::from_ref(&old));
        assert!(resumes(&clients, &first, &link(&[new.clone(), old]), protocol).await, "{protocol}");
        let clients = TlsContext::new().unwrap();
        assert!(!resumes(&clients, &first, &link(&[new]), protocol).await, "{protocol}: the key is gone");
        let clients = TlsContext::new().unwrap();
        assert!(!resumes(&clients, &first, &link(&[]), protocol).await, "{protocol}: keys of its own");
    }
}
