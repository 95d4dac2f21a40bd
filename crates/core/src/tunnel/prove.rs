//! Proofs that a side knows a secret, made for one TLS session: they are bound to its exporter (RFC 8446, section 7.5),
//! so that nobody can pass them on to another one.

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};

use super::identity::NodeKey;

/// The exporter of a carrier's TLS session.
pub(super) type Exporter = [u8; 32];
/// A proof.
pub(super) type Proof = [u8; 32];

/// The exporter's label.
pub(super) const LABEL: &[u8] = b"EXPORTER-qanat-tunnel";

/// Which side of a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Dialler,
    Acceptor,
}

/// Proves that `role` knows the shared secret.
pub(super) fn secret(
    secret: &[u8],
    role: Role,
    exporter: &Exporter,
    dialler: NodeKey,
    acceptor: NodeKey,
) -> Option<Proof> {
    let label: &[u8] = match role {
        Role::Dialler => b"qanat tunnel dialler",
        Role::Acceptor => b"qanat tunnel acceptor",
    };
    let mut key = [0; 32];
    let extracted = Salt::new(HKDF_SHA256, b"").extract(secret);
    extracted.expand(&[label], HKDF_SHA256).ok()?.fill(&mut key).ok()?;
    Some(sign(&key, &[exporter, &dialler.0, &acceptor.0]))
}

/// Whether `proof` is what [`secret`] makes; takes the same time whatever it is.
pub(super) fn is_secret(proof: &Proof, expected: Option<Proof>) -> bool {
    expected.is_some_and(|expected| is_same(&expected, proof))
}

/// Proves that the opener of a stream knows the key of a service.
pub(super) fn service(key: &[u8], exporter: &Exporter, stream: u32, service: &str) -> Proof {
    sign(key, &[exporter, &stream.to_be_bytes(), service.as_bytes()])
}

/// Whether two proofs are equal, in the same time whatever they are.
pub(super) fn is_same(one: &Proof, other: &Proof) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

fn sign(key: &[u8], parts: &[&[u8]]) -> Proof {
    let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut proof = [0; 32];
    for (to, from) in proof.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    proof
}
