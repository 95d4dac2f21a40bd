//! The frame that a client's first bytes are to make.

use serde::{Deserialize, Serialize};

use crate::DecodeError;

/// What a frame looks like, and how long a client may take to send it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Fields of the header that have names.
    pub fields: Vec<FrameField>,
    /// Bytes of the header, those without a name included.
    pub header: u32,
    /// How it says where it ends.
    pub end: FrameEnd,
    /// What its body is.
    pub body: FrameBody,
    /// Most bytes of a frame.
    pub max: u32,
    /// How long the client may take, in milliseconds.
    pub timeout_ms: u64,
}

impl Frame {
    /// Decodes a frame from MessagePack.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are none, or have unknown fields.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(rmp_serde::from_slice(bytes)?)
    }
}

/// A field of the header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameField {
    /// Its name, lower case.
    pub name: String,
    /// Where it begins in the header.
    pub offset: u32,
    /// How many bytes it has.
    pub width: u32,
    /// What they are.
    pub kind: FieldKind,
    /// The byte of least value comes first.
    pub little: bool,
}

/// What the bytes of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// A number of at most eight bytes.
    Unsigned,
    /// A number of at most eight bytes, in two's complement.
    Signed,
    /// False if all bytes are zero.
    Bool,
    /// Bytes.
    Bytes,
    /// Text, filled up with zero bytes.
    Text,
}

/// How a frame says where it ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FrameEnd {
    /// There is only a header.
    Header {},
    /// A field of the header counts the bytes after the header, give or take `adjust`.
    Field {
        /// Index of the field, a number.
        index: u32,
        /// What is to be added to it.
        adjust: i64,
    },
    /// A varint after the header counts the bytes after itself, give or take `adjust`.
    Varint {
        /// What is to be added to it.
        adjust: i64,
    },
    /// The body ends before these bytes, of which there is at least one.
    Delimiter {
        /// The bytes.
        #[serde(with = "crate::tls::blob")]
        bytes: Vec<u8>,
    },
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameBody {
    /// Any bytes.
    Raw,
    /// One JSON value.
    Json,
    /// One `MessagePack` value.
    Msgpack,
}
