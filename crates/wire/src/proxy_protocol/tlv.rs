//! The type-length-value fields at the end of a PROXY protocol version 2 header.

use std::borrow::Cow;

use crate::cursor::Cursor;

/// Types of TLVs.
pub mod kind {
    /// The application protocol that was agreed on.
    pub const ALPN: u8 = 0x01;
    /// The host name that the client asked for (SNI).
    pub const AUTHORITY: u8 = 0x02;
    /// CRC-32C of the whole header.
    pub const CRC32C: u8 = 0x03;
    /// An opaque identifier of the connection.
    pub const UNIQUE_ID: u8 = 0x05;
    /// Facts about the client's TLS, with TLVs of its own.
    pub const SSL: u8 = 0x20;
    /// Within `SSL`: the protocol version.
    pub const SSL_VERSION: u8 = 0x21;
    /// Within `SSL`: common name of the client certificate.
    pub const SSL_CN: u8 = 0x22;
    /// Within `SSL`: the cipher.
    pub const SSL_CIPHER: u8 = 0x23;
    /// Within `SSL`: signature algorithm of the client certificate.
    pub const SSL_SIG_ALG: u8 = 0x24;
    /// Within `SSL`: key algorithm of the client certificate.
    pub const SSL_KEY_ALG: u8 = 0x25;
    /// Name of the network namespace.
    pub const NETNS: u8 = 0x30;
}

/// A TLV runs past the end of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken PROXY protocol TLV")]
pub struct BrokenTlv;

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its type, see [`kind`].
    pub kind: u8,
    /// Its value.
    pub value: &'a [u8],
}

/// The fields of a header, in order. After a broken one there are no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    bytes: &'a [u8],
}

impl<'a> Tlvs<'a> {
    /// Fields from the bytes that hold them.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes that hold the fields.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Value of the first field of a type.
    ///
    /// # Errors
    /// [`BrokenTlv`] if a field before it is broken.
    pub fn find(&self, kind: u8) -> Result<Option<&'a [u8]>, BrokenTlv> {
        for tlv in self.clone() {
            let tlv = tlv?;
            if tlv.kind == kind {
                return Ok(Some(tlv.value));
            }
        }
        Ok(None)
    }

    /// Value of the variable `$proxy_protocol_tlv_NAME`: `alpn`, `ssl_verify`, …, or a type as `0xHH`.
    /// An unknown name and an absent field are both `None`.
    ///
    /// # Errors
    /// [`BrokenTlv`] if a field before it is broken.
    pub fn named(&self, name: &str) -> Result<Option<Cow<'a, [u8]>>, BrokenTlv> {
        if let Some(of_ssl) = name.strip_prefix("ssl_") {
            let Some(value) = self.find(kind::SSL)? else { return Ok(None) };
            return SslTlv::parse(value)?.named(of_ssl);
        }
        let kind = match name {
            "alpn" => kind::ALPN,
            "authority" => kind::AUTHORITY,
            "unique_id" => kind::UNIQUE_ID,
            "ssl" => kind::SSL,
            "netns" => kind::NETNS,
            _ => match name.strip_prefix("0x").map(|digits| u8::from_str_radix(digits, 16)) {
                Some(Ok(kind)) => kind,
                _ => return Ok(None),
            },
        };
        Ok(self.find(kind)?.map(Cow::Borrowed))
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, BrokenTlv>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let mut cursor = Cursor::new(self.bytes);
        let tlv = cursor.u8().zip(cursor.vector16()).map(|(kind, value)| Tlv { kind, value });
        self.bytes = if tlv.is_some() { cursor.rest() } else { &[] };
        Some(tlv.ok_or(BrokenTlv))
    }
}

/// Value of an `SSL` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SslTlv<'a> {
    /// Bits: 1 the client used TLS, 2 it sent a certificate on this connection, 4 on this session.
    pub client: u8,
    /// 0 if the client sent a certificate that was verified.
    pub verify: u32,
    /// Fields within.
    pub tlvs: Tlvs<'a>,
}

impl<'a> SslTlv<'a> {
    /// Reads the value of a field of type [`kind::SSL`].
    ///
    /// # Errors
    /// [`BrokenTlv`] if it is too short.
    pub fn parse(value: &'a [u8]) -> Result<Self, BrokenTlv> {
        let mut cursor = Cursor::new(value);
        let (client, verify) = cursor.u8().zip(cursor.u32()).ok_or(BrokenTlv)?;
        Ok(Self { client, verify, tlvs: Tlvs::new(cursor.rest()) })
    }

    fn named(&self, name: &str) -> Result<Option<Cow<'a, [u8]>>, BrokenTlv> {
        let kind = match name {
            "verify" => return Ok(Some(Cow::Owned(self.verify.to_string().into_bytes()))),
            "version" => kind::SSL_VERSION,
            "cn" => kind::SSL_CN,
            "cipher" => kind::SSL_CIPHER,
            "sig_alg" => kind::SSL_SIG_ALG,
            "key_alg" => kind::SSL_KEY_ALG,
            _ => return Ok(None),
        };
        Ok(self.tlvs.find(kind)?.map(Cow::Borrowed))
    }
}
