//! `frame`: the first bytes of a client make a frame of its protocol, which variables and handlers then show. The frame
//! is looked at: it goes to the peer with all that came after it.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use qanat_plan::{self as spec, Level};
use qanat_wire::frame::{Body, End, Extent, Field, Format, FrameError, Kind, Missing, Progress};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::error::{SessionError, Source, Status};
use crate::session::Session;
use crate::session::run::set_variables;
use crate::stream::Stream;

/// Room for the first bytes; most logins fit. More is made as they arrive, never as they announce.
const FIRST_ROOM: usize = 1024;

/// A frame that was seen whole. It stays with its session, for all that may ask for it later, the access log included.
#[derive(Debug)]
pub struct Frame {
    /// What it had to look like.
    pub format: Arc<Format>,
    /// Its bytes.
    pub bytes: Box<[u8]>,
    /// Where its body is.
    pub extent: Extent,
}

impl Frame {
    /// The value of `$frame_NAME`.
    pub fn value(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.format.value(&self.bytes, &self.extent, name)
    }
}

/// Why there is no frame.
enum Failure {
    /// The client ended before.
    Ended(Missing, Option<io::Error>),
    /// The bytes cannot be one.
    Wrong(FrameError),
}

/// Makes the format ready that a plan describes.
///
/// # Errors
/// What of it cannot be.
pub fn link(frame: &spec::Frame) -> Result<Format, String> {
    let size = |value: u32| usize::try_from(value).map_err(|_| format!("{value} is too large"));
    let header = size(frame.header)?;
    let fields = frame.fields.iter().map(|field| {
        let (offset, width) = (size(field.offset)?, size(field.width)?);
        let kind = match field.kind {
            spec::FieldKind::Unsigned => Kind::Unsigned,
            spec::FieldKind::Signed => Kind::Signed,
            spec::FieldKind::Bool => Kind::Bool,
            spec::FieldKind::Bytes => Kind::Bytes,
            spec::FieldKind::Text => Kind::Text,
        };
        let is_number = matches!(kind, Kind::Unsigned | Kind::Signed);
        if offset.checked_add(width).is_none_or(|end| end > header) || (is_number && width > 8) {
            return Err(format!("field \"{}\" does not fit", field.name));
        }
        Ok(Field { name: field.name.clone(), offset, width, kind, is_little: field.little })
    });
    let format = Format {
        fields: fields.collect::<Result<_, String>>()?,
        header,
        end: link_end(frame)?,
        body: match frame.body {
            spec::FrameBody::Raw => Body::Raw,
            spec::FrameBody::Json => Body::Json,
            spec::FrameBody::Msgpack => Body::MessagePack,
        },
        max: size(frame.max)?,
    };
    if format.header > format.max {
        return Err(format!("a header of {} bytes is more than max {}", format.header, format.max));
    }
    Ok(format)
}

fn link_end(frame: &spec::Frame) -> Result<End, String> {
    match &frame.end {
        spec::FrameEnd::Header {} => Ok(End::Header),
        spec::FrameEnd::Varint { adjust } => Ok(End::Varint { adjust: *adjust }),
        spec::FrameEnd::Delimiter { bytes } if bytes.is_empty() => Err("an empty delimiter".to_owned()),
        spec::FrameEnd::Delimiter { bytes } => Ok(End::Delimiter(bytes.as_slice().into())),
        spec::FrameEnd::Field { index, adjust } => {
            let index = usize::try_from(*index).unwrap_or(usize::MAX);
            let field = frame.fields.get(index).map(|field| field.kind);
            match field {
                Some(spec::FieldKind::Unsigned | spec::FieldKind::Signed) => {
                    Ok(End::Field { index, adjust: *adjust })
                }
                _ => Err("no number counts the body".to_owned()),
            }
        }
    }
}

/// Reads the frame that the client begins with, and notes it. Returns all bytes read, which begin with `early`.
///
/// # Errors
/// 400 if it is none, or too long; 200 if the client ends before its end, or takes too long.
pub async fn read(
    session: &mut Session,
    client: &mut Stream,
    mut early: Vec<u8>,
) -> Result<Vec<u8>, SessionError> {
    let Some(format) = session.server.frame.clone() else { return Ok(early) };
    session.action = "reading a frame";
    let wait = Duration::from_millis(session.server.spec.preread.frame.as_ref().map_or(0, |f| f.timeout_ms));
    let before = early.len();
    let gathered = timeout(wait, gather(client, &format, &mut early)).await;
    session.bytes_received += (early.len() - before) as u64;
    let extent = match gathered {
        Ok(Ok(extent)) => extent,
        Ok(Err(failure)) => return Err(failure.of(early.len())),
        Err(_elapsed) => return Err(silent(&format, &early, wait)),
    };
    note(session, format, &early, extent);
    Ok(early)
}

/// Looks at the frame that a datagram begins with, and notes it.
///
/// # Errors
/// 400 if it is none, or is not whole.
pub fn look(session: &mut Session, datagram: &[u8]) -> Result<(), SessionError> {
    let Some(format) = session.server.frame.clone() else { return Ok(()) };
    session.action = "reading a frame";
    match format.parse(datagram) {
        Ok(Progress::Complete(extent)) => note(session, format, datagram, extent),
        Ok(Progress::Incomplete(missing)) => {
            let text =
                format!("frame: the {} of a datagram of {} bytes is not whole", missing.part, datagram.len());
            return Err(SessionError::new(Status::BadRequest, Source::Client, Level::Error, text));
        }
        Err(wrong) => return Err(Failure::Wrong(wrong).of(datagram.len())),
    }
    Ok(())
}

fn note(session: &mut Session, format: Arc<Format>, bytes: &[u8], extent: Extent) {
    let bytes = bytes.get(..extent.size).unwrap_or_default().into();
    session.facts_mut().frame = Some(Frame { format, bytes, extent });
    set_variables(session, |server| &server.set_by_frame);
}

/// Reads until `bytes` begin with a frame. Cancel safe: what was read is in `bytes`.
async fn gather(client: &mut Stream, format: &Format, bytes: &mut Vec<u8>) -> Result<Extent, Failure> {
    loop {
        let missing = match format.parse(bytes).map_err(Failure::Wrong)? {
            Progress::Complete(extent) => return Ok(extent),
            Progress::Incomplete(missing) => missing,
        };
        while bytes.len() < missing.needs {
            if bytes.len() == bytes.capacity() {
                bytes.reserve(bytes.len().max(FIRST_ROOM));
            }
            match client.read_buf(bytes).await {
                Ok(0) => return Err(Failure::Ended(missing, None)),
                Ok(_) => {}
                Err(error) => return Err(Failure::Ended(missing, Some(error))),
            }
        }
    }
}

impl Failure {
    /// The end of a session whose client sent `count` bytes.
    fn of(self, count: usize) -> SessionError {
        match self {
            Self::Wrong(wrong) => {
                let text = format!("frame: {wrong}");
                SessionError::new(Status::BadRequest, Source::Client, Level::Error, text)
            }
            Self::Ended(missing, cause) => {
                let text =
                    format!("frame: client ended after {count} bytes, its {} is not whole", missing.part);
                let error = SessionError::new(Status::Ok, Source::Client, Level::Info, text);
                cause.into_iter().fold(error, SessionError::because)
            }
        }
    }
}

fn silent(format: &Format, early: &[u8], wait: Duration) -> SessionError {
    let part = match format.parse(early) {
        Ok(Progress::Incomplete(missing)) => missing.part,
        _ => "frame",
    };
    let (count, seconds) = (early.len(), wait.as_secs_f64());
    let text = format!("frame: client sent {count} bytes in {seconds} s, its {part} is not whole");
    SessionError::new(Status::Ok, Source::Client, Level::Info, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(end: spec::FrameEnd) -> spec::Frame {
        let length = spec::FrameField {
            name: "length".to_owned(),
            offset: 4,
            width: 2,
            kind: spec::FieldKind::Unsigned,
            little: false,
        };
        spec::Frame {
            fields: vec![length],
            header: 6,
            end,
            body: spec::FrameBody::Raw,
            max: 64,
            timeout_ms: 1,
        }
    }

    fn refusal(change: impl FnOnce(&mut spec::Frame)) -> String {
        let mut frame = frame(spec::FrameEnd::Field { index: 0, adjust: 0 });
        change(&mut frame);
        link(&frame).unwrap_err()
    }

    #[test]
    fn a_plan_that_cannot_be_is_refused() {
        assert!(link(&frame(spec::FrameEnd::Varint { adjust: 0 })).is_ok());
        assert_eq!(refusal(|frame| frame.header = 5), "field \"length\" does not fit");
        assert_eq!(refusal(|frame| frame.fields[0].width = u32::MAX), "field \"length\" does not fit");
        assert_eq!(refusal(|frame| frame.max = 5), "a header of 6 bytes is more than max 5");
        assert_eq!(
            refusal(|frame| frame.fields[0].kind = spec::FieldKind::Text),
            "no number counts the body"
        );
        assert_eq!(refusal(|frame| frame.fields.clear()), "no number counts the body");
        let delimiter = |frame: &mut spec::Frame| frame.end = spec::FrameEnd::Delimiter { bytes: Vec::new() };
        assert_eq!(refusal(delimiter), "an empty delimiter");
    }

    #[tokio::test]
    async fn memory_is_taken_as_bytes_arrive_not_as_a_length_announces_them() {
        let mut spec = frame(spec::FrameEnd::Field { index: 0, adjust: 0 });
        spec.max = 65_536;
        let format = link(&spec).unwrap();
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        theirs.try_write(b"\0\0\0\0\xff\x00few").unwrap();
        drop(theirs);
        let mut bytes = Vec::new();
        let mut client = Stream::Plain(crate::stream::Socket::Unix(ours));
        let failure = gather(&mut client, &format, &mut bytes).await;
        assert!(matches!(failure, Err(Failure::Ended(Missing { needs: 65_286, part: "body" }, None))));
        assert_eq!(bytes.len(), 9);
        assert!(bytes.capacity() <= 2 * FIRST_ROOM, "{}", bytes.capacity());
    }
}
