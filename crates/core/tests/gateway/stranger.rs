//! The protocol of tunnels as somebody else might speak it: a carrier by hand, blocking, that can also be rude. It shares
//! nothing with the gateway but the frames.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use qanat_wire::tunnel_frame::{Code, Frame, Hello, Progress, Scribe, decode};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{aws_lc_rs as provider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, DistinguishedName, Error,
    ServerConfig, ServerConnection, SignatureScheme,
};

use crate::support::{DEADLINE, connect};

/// The way, and the length of it with a proof.
const BY_SECRET: u8 = 1;
const PREFACE: usize = 33;

/// One end of a carrier's TLS session.
pub(crate) struct Line {
    tls: Connection,
    socket: TcpStream,
    /// Its own public key, as `SubjectPublicKeyInfo`.
    own: Vec<u8>,
    /// What has arrived and was not looked at.
    received: Vec<u8>,
}

impl Line {
    /// TLS to an acceptor.
    pub(crate) fn to(address: &str) -> Self {
        let (own, certified) = key();
        let mut config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)));
        config.alpn_protocols = vec![b"qanat-tunnel/1".to_vec()];
        config.enable_sni = false;
        let name = ServerName::try_from("0.0.0.0").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        Self::established(tls.into(), connect(address), own).unwrap()
    }

    /// TLS with whoever has dialled.
    pub(crate) fn with(socket: TcpStream) -> io::Result<Self> {
        let (own, certified) = key();
        let mut config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_client_cert_verifier(Arc::new(Anybody))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified)));
        config.alpn_protocols = vec![b"qanat-tunnel/1".to_vec()];
        config.send_tls13_tickets = 0;
        Self::established(ServerConnection::new(Arc::new(config)).unwrap().into(), socket, own)
    }

    /// A carrier of tunnel `tunnel`, up.
    pub(crate) fn carrier(address: &str, secret: &[u8], tunnel: &str) -> Self {
        let mut line = Self::to(address);
        line.prove(secret);
        line.greet(tunnel, 1..=1);
        assert_eq!(line.next_kind(), Some("hello"));
        line
    }

    fn established(mut tls: Connection, mut socket: TcpStream, own: Vec<u8>) -> io::Result<Self> {
        socket.set_read_timeout(Some(DEADLINE))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self { tls, socket, own, received: Vec::new() })
    }

    /// Both sides prove that they know the secret; panics if the other one does not.
    pub(crate) fn prove(&mut self, secret: &[u8]) {
        let is_dialler = matches!(self.tls, Connection::Client(_));
        let (ours, theirs) = if is_dialler { ("dialler", "acceptor") } else { ("acceptor", "dialler") };
        let [ours, theirs] = [ours, theirs].map(|role| self.preface(secret, role));
        self.send(&ours);
        assert!(self.take(PREFACE).unwrap() == theirs);
    }

    /// What `role` says to prove that it knows the secret.
    fn preface(&self, secret: &[u8], role: &str) -> Vec<u8> {
        let label = format!("qanat tunnel {role}");
        let mut key = [0; 32];
        let extracted = Salt::new(HKDF_SHA256, b"").extract(secret);
        extracted.expand(&[label.as_bytes()], HKDF_SHA256).unwrap().fill(&mut key).unwrap();
        let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, &key));
        let exporter = self.tls.export_keying_material([0; 32], b"EXPORTER-qanat-tunnel", None).unwrap();
        context.update(&exporter);
        let other = self.tls.peer_certificates().unwrap()[0].to_vec();
        let (dialler, acceptor) = match self.tls {
            Connection::Client(_) => (&self.own, &other),
            Connection::Server(_) => (&other, &self.own),
        };
        context.update(&dialler[SPKI_PREFIX..]);
        context.update(&acceptor[SPKI_PREFIX..]);
        [&[BY_SECRET], context.sign().as_ref()].concat()
    }

    /// Says HELLO.
    pub(crate) fn greet(&mut self, tunnel: &str, versions: RangeInclusive<u16>) {
        let (least, most) = versions.into_inner();
        let hello = Hello {
            least,
            most,
            features: 0,
            generation: 1,
            carrier: 0,
            window: 1 << 18,
            heartbeat: 10,
            tunnel,
            node: "stranger",
        };
        self.say(|scribe| scribe.hello(&hello));
    }

    /// Sends frames.
    pub(crate) fn say(&mut self, what: impl FnOnce(&mut Scribe<'_>)) {
        let mut bytes = Vec::new();
        what(&mut Scribe(&mut bytes));
        self.send(&bytes);
    }

    /// Sends frames if the other side still takes them.
    pub(crate) fn try_say(&mut self, what: impl FnOnce(&mut Scribe<'_>)) -> bool {
        let mut bytes = Vec::new();
        what(&mut Scribe(&mut bytes));
        self.try_send(&bytes).is_ok()
    }

    /// Sends bytes, whatever they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(bytes)?;
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// What arrives next; nothing at the end, however it comes.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        let mut some = vec![0; 1 << 16];
        loop {
            match self.tls.reader().read(&mut some) {
                Ok(count) => return some[..count].to_vec(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Vec::new(),
            }
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Vec::new(),
                Ok(_) => drop(self.tls.process_new_packets().unwrap()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Vec::new(),
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.received.len() < count {
            let some = self.receive();
            if some.is_empty() {
                return None;
            }
            self.received.extend(some);
        }
        Some(self.received.drain(..count).collect())
    }

    /// The next frame, handed to `read`; none at the end.
    pub(crate) fn next<T>(&mut self, read: impl FnOnce(&Frame<'_>) -> T) -> Option<T> {
        loop {
            if let Progress::Complete { frame, consumed, .. } = decode(&self.received).unwrap() {
                let result = read(&frame);
                self.received.drain(..consumed);
                return Some(result);
            }
            let some = self.receive();
            if some.is_empty() {
                return None;
            }
            self.received.extend(some);
        }
    }

    fn next_kind(&mut self) -> Option<&'static str> {
        self.next(|frame| if matches!(frame, Frame::Hello(_)) { "hello" } else { "another" })
    }

    /// Reads to the end: the code that it was refused with, if it was.
    pub(crate) fn refusal(&mut self) -> Option<Code> {
        let mut refusal = None;
        while let Some(code) = self.next(|frame| match frame {
            Frame::Refuse(code) => Some(*code),
            _ => None,
        }) {
            refusal = code.or(refusal);
        }
        refusal
    }

    /// Answers pings until a pong comes.
    pub(crate) fn is_answered(&mut self, number: u64) -> bool {
        self.say(|scribe| scribe.ping(number));
        loop {
            match self.next(|frame| match frame {
                Frame::Pong(number) => Some(*number),
                _ => None,
            }) {
                None => return false,
                Some(None) => {}
                Some(Some(answer)) => return answer == number,
            }
        }
    }
}

/// What comes before the 32 bytes of a key.
const SPKI_PREFIX: usize = 12;

/// A key that nobody knows: its public half, and what TLS wants.
fn key() -> (Vec<u8>, Arc<CertifiedKey>) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let private = provider::sign::any_supported_type(&private).unwrap();
    let public = private.public_key().unwrap().to_vec();
    (public.clone(), Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], private)))
}

/// Takes any key, as long as it is held.
#[derive(Debug)]
struct Anybody;

impl Anybody {
    fn verify(
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider::default_provider().signature_verification_algorithms;
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &algorithms)
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
