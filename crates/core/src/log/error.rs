//! Error logs in nginx's format.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use qanat_plan::{self as spec, Level, Protocol};

use crate::clock;
use crate::error::{SessionError, describe};
use crate::log::escape::escape_message;
use crate::log::writer::{LogFile, LogWriter};
use crate::session::Session;
use crate::sys::{thread, time};

/// Where errors of one level of the configuration go.
#[derive(Clone, Default)]
pub struct ErrorLogs {
    /// The least severe level that any log admits.
    least: Option<Level>,
    logs: Arc<[ErrorLog]>,
}

struct ErrorLog {
    file: Arc<LogFile>,
    level: Level,
}

impl ErrorLogs {
    /// Opens the logs.
    ///
    /// # Errors
    /// Path and cause, if a file cannot be opened.
    pub fn link(logs: &[spec::ErrorLog], writer: &LogWriter) -> Result<Self, String> {
        let logs = logs.iter().map(|log| ErrorLog::link(log, writer)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { least: logs.iter().map(|log| log.level).min(), logs: logs.into() })
    }

    /// Whether any of them admits `level`: ask before building a costly line.
    pub fn admits(&self, level: Level) -> bool {
        self.least.is_some_and(|least| level >= least)
    }

    /// Writes a line that belongs to no session.
    pub fn write(&self, level: Level, message: &str) {
        if self.admits(level) {
            let mut line = Vec::new();
            format_line(level, message, &mut line);
            self.append(level, &line);
        }
    }

    fn append(&self, level: Level, line: &[u8]) {
        self.logs.iter().filter(|log| level >= log.level).for_each(|log| log.file.append(line));
    }
}

impl ErrorLog {
    fn link(log: &spec::ErrorLog, writer: &LogWriter) -> Result<Self, String> {
        let path = match log.target.kind {
            spec::TargetKind::Stderr => None,
            spec::TargetKind::File => match log.target.path.as_slice() {
                [spec::Part::Text(path)] => Some(path.as_str()),
                _ => return Err("the path of an error log must not hold variables".to_owned()),
            },
        };
        let opened = writer.open_error_log(path);
        let file = opened.map_err(|error| open_failed(path.unwrap_or("stderr"), &error))?;
        Ok(Self { file, level: log.level })
    }
}

/// What nginx says of a log that cannot be opened.
pub(crate) fn open_failed(path: &str, error: &std::io::Error) -> String {
    format!("open() \"{path}\" failed ({})", describe(error))
}

impl Session {
    /// Where errors of this session go: the logs of its server, or else the main ones.
    pub fn error_logs(&self) -> &ErrorLogs {
        self.server.error_log.as_ref().unwrap_or(&self.plan.settings.error_log)
    }
}

/// Writes a line about `session`: `… *N MESSAGE while ACTION, client: A, server: L, upstream: "U", bytes …`.
pub fn session_line(session: &Session, level: Level, message: &str) {
    write_session_line(session, level, message, &Suffix(session));
}

/// Writes a line that says all by itself: `… *N MESSAGE`, as nginx has it for the beginning and the end of sessions.
pub fn session_event(session: &Session, level: Level, message: &str) {
    write_session_line(session, level, message, &"");
}

/// Writes the end of a session: `… *N MESSAGE, bytes from/to client:1/2, bytes from/to upstream:3/4`.
pub fn session_end(session: &Session, level: Level, message: &str) {
    write_session_line(session, level, message, &Bytes(session));
}

/// Writes the line that an error asks for.
pub fn session_error(session: &Session, error: &SessionError) {
    let Some(level) = error.level else { return };
    if session.error_logs().admits(level) {
        session_line(session, level, &error.to_string());
    }
}

fn write_session_line(session: &Session, level: Level, message: &str, suffix: &dyn fmt::Display) {
    let logs = session.error_logs();
    if logs.admits(level) {
        logs.append(level, &format_session_line(session, level, message, suffix));
    }
}

fn format_session_line(session: &Session, level: Level, message: &str, suffix: &dyn fmt::Display) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    push_prefix(level, &mut line);
    push(&mut line, format_args!("*{} ", session.id));
    escape_message(message, &mut line);
    push(&mut line, suffix);
    line.push(b'\n');
    line
}

/// Appends a line that belongs to no session.
pub(crate) fn format_line(level: Level, message: &str, out: &mut Vec<u8>) {
    push_prefix(level, out);
    escape_message(message, out);
    out.push(b'\n');
}

/// `2026/01/31 23:59:59 [error] 4711#4712: `
fn push_prefix(level: Level, out: &mut Vec<u8>) {
    let now = time::local(clock::wall().as_secs());
    let time::LocalTime { year, month, day, hour, minute, second, .. } = now;
    let (level, pid, tid) = (level_name(level), std::process::id(), thread::id());
    push(out, format_args!("{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02} "));
    push(out, format_args!("[{level}] {pid}#{tid}: "));
}

fn push(out: &mut Vec<u8>, text: impl fmt::Display) {
    // Writing to a vector cannot fail.
    drop(write!(out, "{text}"));
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Notice => "notice",
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Crit => "crit",
        Level::Alert => "alert",
        Level::Emerg => "emerg",
    }
}

/// ` while ACTION, client: A, server: L` and, once peers were tried, `, upstream: "U", bytes …`.
struct Suffix<'a>(&'a Session);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = self.0;
        if !session.action.is_empty() {
            write!(f, " while {}", session.action)?;
        }
        let client = match session.protocol() {
            Protocol::Tcp => "client",
            Protocol::Udp => "udp client",
        };
        match session.client.ip() {
            Some(ip) => write!(f, ", {client}: {ip}")?,
            None => write!(f, ", {client}: {}", session.client)?,
        }
        write!(f, ", server: {}", listening_address(session))?;
        match session.attempts.last() {
            Some(attempt) => write!(f, ", upstream: \"{}\"{}", attempt.peer, Bytes(session)),
            None => Ok(()),
        }
    }
}

/// Address of the socket that the session arrived at: that of the parent for an address within a wildcard.
pub(crate) fn listening_address(session: &Session) -> &str {
    let spec = &session.listener.spec;
    let parent = spec.parent.as_deref().and_then(|id| id.split_once(':'));
    parent.map_or(spec.address.as_str(), |(_protocol, address)| address)
}

/// `, bytes from/to client:1/2, bytes from/to upstream:3/4`
struct Bytes<'a>(&'a Session);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (received, sent) = (self.0.bytes_received, self.0.bytes_sent);
        let peer = self.0.attempts.last().map_or((0, 0), |last| (last.bytes_received, last.bytes_sent));
        write!(f, ", bytes from/to client:{received}/{sent}, bytes from/to upstream:{}/{}", peer.0, peer.1)
    }
}
