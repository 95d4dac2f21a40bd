//! Frames of private protocols: a fixed header, a body whose end a field, a varint or a delimiter tells, and what the
//! body is. The format is data; nothing here knows a protocol.
//!
//! [`Format::parse`] is given all that has arrived so far and says whether that is a frame. [`Format::value`] looks
//! things up in one by the names that variables have: `type`, `body`, `json_devid`.

mod field;
mod json;
mod message_pack;
mod path;

use std::borrow::Cow;
use std::ops::Range;

pub use field::{Field, Kind, Value};

/// Most bytes of a varint: as many as 64 bits need.
const LONGEST_VARINT: usize = 10;

/// What frames look like. The fields lie within the header, and the header within `max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Fields of the header that have names.
    pub fields: Vec<Field>,
    /// Bytes of the header.
    pub header: usize,
    /// Where the body ends.
    pub end: End,
    /// What the body is.
    pub body: Body,
    /// Most bytes of a frame.
    pub max: usize,
}

/// How a frame says where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// There is no body.
    Header,
    /// A field of the header, by its index, counts the bytes after the header, give or take `adjust`.
    Field {
        /// Which.
        index: usize,
        /// What is to be added to it.
        adjust: i64,
    },
    /// A varint (base 128, the lowest seven bits first) between header and body counts the bytes after itself, give or
    /// take `adjust`.
    Varint {
        /// What is to be added to it.
        adjust: i64,
    },
    /// These bytes stand after the body.
    Delimiter(Box<[u8]>),
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Any bytes.
    Raw,
    /// One JSON value.
    Json,
    /// One `MessagePack` value.
    MessagePack,
}

/// What the bytes so far amount to. More bytes change the answer only while it is [`Progress::Incomplete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The beginning of a frame.
    Incomplete(Missing),
    /// A whole frame.
    Complete(Extent),
}

/// What a frame still lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// How many bytes there must be before it makes sense to look again.
    pub needs: usize,
    /// What has not been seen whole.
    pub part: &'static str,
}

/// Where a frame and its body end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of the frame, delimiter included.
    pub size: usize,
    /// The body in it.
    pub body: Range<usize>,
}

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length makes the frame longer than it may be.
    #[error("{field} says {says} bytes, which makes a frame of {size}, more than max {max}")]
    TooLong {
        /// `field "length"`, or `length`.
        field: String,
        /// Its value.
        says: u64,
        /// What the frame would measure.
        size: u128,
        /// What it may.
        max: usize,
    },
    /// A length is less than what it must count.
    #[error("{field} says {says} bytes, which is before the body begins")]
    TooShort {
        /// `field "length"`, or `length`.
        field: String,
        /// Its value.
        says: i128,
    },
    /// A varint does not end.
    #[error("length is no varint: it does not end within {LONGEST_VARINT} bytes")]
    Varint,
    /// No delimiter is where one has to be.
    #[error("no delimiter in max {0} bytes")]
    NoDelimiter(usize),
    /// The body is not what it is said to be.
    #[error("body is not {kind}: {reason} at byte {at}")]
    Body {
        /// `JSON` or `MessagePack`.
        kind: &'static str,
        /// What is wrong.
        reason: String,
        /// Where, counted from the first byte of the body, which is 0.
        at: usize,
    },
}

impl Format {
    /// Reads the frame at the start of `bytes`: all that has arrived so far.
    ///
    /// # Errors
    /// [`FrameError`] as soon as the bytes cannot become a frame.
    pub fn parse(&self, bytes: &[u8]) -> Result<Progress, FrameError> {
        let progress = self.measure(bytes)?;
        if let Progress::Complete(extent) = &progress {
            let body = bytes.get(extent.body.clone()).unwrap_or_default();
            match self.body {
                Body::Raw => {}
                Body::Json => json::check(body)?,
                Body::MessagePack => message_pack::check(body)?,
            }
        }
        Ok(progress)
    }

    /// The fields of the header of a frame.
    pub fn values<'a>(&'a self, frame: &'a [u8]) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.fields.iter().filter_map(|field| Some((field.name.as_str(), field.read(frame)?)))
    }

    /// What variables show of a frame under a name: a field, `bytes`, `body`, `json_PATH` or `msgpack_PATH`.
    pub fn value<'a>(&self, frame: &'a [u8], extent: &Extent, name: &str) -> Option<Cow<'a, [u8]>> {
        let body = frame.get(extent.body.clone())?;
        if let Some(path) = name.strip_prefix("json_") {
            return if self.body == Body::Json { json::find(body, path) } else { None };
        }
        if let Some(path) = name.strip_prefix("msgpack_") {
            return if self.body == Body::MessagePack { message_pack::find(body, path) } else { None };
        }
        match name {
            "body" => Some(body.into()),
            "bytes" => Some(extent.size.to_string().into_bytes().into()),
            name => self.fields.iter().find(|field| field.name == name)?.shown(frame),
        }
    }

    fn measure(&self, bytes: &[u8]) -> Result<Progress, FrameError> {
        if bytes.len() < self.header {
            return Ok(incomplete(self.header, "header"));
        }
        match &self.end {
            End::Header => Ok(complete(bytes, self.header, self.header)),
            End::Field { index, adjust } => {
                let Some((field, says)) = self.length_field(*index, bytes) else {
                    return Ok(incomplete(self.header, "header"));
                };
                let size = self.size(|| format!("field \"{}\"", field.name), says, self.header, *adjust)?;
                Ok(complete(bytes, self.header, size))
            }
            End::Varint { adjust } => {
                let Some((says, width)) = varint(bytes.get(self.header..).unwrap_or_default())? else {
                    return Ok(incomplete(bytes.len() + 1, "length"));
                };
                let start = self.header + width;
                let size = self.size(|| "length".to_owned(), says.into(), start, *adjust)?;
                Ok(complete(bytes, start, size))
            }
            End::Delimiter(delimiter) => self.delimited(bytes, delimiter),
        }
    }

    fn length_field(&self, index: usize, bytes: &[u8]) -> Option<(&Field, i128)> {
        let field = self.fields.get(index)?;
        match field.read(bytes)? {
            Value::Unsigned(value) => Some((field, value.into())),
            Value::Signed(value) => Some((field, value.into())),
            Value::Bool(_) | Value::Bytes(_) => None,
        }
    }

    /// Bytes of a frame whose body begins at `start` and whose length says `says`.
    fn size(
        &self,
        field: impl Fn() -> String,
        says: i128,
        start: usize,
        adjust: i64,
    ) -> Result<usize, FrameError> {
        let body = says + i128::from(adjust);
        let (Ok(body), Ok(start)) = (u128::try_from(body), u128::try_from(start)) else {
            return Err(FrameError::TooShort { field: field(), says });
        };
        let size = start + body;
        let fits = usize::try_from(size).ok().filter(|size| *size <= self.max);
        let says = u64::try_from(says).unwrap_or(0);
        fits.ok_or_else(|| FrameError::TooLong { field: field(), says, size, max: self.max })
    }

    fn delimited(&self, bytes: &[u8], delimiter: &[u8]) -> Result<Progress, FrameError> {
        let window = bytes.get(..self.max).unwrap_or(bytes);
        let rest = window.get(self.header..).unwrap_or_default();
        match rest.windows(delimiter.len().max(1)).position(|window| window == delimiter) {
            Some(at) => {
                let body = self.header..self.header + at;
                let size = body.end + delimiter.len();
                Ok(Progress::Complete(Extent { size, body }))
            }
            None if bytes.len() >= self.max => Err(FrameError::NoDelimiter(self.max)),
            None => Ok(incomplete(bytes.len() + 1, "delimiter")),
        }
    }
}

fn incomplete(needs: usize, part: &'static str) -> Progress {
    Progress::Incomplete(Missing { needs, part })
}

fn complete(bytes: &[u8], start: usize, size: usize) -> Progress {
    if bytes.len() < size {
        return incomplete(size, "body");
    }
    Progress::Complete(Extent { size, body: start..size })
}

/// The varint at the start of `bytes` and how many of them it takes; none if it goes on after them.
fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(LONGEST_VARINT).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * index;
        if shift == 63 && bits > 1 {
            return Err(FrameError::Varint);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < LONGEST_VARINT { Ok(None) } else { Err(FrameError::Varint) }
}
