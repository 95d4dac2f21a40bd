//! `proxy_ssl_verify on`: what is accepted as nginx accepts it, and in what words the rest is refused.

use rcgen::{BasicConstraints, DnType, IsCa, Issuer, SigningKey, date_time_ymd};

use super::connecting::verifying;
use super::*;

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

/// Without any name but the common one.
fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn authority(common_name: &str) -> (CertificateParams, KeyPair) {
    let mut params = named(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params, key())
}

fn with_key(chain: Vec<Vec<u8>>, key: &KeyPair) -> spec::Certificate {
    spec::Certificate { id: "id".into(), chain, key: key.serialize_der(), origin: "test:1".into() }
}

fn self_signed(params: &CertificateParams) -> spec::Certificate {
    let key = key();
    with_key(vec![params.self_signed(&key).unwrap().der().to_vec()], &key)
}

/// Tag, length and content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, content].concat()
}

/// The elements within a sequence.
fn children(sequence: &[u8]) -> Vec<&[u8]> {
    let length_of = |der: &[u8]| match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(der[2])),
        _ => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
    };
    let mut rest = &sequence[length_of(sequence).0..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (head, content) = length_of(rest);
        let (one, others) = rest.split_at(head + content);
        found.push(one);
        rest = others;
    }
    found
}

/// The certificate as X.509 v1: without version and extensions, signed anew by `issuer`.
fn as_v1(der: &[u8], issuer: &KeyPair) -> Vec<u8> {
    let parts = children(der);
    let fields: Vec<_> =
        children(parts[0]).into_iter().filter(|field| !matches!(field[0], 0xa0 | 0xa3)).collect();
    let body = element(0x30, &fields.concat());
    let signature = element(0x03, &[&[0][..], &issuer.sign(&body).unwrap()].concat());
    element(0x30, &[&body[..], parts[1], &signature].concat())
}

/// What comes of a handshake with a peer of these protocols.
async fn verify(shown: &spec::Certificate, trusted: &[u8], depth: u32, protocol: &str) -> Result<(), String> {
    let context = TlsContext::new().unwrap();
    let mut settings = server_settings();
    settings.protocols = vec![protocol.into()];
    let server = link_server(&context, settings, std::slice::from_ref(shown));
    let mut settings = verifying(shown);
    settings.trusted = vec![trusted.to_vec()];
    settings.verify_depth = depth;
    let connected = shake(&server, &link_peer(&context, &settings), "a.test").await.1;
    connected.map(drop).map_err(|error| error.message)
}

async fn accepted(shown: &spec::Certificate, trusted: &[u8]) {
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        assert_eq!(verify(shown, trusted, 1, protocol).await, Ok(()), "{protocol}");
    }
}

async fn refused(shown: &spec::Certificate, trusted: &[u8], cause: &str) {
    let message = verify(shown, trusted, 1, "TLSv1.3").await.unwrap_err();
    assert_eq!(message, format!("upstream SSL certificate verify error: ({cause})"));
}

const MISMATCH: &str = "upstream SSL certificate does not match \"a.test\"";

#[tokio::test]
async fn a_trusted_certificate_may_be_the_peers_own_even_if_it_is_an_authority() {
    let mut params = named("ignored");
    params.subject_alt_names = vec![rcgen::SanType::DnsName("a.test".try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let shown = self_signed(&params);
    accepted(&shown, &shown.chain[0]).await;
}

#[tokio::test]
async fn the_common_name_counts_where_there_is_no_other_name() {
    for (name, fits) in [("A.test", true), ("*.test", false), ("b.test", false)] {
        let shown = self_signed(&named(name));
        let outcome = verify(&shown, &shown.chain[0], 1, "TLSv1.3").await;
        assert_eq!(outcome, if fits { Ok(()) } else { Err(MISMATCH.to_owned()) }, "{name}");
    }
    let mut both = named("a.test");
    both.subject_alt_names = vec![rcgen::SanType::DnsName("b.test".try_into().unwrap())];
    let shown = self_signed(&both);
    assert_eq!(verify(&shown, &shown.chain[0], 1, "TLSv1.3").await, Err(MISMATCH.to_owned()));
}

#[tokio::test]
async fn the_common_name_counts_behind_an_authority_too() {
    let (root, root_key) = authority("root");
    let trusted = root.self_signed(&root_key).unwrap();
    let issuer = Issuer::from_params(&root, &root_key);
    let leaf_key = key();
    let leaf = named("a.test").signed_by(&leaf_key, &issuer).unwrap();
    accepted(&with_key(vec![leaf.der().to_vec()], &leaf_key), trusted.der()).await;
    let other = named("b.test").signed_by(&leaf_key, &issuer).unwrap();
    let shown = with_key(vec![other.der().to_vec()], &leaf_key);
    assert_eq!(verify(&shown, trusted.der(), 1, "TLSv1.3").await, Err(MISMATCH.to_owned()));
}

#[tokio::test]
async fn the_common_name_says_nothing_under_an_authority_of_limited_names() {
    let (mut root, root_key) = authority("root");
    root.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("b.test".into())],
        excluded_subtrees: Vec::new(),
    });
    let trusted = root.self_signed(&root_key).unwrap();
    let leaf_key = key();
    let leaf = named("a.test").signed_by(&leaf_key, &Issuer::from_params(&root, &root_key)).unwrap();
    let shown = with_key(vec![leaf.der().to_vec()], &leaf_key);
    assert_eq!(verify(&shown, trusted.der(), 1, "TLSv1.3").await, Err(MISMATCH.to_owned()));
}

#[tokio::test]
async fn certificates_of_version_1_are_accepted() {
    let own_key = key();
    let own = as_v1(named("a.test").self_signed(&own_key).unwrap().der(), &own_key);
    accepted(&with_key(vec![own.clone()], &own_key), &own).await;

    let (root, root_key) = authority("root");
    let trusted = root.self_signed(&root_key).unwrap();
    let leaf = named("a.test").signed_by(&own_key, &Issuer::from_params(&root, &root_key)).unwrap();
    accepted(&with_key(vec![as_v1(leaf.der(), &root_key)], &own_key), trusted.der()).await;
    let forged = with_key(vec![as_v1(leaf.der(), &key())], &own_key);
    refused(&forged, trusted.der(), "20:unable to get local issuer certificate").await;
}

#[tokio::test]
async fn whoever_is_no_authority_issues_nothing() {
    let issuer_key = key();
    let issuer = named("trusted");
    let trusted = issuer.self_signed(&issuer_key).unwrap();
    let leaf_key = key();
    let leaf = named("a.test").signed_by(&leaf_key, &Issuer::from_params(&issuer, &issuer_key)).unwrap();
    let shown = with_key(vec![as_v1(leaf.der(), &issuer_key)], &leaf_key);
    refused(&shown, trusted.der(), "20:unable to get local issuer certificate").await;
}

/// The trusted certificate is public: showing it is no proof.
#[tokio::test]
async fn a_peer_must_hold_the_key_of_the_trusted_certificate() {
    let own_key = key();
    let v3 = named("a.test").self_signed(&own_key).unwrap().der().to_vec();
    let v1 = as_v1(&v3, &own_key);
    for der in [v3, v1] {
        for protocol in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let context = TlsContext::new().unwrap();
            let peer = link_peer(&context, &verifying(&with_key(vec![der.clone()], &own_key)));
            let wrong = context.provider.key_provider;
            let wrong = wrong.load_private_key(key().serialize_der().try_into().unwrap()).unwrap();
            let shown = rustls::sign::CertifiedKey::new(vec![der.clone().into()], wrong);
            let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&context.provider))
                .with_protocol_versions(&[protocol])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
            let (near, far) = duplex(16 * 1024);
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            let (_, connected) = tokio::join!(acceptor.accept(far), peer.connect(near, "a.test"));
            let message = connected.unwrap_err().message;
            assert_eq!(message, "upstream SSL certificate verify error: (7:certificate signature failure)");
        }
    }
}

#[tokio::test]
async fn causes_are_named_in_words() {
    let other = self_signed(&named("other"));
    refused(&self_signed(&named("a.test")), &other.chain[0], "18:self-signed certificate").await;

    let (root, root_key) = authority("root");
    let issuer = Issuer::from_params(&root, &root_key);
    let leaf_key = key();
    let leaf = named("a.test").signed_by(&leaf_key, &issuer).unwrap().der().to_vec();
    let alone = with_key(vec![leaf.clone()], &leaf_key);
    refused(&alone, &other.chain[0], "20:unable to get local issuer certificate").await;
    let whole = with_key(vec![leaf, root.self_signed(&root_key).unwrap().der().to_vec()], &leaf_key);
    refused(&whole, &other.chain[0], "19:self-signed certificate in certificate chain").await;

    let mut late = named("a.test");
    late.not_after = date_time_ymd(2001, 1, 1);
    let late = self_signed(&late);
    refused(&late, &late.chain[0], "10:certificate has expired").await;
    let mut early = named("a.test");
    early.not_before = date_time_ymd(3000, 1, 1);
    let early = self_signed(&early);
    refused(&early, &early.chain[0], "9:certificate is not yet valid").await;
    let mut client = named("a.test");
    client.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let client = self_signed(&client);
    refused(&client, &client.chain[0], "26:unsuitable certificate purpose").await;
}

#[tokio::test]
async fn the_depth_is_the_number_of_authorities_between() {
    let (root, root_key) = authority("root");
    let (first, first_key) = authority("first");
    let (second, second_key) = authority("second");
    let trusted = root.self_signed(&root_key).unwrap();
    let leaf_key = key();
    let chain = [
        named("a.test").signed_by(&leaf_key, &Issuer::from_params(&second, &second_key)).unwrap(),
        second.signed_by(&second_key, &Issuer::from_params(&first, &first_key)).unwrap(),
        first.signed_by(&first_key, &Issuer::from_params(&root, &root_key)).unwrap(),
        trusted.clone(),
    ];
    let chain = chain.iter().map(|certificate| certificate.der().to_vec()).collect();
    let shown = with_key(chain, &leaf_key);
    assert_eq!(verify(&shown, trusted.der(), 2, "TLSv1.3").await, Ok(()));
    refused(&shown, trusted.der(), "22:certificate chain too long").await;
}
