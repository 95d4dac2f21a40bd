//! What handlers of TLS phases see of a handshake, and the certificates that they choose.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use qanat_core::tls;
use qanat_wire::ProtocolVersion;
use qanat_wire::client_hello::{self, Progress, is_grease};

/// A certificate chain with its key, ready to sign.
#[pyclass(frozen, module = "qanat._native")]
pub(crate) struct CertifiedKey {
    key: Arc<tls::CertifiedKey>,
}

impl CertifiedKey {
    pub(crate) fn key(&self) -> Arc<tls::CertifiedKey> {
        Arc::clone(&self.key)
    }
}

#[pymethods]
impl CertifiedKey {
    #[new]
    fn new(chain: Vec<Vec<u8>>, key: &[u8]) -> PyResult<Self> {
        let key = tls::CertifiedKey::of_der(chain, key).map_err(PyValueError::new_err)?;
        Ok(Self { key: Arc::new(key) })
    }
}

/// The version of a name that handlers use.
pub(crate) fn version(name: &str) -> PyResult<ProtocolVersion> {
    let known = [ProtocolVersion::Tls12, ProtocolVersion::Tls13];
    let found = known.into_iter().find(|version| version.as_str() == name);
    found.ok_or_else(|| PyValueError::new_err(format!("\"{name}\" is neither \"TLSv1.2\" nor \"TLSv1.3\"")))
}

/// What a hello says: its server name in lower case, ALPN protocols, versions, cipher suites with their names, and
/// extensions with their contents; without GREASE.
pub(crate) type Description<'py> =
    (Option<String>, Vec<Bound<'py, PyBytes>>, Vec<u16>, Vec<(u16, String)>, Vec<(u16, Bound<'py, PyBytes>)>);

/// Says what is in the hello that `records` begin with; none if it cannot be read.
pub(crate) fn describe<'py>(py: Python<'py>, records: &[u8]) -> Option<Description<'py>> {
    let mut joined = Vec::new();
    let Progress::Complete(hello) = client_hello::parse(records, &mut joined) else { return None };
    let name = hello.server_name.map(|name| String::from_utf8_lossy(name).to_ascii_lowercase());
    let alpn = hello.alpn.iter().map(|protocol| PyBytes::new(py, protocol)).collect();
    let versions = hello.versions().into_iter().filter(|number| !is_grease(*number)).collect();
    let suites = hello.cipher_suites().filter(|number| !is_grease(*number));
    let suites = suites.map(|number| (number, suite_name(number))).collect();
    let extensions = hello.extensions().filter(|(kind, _)| !is_grease(*kind));
    let extensions = extensions.map(|(kind, content)| (kind, PyBytes::new(py, content))).collect();
    Some((name, alpn, versions, suites, extensions))
}

fn suite_name(number: u16) -> String {
    tls::cipher_name(number).map_or_else(|| format!("0x{number:04x}"), str::to_owned)
}
