//! `FrameParser`: what a `FrameFormat` of handlers stands for, and how a frame gets to them.

use std::sync::Arc;

use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use qanat_core::phase::input::Wish;
use qanat_core::preread::frame;
use qanat_wire::frame::{Body, Extent, Format, Progress, Value};

use crate::errors;
use crate::session::{PhaseError, Session};

create_exception!(
    qanat._native,
    FrameError,
    PyValueError,
    "Bytes that are no frame of the format: the text says what is wrong with them."
);

/// Whole frame, fields of its header, start and end of its body, and what that is.
type Parts<'py> = (Bound<'py, PyBytes>, Bound<'py, PyDict>, usize, usize, &'static str);

/// Recognises frames of a format.
#[pyclass(frozen, module = "qanat._native")]
pub(crate) struct FrameParser {
    format: Arc<Format>,
}

#[pymethods]
impl FrameParser {
    /// Takes a frame of the plan, as MessagePack.
    #[new]
    fn new(frame: &[u8]) -> PyResult<Self> {
        let frame = qanat_plan::Frame::decode(frame).map_err(|error| errors::undecodable(&error))?;
        let format = frame::link(&frame).map_err(PyValueError::new_err)?;
        Ok(Self { format: Arc::new(format) })
    }

    /// Read the frame at the start of `data`; none if more bytes are needed.
    fn parse<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Option<Parts<'py>>> {
        match measure(&self.format, data)? {
            Progress::Complete(extent) => parts(py, &self.format, data, &extent).map(Some),
            Progress::Incomplete(_) => Ok(None),
        }
    }
}

/// Look at the frame that comes next, or take it: of a parser, or of the `frame` block. None if it may still come,
/// which is signalled.
#[pyfunction]
#[pyo3(signature = (session, parser, takes))]
pub(crate) fn look_for_frame<'py>(
    py: Python<'py>,
    session: &Session,
    parser: Option<&FrameParser>,
    takes: bool,
) -> PyResult<Option<Parts<'py>>> {
    let own = || session.with(|exchange| exchange.session.as_ref()?.server.frame.clone());
    let format = match parser {
        Some(parser) => Arc::clone(&parser.format),
        None => own()?.ok_or_else(|| PhaseError::new_err("the server has no \"frame\" block"))?,
    };
    let found = session.with(|exchange| {
        let unread = exchange.input.unread();
        PyResult::Ok(match measure(&format, unread)? {
            Progress::Incomplete(missing) => Err(missing.needs),
            Progress::Complete(extent) if takes => Ok((exchange.input.take(extent.size), extent)),
            Progress::Complete(extent) => Ok((unread.iter().take(extent.size).copied().collect(), extent)),
        })
    })??;
    match found {
        Ok((bytes, extent)) => parts(py, &format, &bytes, &extent).map(Some),
        Err(needs) => session.look(Wish::Bytes(needs), false).map(|_| None),
    }
}

/// Return the frame that the `frame` block has seen; none without one.
#[pyfunction]
pub(crate) fn first_frame<'py>(py: Python<'py>, session: &Session) -> PyResult<Option<Parts<'py>>> {
    let seen = session.with(|exchange| {
        let seen = exchange.session.as_ref()?.facts.as_ref()?.frame.as_ref()?;
        Some((Arc::clone(&seen.format), seen.bytes.clone(), seen.extent.clone()))
    })?;
    seen.map(|(format, bytes, extent)| parts(py, &format, &bytes, &extent)).transpose()
}

/// What `bytes` amount to.
fn measure(format: &Format, bytes: &[u8]) -> PyResult<Progress> {
    format.parse(bytes).map_err(|wrong| FrameError::new_err(format!("frame: {wrong}")))
}

/// Shows a frame that stands at the start of `bytes`.
fn parts<'py>(py: Python<'py>, format: &Format, bytes: &[u8], extent: &Extent) -> PyResult<Parts<'py>> {
    let whole = bytes.get(..extent.size).unwrap_or_default();
    let fields = PyDict::new(py);
    for (name, value) in format.values(whole) {
        match value {
            Value::Unsigned(value) => fields.set_item(name, value)?,
            Value::Signed(value) => fields.set_item(name, value)?,
            Value::Bool(value) => fields.set_item(name, value)?,
            Value::Bytes(value) => fields.set_item(name, PyBytes::new(py, value))?,
        }
    }
    let body = match format.body {
        Body::Raw => "raw",
        Body::Json => "json",
        Body::MessagePack => "msgpack",
    };
    Ok((PyBytes::new(py, whole), fields, extent.body.start, extent.body.end, body))
}
