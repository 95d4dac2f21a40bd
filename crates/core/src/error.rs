//! Why a session ended otherwise than normally, and why a plan was refused.

use std::fmt;
use std::io;

use qanat_plan::Level;

/// Status of a session, as `$status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    /// Ended normally, or by an idle timeout.
    Ok = 200,
    /// The client's bytes could not be parsed.
    BadRequest = 400,
    /// Access denied.
    Forbidden = 403,
    /// Our own fault, or a failed TLS handshake.
    Internal = 500,
    /// No peer could be reached.
    BadGateway = 502,
    /// A limit refused it.
    Unavailable = 503,
}

/// Who or what ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The client.
    Client,
    /// The peer.
    Peer,
    /// The gateway.
    Gateway,
    /// The gateway, for want of descriptors, memory or ports.
    Shortage,
}

/// The early end of a session: its status, and what the error log says about it.
#[derive(Debug)]
pub struct SessionError {
    /// Status of the session.
    pub status: Status,
    /// Whose fault it was.
    pub source: Source,
    /// Level of the line in the error log; none writes nothing.
    pub level: Option<Level>,
    /// Text of the line, without the suffix that names client and server.
    pub message: String,
    /// The system's error, if there was one; printed as `(errno: text)`.
    pub cause: Option<io::Error>,
    /// A status that a handler chose instead.
    pub chosen: Option<u16>,
}

impl SessionError {
    /// An end that the log mentions at `level`.
    pub fn new(status: Status, source: Source, level: Level, message: impl Into<String>) -> Self {
        Self { status, source, level: Some(level), message: message.into(), cause: None, chosen: None }
    }

    /// An end that needs no line.
    pub fn silent(status: Status, source: Source) -> Self {
        Self { status, source, level: None, message: String::new(), cause: None, chosen: None }
    }

    /// Ends with the status that a handler chose.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.chosen = Some(status);
        self
    }

    /// The status as a number.
    pub fn code(&self) -> u16 {
        self.chosen.unwrap_or(self.status as u16)
    }

    /// Adds the system's error.
    #[must_use]
    pub fn because(mut self, cause: io::Error) -> Self {
        self.cause = Some(cause);
        self
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.cause {
            Some(cause) => write!(f, " ({})", describe(cause)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SessionError {}

/// `98: Address already in use`: the system's error as nginx prints it.
pub fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => {
            format!("{code}: {}", text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text))
        }
        None => text,
    }
}

/// Why a change set was refused. Nothing has changed when it is returned.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The plan cannot be linked.
    #[error("{message}")]
    Plan {
        /// Kind of the object: the plural field name in `Objects`.
        kind: &'static str,
        /// Its id.
        id: String,
        /// The field at fault, or empty.
        field: String,
        /// What is wrong with it.
        message: String,
        /// `FILE:LINE`, or empty.
        origin: String,
    },
    /// A listener cannot be bound.
    #[error("bind() to {listener} failed ({})", describe(.source))]
    Listen {
        /// Id of the listener.
        listener: String,
        /// The system's error.
        source: io::Error,
    },
    /// The ticket is not open.
    #[error("no such ticket: {0}")]
    Ticket(u64),
    /// A worker did not take up the change in time, or is gone.
    #[error("worker {0} does not answer")]
    Worker(usize),
}
