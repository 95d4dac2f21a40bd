//! Fields of a header: numbers of either byte order and up to eight bytes, truth values, and bytes.

use std::borrow::Cow;

/// A field that lies at a fixed place of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, lower case.
    pub name: String,
    /// Where it begins.
    pub offset: usize,
    /// How many bytes it has.
    pub width: usize,
    /// What they are.
    pub kind: Kind,
    /// The byte of least value comes first.
    pub is_little: bool,
}

/// What the bytes of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of at most eight bytes.
    Unsigned,
    /// A number of at most eight bytes, in two's complement.
    Signed,
    /// False if all bytes are zero.
    Bool,
    /// Bytes.
    Bytes,
    /// Text, filled up with zero bytes, which variables do not show.
    Text,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Unsigned(u64),
    /// A number.
    Signed(i64),
    /// A truth value.
    Bool(bool),
    /// Bytes, those that fill up included.
    Bytes(&'a [u8]),
}

impl Field {
    /// What the field holds in a header; none if it is not all there.
    pub fn read<'a>(&self, header: &'a [u8]) -> Option<Value<'a>> {
        let bytes = header.get(self.offset..self.offset.checked_add(self.width)?)?;
        Some(match self.kind {
            Kind::Unsigned => Value::Unsigned(self.number(bytes)),
            Kind::Signed => {
                let unused = 64_usize.saturating_sub(8 * self.width) & 63;
                Value::Signed((self.number(bytes) << unused).cast_signed() >> unused)
            }
            Kind::Bool => Value::Bool(bytes.iter().any(|byte| *byte != 0)),
            Kind::Bytes | Kind::Text => Value::Bytes(bytes),
        })
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if self.is_little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
    }

    /// What variables show: numbers in decimal, `1` or `0`, text without the zero bytes that fill it up.
    pub(super) fn shown<'a>(&self, header: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        Some(match self.read(header)? {
            Value::Unsigned(value) => value.to_string().into_bytes().into(),
            Value::Signed(value) => value.to_string().into_bytes().into(),
            Value::Bool(value) => (if value { &b"1"[..] } else { b"0" }).into(),
            Value::Bytes(bytes) if self.kind == Kind::Text => {
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                bytes.get(..end)?.into()
            }
            Value::Bytes(bytes) => bytes.into(),
        })
    }
}
