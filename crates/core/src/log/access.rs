//! Access logs: one record at the end of every session.

use qanat_plan as spec;

use crate::log::writer::LogWriter;
use crate::session::Session;

/// A `log_format`.
pub struct LogFormat {}

/// An `access_log`.
pub struct AccessLog {}

impl LogFormat {
    /// Links a format.
    ///
    /// # Errors
    /// `unknown "x" variable`.
    pub fn link(_format: &spec::LogFormat) -> Result<Self, String> {
        Ok(Self {})
    }
}

impl AccessLog {
    /// Links an access log and opens its file, unless its path has variables.
    ///
    /// # Errors
    /// What is wrong with the path or the condition.
    pub fn link(_log: &spec::AccessLog, _writer: &LogWriter) -> Result<Self, String> {
        Ok(Self {})
    }
}

/// Writes the records of an ended session.
pub fn record(_session: &mut Session) {}
