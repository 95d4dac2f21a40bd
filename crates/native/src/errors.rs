//! Errors of the data plane as Python's exceptions.

use pyo3::create_exception;
use pyo3::exceptions::{PyKeyError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use qanat_core::error::{ApplyError, describe};
use qanat_plan::DecodeError;

create_exception!(qanat._native, PlanError, PyValueError, "A change set that cannot be run.");
create_exception!(qanat._native, ListenError, PyOSError, "A listener that cannot be bound.");

/// The exception for a change that was refused.
pub(crate) fn translate(error: ApplyError) -> PyErr {
    match error {
        ApplyError::Plan { kind, id, field, message, origin } => {
            PlanError::new_err((kind, id, field, message, origin))
        }
        ApplyError::Listen { listener, source } => match source.raw_os_error() {
            Some(code) => {
                let described = describe(&source);
                let text = described.split_once(": ").map_or(described.as_str(), |(_, text)| text);
                ListenError::new_err((code, text.to_owned(), listener))
            }
            None => ListenError::new_err((0, source.to_string(), listener)),
        },
        ApplyError::Ticket(ticket) => PyKeyError::new_err(ticket),
        error @ ApplyError::Worker(_) => PyRuntimeError::new_err(error.to_string()),
    }
}

/// The exception for bytes that are no change set.
pub(crate) fn undecodable(error: &DecodeError) -> PyErr {
    PlanError::new_err(("change_set", "", "", error.to_string(), ""))
}
