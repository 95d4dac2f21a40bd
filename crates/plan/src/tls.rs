//! TLS termination: certificates and the settings of a virtual server.

use serde::{Deserialize, Serialize};

/// A certificate chain with its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Digest of the content, so that servers that use the same pair share one object.
    pub id: String,
    /// DER certificates, the leaf first.
    #[serde(with = "blobs")]
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 DER private key.
    #[serde(with = "blob")]
    pub key: Vec<u8>,
    /// Where it came from, for messages.
    pub origin: String,
}

/// `ssl_*` of a virtual server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// Ids of certificates, in order; the first that suits the client's signature algorithms is used.
    pub certificates: Vec<String>,
    /// `ssl_protocols`: `TLSv1.2`, `TLSv1.3`.
    pub protocols: Vec<String>,
    /// `ssl_ciphers` as IANA suite names; empty is the default set.
    pub ciphers: Vec<String>,
    /// `ssl_prefer_server_ciphers`.
    pub prefer_server_ciphers: bool,
    /// `ssl_alpn`; no overlap with the client's list is a fatal alert.
    pub alpn: Vec<String>,
    /// `ssl_reject_handshake`: refuse with `unrecognized_name`.
    pub reject_handshake: bool,
    /// `ssl_session_tickets`.
    pub session_tickets: bool,
    /// `ssl_session_ticket_key`: the contents of the files, the first for new tickets; without any the gateway makes its
    /// own.
    #[serde(with = "blobs")]
    pub session_ticket_keys: Vec<Vec<u8>>,
    /// `ssl_session_cache`: sessions kept for resumption by id; 0 keeps none.
    pub session_cache: u32,
    /// `ssl_session_timeout` in seconds.
    pub session_timeout_s: u32,
    /// `ssl_handshake_timeout` in milliseconds.
    pub handshake_timeout_ms: u64,
}

/// A byte string as MessagePack `bin`.
pub(crate) mod blob {
    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a byte string")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }
        from.deserialize_byte_buf(Bytes)
    }
}

/// A list of byte strings, each as MessagePack `bin`.
pub(crate) mod blobs {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Blob(#[serde(with = "super::blob")] Vec<u8>);

    pub(crate) fn serialize<S: Serializer>(blobs: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(blobs.iter().map(|blob| Blob(blob.clone())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let blobs = Vec::<Blob>::deserialize(from)?;
        Ok(blobs.into_iter().map(|blob| blob.0).collect())
    }
}
