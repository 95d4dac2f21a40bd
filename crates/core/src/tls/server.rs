//! TLS termination: from the settings of a virtual server to a rustls configuration.

use std::sync::Arc;
use std::time::Duration;

use qanat_plan as spec;
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, server};

use super::certificate::CertificateChoice;
use super::resumption::{BoundSessions, BoundTickets, Bounds, OWN_KEYS_LIFETIME_S};
use super::tickets::{self, KeyedTickets};
use super::{Certificates, TlsContext, suites};

/// TLS settings of a virtual server, ready to accept.
#[derive(Debug)]
pub struct ServerTls {
    /// None if handshakes are refused.
    pub(super) config: Option<Arc<ServerConfig>>,
    /// `ssl_handshake_timeout`.
    pub handshake_timeout: Duration,
    certificates: Certificates,
}

impl ServerTls {
    /// Links the settings; equal ones may share their result.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn link(
        tls: &spec::ServerTls,
        certificates: &Certificates,
        context: &TlsContext,
    ) -> Result<Arc<Self>, String> {
        let key = rmp_serde::to_vec(tls).map_err(|error| error.to_string())?;
        // The ids say what the certificates hold; comparing the objects too costs nothing and cannot be fooled.
        let fits = |present: &Self| {
            present.certificates.len() == certificates.len()
                && present.certificates.iter().zip(certificates).all(|(one, other)| Arc::ptr_eq(one, other))
        };
        context.servers.get_or_link(&key, fits, || {
            let refuses = tls.reject_handshake;
            Ok(Self {
                config: if refuses { None } else { Some(Arc::new(configure(tls, certificates, context)?)) },
                handshake_timeout: Duration::from_millis(tls.handshake_timeout_ms),
                certificates: certificates.clone(),
            })
        })
    }
}

fn configure(
    tls: &spec::ServerTls,
    certificates: &Certificates,
    context: &TlsContext,
) -> Result<ServerConfig, String> {
    if certificates.is_empty() {
        return Err("no certificate".to_owned());
    }
    let provider = suites::restrict(&context.provider, &tls.protocols, &tls.ciphers);
    let choice = CertificateChoice { certificates: certificates.clone() };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&suites::versions(&tls.protocols))
        .map_err(|error| format!("no cipher suite is left for the protocols: {error}"))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(choice));
    config.ignore_client_order = tls.prefer_server_ciphers;
    config.alpn_protocols = tls.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    resume(&mut config, tls, certificates, context)?;
    Ok(config)
}

/// With tickets the client keeps the session. Without them it is kept here, if there is a cache.
fn resume(
    config: &mut ServerConfig,
    tls: &spec::ServerTls,
    certificates: &Certificates,
    context: &TlsContext,
) -> Result<(), String> {
    let bounds = Bounds { identity: identity(certificates), timeout_s: tls.session_timeout_s };
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if tls.session_cache > 0 {
        let shared = context.session_cache(tls.session_cache);
        config.session_storage = Arc::new(BoundSessions { bounds: bounds.clone(), shared });
    }
    if tls.session_tickets {
        let (shared, longest_s): (Arc<dyn server::ProducesTickets>, _) = if tls.session_ticket_keys.is_empty()
        {
            (Arc::clone(&context.tickets), OWN_KEYS_LIFETIME_S)
        } else {
            (Arc::new(KeyedTickets::new(&tls.session_ticket_keys)?), tickets::LIFETIME_S)
        };
        config.ticketer = Arc::new(BoundTickets { bounds, shared, longest_s });
    }
    let resumable = tls.session_tickets || tls.session_cache > 0;
    // One ticket is enough for the next connection; each costs time in every handshake.
    config.send_tls13_tickets = usize::from(resumable);
    Ok(())
}

/// Digest of the leaf certificates.
fn identity(certificates: &Certificates) -> Arc<[u8]> {
    let leaves = certificates.iter().filter_map(|certified| certified.key.cert.first());
    let digests: Vec<u8> = leaves.flat_map(|leaf| suites::digest(leaf)).collect();
    suites::digest(&digests).into()
}
