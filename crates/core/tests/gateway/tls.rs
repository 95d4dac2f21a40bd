//! TLS listeners: which virtual server answers, and with which certificate.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use qanat_plan as spec;
use rcgen::{CertificateParams, KeyPair};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Running, connect, exact, free_address, listener, objects, server, tcp_id, text};

/// A self-signed certificate; its first name is its id.
fn certificate(names: &[&str]) -> spec::Certificate {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let id = names[0].clone();
    let signed = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    spec::Certificate {
        id,
        chain: vec![signed.der().to_vec()],
        key: key.serialize_der(),
        origin: "test.conf:4".into(),
    }
}

fn settings(certificate: Option<&str>) -> spec::ServerTls {
    spec::ServerTls {
        certificates: certificate.into_iter().map(str::to_owned).collect(),
        protocols: vec!["TLSv1.2".into(), "TLSv1.3".into()],
        ciphers: Vec::new(),
        prefer_server_ciphers: false,
        alpn: Vec::new(),
        reject_handshake: certificate.is_none(),
        session_tickets: true,
        session_ticket_keys: Vec::new(),
        session_cache: 0,
        session_timeout_s: 300,
        handshake_timeout_ms: 60_000,
    }
}

/// A TLS server called `name`, which returns its name.
fn secure(listener: &str, name: &str, certificate: Option<&str>) -> spec::Server {
    let mut server = server(listener, name, name);
    server.tls = Some(settings(certificate));
    server
}

/// What the server says to a client that asks for `name` and trusts `roots`.
fn ask(address: &str, name: &str, roots: &[spec::Certificate]) -> std::io::Result<String> {
    let mut trusted = RootCertStore::empty();
    for root in roots {
        trusted.add(root.chain[0].clone().into()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let mut stream: StreamOwned<ClientConnection, TcpStream> = StreamOwned::new(client, connect(address));
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_rejecting_default_turns_unknown_names_away() {
    let running = Running::start(2);
    let address = free_address();
    let id = tcp_id(&address);
    let known = certificate(&["a.example"]);
    let mut listener = listener(&address);
    listener.tls = true;
    running.put(objects(vec![listener], vec![secure(&id, "", None)]));
    let refused = ask(&address, "a.example", std::slice::from_ref(&known)).unwrap_err();
    let alert = refused.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    assert_eq!(alert, Some(&rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)));
    running.wait_for("failed", |failed| failed == 1);
    let mut put = objects(vec![], vec![secure(&id, "a.example", Some("a.example"))]);
    put.certificates = vec![known.clone()];
    running.put(put);
    assert_eq!(ask(&address, "a.example", std::slice::from_ref(&known)).unwrap(), "a.example");
    assert!(ask(&address, "b.example", &[known]).is_err());
}

#[test]
fn a_known_name_overrides_the_mesh_choice_and_an_unknown_one_does_not() {
    let running = Running::start(1);
    let address = free_address();
    let id = tcp_id(&address);
    let roots = [certificate(&["mesh.example", "other.example"]), certificate(&["sni.example"])];
    let mut listener = listener(&address);
    listener.tls = true;
    let mut default = secure(&id, "", None);
    default.set = vec![spec::SetVariable { name: "mesh_server_name".into(), value: text("18082") }];
    let mut by_port = secure(&id, "18082", Some("mesh.example"));
    by_port.names = vec![exact("18082")];
    let by_name = secure(&id, "sni.example", Some("sni.example"));
    let mut put = objects(vec![listener], vec![default, by_port, by_name]);
    put.certificates = roots.to_vec();
    running.put(put);
    assert_eq!(ask(&address, "other.example", &roots).unwrap(), "18082");
    assert_eq!(ask(&address, "sni.example", &roots).unwrap(), "sni.example");
}

#[test]
fn a_client_that_does_not_speak_tls_fails_alone() {
    let running = Running::start(1);
    let address = free_address();
    let id = tcp_id(&address);
    let roots = [certificate(&["a.example"])];
    let mut listener = listener(&address);
    listener.tls = true;
    let mut put = objects(vec![listener], vec![secure(&id, "", Some("a.example"))]);
    put.certificates = roots.to_vec();
    running.put(put);
    let mut plain = connect(&address);
    std::io::Write::write_all(&mut plain, b"GET / HTTP/1.0\r\n\r\n").unwrap();
    running.wait_for("failed", |failed| failed == 1);
    assert_eq!(ask(&address, "a.example", &roots).unwrap(), "");
}
