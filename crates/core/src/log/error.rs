//! Error logs in nginx's format.

use qanat_plan::{self as spec, Level};

use crate::error::SessionError;
use crate::log::writer::LogWriter;
use crate::session::Session;

/// Where errors of one level of the configuration go.
#[derive(Clone, Default)]
pub struct ErrorLogs {}

impl ErrorLogs {
    /// Opens the logs.
    ///
    /// # Errors
    /// Path and cause, if a file cannot be opened.
    pub fn link(_logs: &[spec::ErrorLog], _writer: &LogWriter) -> Result<Self, String> {
        Ok(Self {})
    }

    /// Whether any of them admits `level`: ask before building a costly line.
    pub fn admits(&self, _level: Level) -> bool {
        false
    }

    /// Writes a line that belongs to no session.
    pub fn write(&self, _level: Level, _message: &str) {}
}

/// Writes a line about `session`: `… *N MESSAGE while ACTION, client: A, server: L, upstream: "U", bytes …`.
pub fn session_line(_session: &Session, _level: Level, _message: &str) {}

/// Writes the line that an error asks for.
pub fn session_error(_session: &Session, _error: &SessionError) {}
