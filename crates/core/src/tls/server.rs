//! TLS termination: from the settings of a virtual server to a rustls configuration.

use std::sync::Arc;
use std::time::Duration;

use qanat_plan as spec;
use qanat_wire::ProtocolVersion;
use qanat_wire::client_hello::{self, Progress};
use rustls::ServerConfig;

use super::recipe::{Recipe, identity};
use super::remembered::Remembered;
use super::{Certificates, CertifiedKey, TlsContext};

/// TLS settings of a virtual server, ready to accept.
#[derive(Debug)]
pub struct ServerTls {
    /// None if there is no certificate, or handshakes are refused.
    pub(super) config: Option<Arc<ServerConfig>>,
    /// `ssl_handshake_timeout`.
    pub handshake_timeout: Duration,
    /// `ssl_reject_handshake`.
    pub rejects: bool,
    certificates: Certificates,
    /// How to make other configurations, where handlers may ask for them.
    recipe: Option<Recipe>,
    remembered: Remembered,
}

/// What handlers have decided about a handshake.
#[derive(Debug, Default)]
pub struct Decision {
    /// The lowest version that is left.
    pub minimum: Option<ProtocolVersion>,
    /// The highest version that is left.
    pub maximum: Option<ProtocolVersion>,
    /// The certificate instead of those of the configuration.
    pub certificate: Option<Arc<CertifiedKey>>,
}

/// Why there is no way to serve a decision.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unserved {
    /// Neither the configuration nor a handler has a certificate.
    #[error("no \"ssl_certificate\" is configured and no handler has chosen one")]
    NoCertificate,
    /// The versions left by a handler are none of `ssl_protocols`, or have no ciphers there.
    #[error("a handler has left no version of TLS")]
    NoVersion,
}

impl ServerTls {
    /// Links the settings; equal ones may share their result. If `is_handled`, handlers decide about handshakes, and a
    /// certificate may be left to them.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn link(
        tls: &spec::ServerTls,
        certificates: &Certificates,
        is_handled: bool,
        context: &TlsContext,
    ) -> Result<Arc<Self>, String> {
        let key = rmp_serde::to_vec(&(tls, is_handled)).map_err(|error| error.to_string())?;
        // The ids say what the certificates hold; comparing the objects too costs nothing and cannot be fooled.
        let fits = |present: &Self| {
            present.certificates.len() == certificates.len()
                && present.certificates.iter().zip(certificates).all(|(one, other)| Arc::ptr_eq(one, other))
        };
        context.servers.get_or_link(&key, fits, || {
            let recipe = Recipe::new(tls, context)?;
            let has_none = tls.reject_handshake || (is_handled && certificates.is_empty());
            let config = (!has_none).then(|| recipe.make(&tls.protocols, certificates)).transpose()?;
            Ok(Self {
                config: config.map(Arc::new),
                handshake_timeout: Duration::from_millis(tls.handshake_timeout_ms),
                rejects: tls.reject_handshake,
                certificates: certificates.clone(),
                recipe: is_handled.then_some(recipe),
                remembered: Remembered::default(),
            })
        })
    }

    /// What handlers chose when the session began that the client is about to resume; none if it is not, or if that is
    /// forgotten.
    pub fn chosen_before(&self, records: &[u8], name: Option<&str>) -> Option<Option<Arc<CertifiedKey>>> {
        let recipe = self.recipe.as_ref()?;
        let mut joined = Vec::new();
        let Progress::Complete(hello) = client_hello::parse(records, &mut joined) else { return None };
        let offered = recipe.offered(&hello);
        offered.iter().find_map(|identity| self.remembered.get(identity, name))
    }

    /// Remembers the certificate that handlers have chosen for a name, for [`Self::chosen_before`].
    pub fn remember(&self, choice: Option<&Arc<CertifiedKey>>, name: Option<&str>) {
        let shown = choice.map_or_else(|| self.certificates.clone(), |choice| vec![Arc::clone(choice)]);
        self.remembered.put(&identity(&shown), name, choice);
    }

    /// The configuration for what handlers have decided.
    ///
    /// # Errors
    /// If there is none.
    pub fn config_for(&self, decision: Decision) -> Result<Arc<ServerConfig>, Unserved> {
        let is_limited = decision.minimum.is_some() || decision.maximum.is_some();
        let Some(recipe) = self.recipe.as_ref().filter(|_| is_limited || decision.certificate.is_some())
        else {
            return self.config.clone().ok_or(Unserved::NoCertificate);
        };
        let certificates = match decision.certificate {
            Some(certificate) => vec![certificate],
            None if self.certificates.is_empty() => return Err(Unserved::NoCertificate),
            None => self.certificates.clone(),
        };
        let protocols = recipe.protocols(decision.minimum, decision.maximum);
        if protocols.is_empty() {
            return Err(Unserved::NoVersion);
        }
        // The settings and the certificate were fine each by itself; what is left to fail is what no cipher fits.
        recipe.make(&protocols, &certificates).map(Arc::new).map_err(|_| Unserved::NoVersion)
    }
}
