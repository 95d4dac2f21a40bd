//! All that the configurations of a virtual server have in common, whatever versions and certificates they are for.

use std::sync::Arc;

use qanat_plan as spec;
use qanat_wire::ProtocolVersion;
use qanat_wire::client_hello::ClientHello;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ProducesTickets, StoresServerSessions};

use super::certificate::CertificateChoice;
use super::resumption::{BoundSessions, BoundTickets, Bounds, OWN_KEYS_LIFETIME_S};
use super::tickets::{self, KeyedTickets};
use super::{Certificates, TlsContext, suites};

/// Makes configurations.
#[derive(Debug)]
pub(super) struct Recipe {
    tls: spec::ServerTls,
    provider: Arc<CryptoProvider>,
    cache: Option<Arc<dyn StoresServerSessions>>,
    /// With the time for which the key of a ticket is sure to be there.
    tickets: Option<(Arc<dyn ProducesTickets>, u32)>,
}

impl Recipe {
    pub(super) fn new(tls: &spec::ServerTls, context: &TlsContext) -> Result<Self, String> {
        let tickets: Option<(Arc<dyn ProducesTickets>, u32)> = match tls.session_ticket_keys.as_slice() {
            _ if !tls.session_tickets => None,
            [] => Some((Arc::clone(&context.tickets), OWN_KEYS_LIFETIME_S)),
            keys => Some((Arc::new(KeyedTickets::new(keys)?), tickets::LIFETIME_S)),
        };
        Ok(Self {
            tls: tls.clone(),
            provider: Arc::clone(&context.provider),
            cache: (tls.session_cache > 0).then(|| context.session_cache(tls.session_cache)),
            tickets,
        })
    }

    /// The names of `ssl_protocols` from `minimum` to `maximum`.
    pub(super) fn protocols(
        &self,
        minimum: Option<ProtocolVersion>,
        maximum: Option<ProtocolVersion>,
    ) -> Vec<String> {
        let all = [ProtocolVersion::Tls12, ProtocolVersion::Tls13];
        let is_left = |version| {
            minimum.is_none_or(|least| least <= version) && maximum.is_none_or(|most| version <= most)
        };
        let left =
            all.into_iter().filter(|version| is_left(*version)).map(|version| version.as_str().to_owned());
        left.filter(|name| self.tls.protocols.contains(name)).collect()
    }

    /// A configuration for these protocols and certificates.
    pub(super) fn make(
        &self,
        protocols: &[String],
        certificates: &Certificates,
    ) -> Result<ServerConfig, String> {
        if certificates.is_empty() {
            return Err("no certificate".to_owned());
        }
        let provider = suites::restrict(&self.provider, protocols, &self.tls.ciphers);
        let choice = CertificateChoice { certificates: certificates.clone() };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&suites::versions(protocols))
            .map_err(|error| format!("no cipher suite is left for the protocols: {error}"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(choice));
        config.ignore_client_order = self.tls.prefer_server_ciphers;
        config.alpn_protocols = self.tls.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        self.resume(&mut config, certificates);
        Ok(config)
    }

    /// The identities of sessions that a client could resume here.
    pub(super) fn offered(&self, hello: &ClientHello<'_>) -> Vec<Vec<u8>> {
        let wrapped = |ticket: &&[u8]| match (&self.tickets, &self.cache) {
            (Some((tickets, _)), _) => tickets.decrypt(ticket),
            (None, Some(cache)) => cache.get(ticket),
            (None, None) => None,
        };
        let mut found: Vec<_> = hello.tickets().iter().filter_map(wrapped).collect();
        let by_id = self.cache.as_ref().filter(|_| !hello.session_id.is_empty());
        found.extend(by_id.and_then(|cache| cache.get(hello.session_id)));
        let timeout_s = self.tls.session_timeout_s;
        found.into_iter().filter_map(|one| Bounds::identity_of(one, IDENTITY, timeout_s)).collect()
    }

    /// With tickets the client keeps the session. Without them it is kept here, if there is a cache.
    fn resume(&self, config: &mut ServerConfig, certificates: &Certificates) {
        let bounds = Bounds { identity: identity(certificates), timeout_s: self.tls.session_timeout_s };
        config.session_storage = match &self.cache {
            Some(shared) => Arc::new(BoundSessions { bounds: bounds.clone(), shared: Arc::clone(shared) }),
            None => Arc::new(NoServerSessionStorage {}),
        };
        if let Some((shared, longest_s)) = &self.tickets {
            let shared = Arc::clone(shared);
            config.ticketer = Arc::new(BoundTickets { bounds, shared, longest_s: *longest_s });
        }
        // One ticket is enough for the next connection; each costs time in every handshake.
        config.send_tls13_tickets = usize::from(self.tickets.is_some() || self.cache.is_some());
    }
}

/// Length of an [`identity`].
const IDENTITY: usize = 32;

/// Digest of the leaf certificates.
pub(super) fn identity(certificates: &Certificates) -> Arc<[u8]> {
    let leaves = certificates.iter().filter_map(|certified| certified.key.cert.first());
    let digests: Vec<u8> = leaves.flat_map(|leaf| suites::digest(leaf)).collect();
    suites::digest(&digests).into()
}
