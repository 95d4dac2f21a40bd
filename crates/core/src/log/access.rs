//! Access logs: one record at the end of every session.

use std::sync::Arc;

use qanat_plan::{self as spec, Escape, Level, TargetKind};

use crate::log::error::{open_failed, session_line};
use crate::log::writer::{LogFile, LogWriter};
use crate::session::Session;
use crate::session::template::Template;
use crate::session::vars::into_text;

/// A `log_format`.
pub struct LogFormat {
    escape: Escape,
    line: Template,
}

/// An `access_log`.
pub struct AccessLog {
    target: Target,
    format: Arc<str>,
    condition: Option<Template>,
}

enum Target {
    /// Open since the log was linked.
    File(Arc<LogFile>),
    /// The path is made for each line.
    Path(Template, LogWriter),
}

impl LogFormat {
    /// Links a format.
    ///
    /// # Errors
    /// A variable without a name.
    pub fn link(format: &spec::LogFormat) -> Result<Self, String> {
        Ok(Self { escape: format.escape, line: Template::link(&format.line)? })
    }
}

impl AccessLog {
    /// Links an access log and opens its file, unless its path has variables.
    ///
    /// # Errors
    /// What is wrong with the path or the condition.
    pub fn link(log: &spec::AccessLog, writer: &LogWriter) -> Result<Self, String> {
        Ok(Self {
            target: Target::link(&log.target, writer)?,
            format: log.format.as_str().into(),
            condition: log.condition.as_ref().map(Template::link).transpose()?,
        })
    }

    /// `if=`: an empty value or `0` writes nothing.
    fn wants(&self, session: &mut Session) -> bool {
        let Some(condition) = &self.condition else { return true };
        let mut value = Vec::new();
        condition.render(session, &mut value);
        !matches!(value.as_slice(), b"" | b"0")
    }
}

impl Target {
    fn link(target: &spec::Target, writer: &LogWriter) -> Result<Self, String> {
        if target.kind == TargetKind::Stderr {
            return writer.open(None).map(Self::File).map_err(|error| open_failed("stderr", &error));
        }
        let path = Template::link(&target.path)?;
        match path.constant() {
            Some(path) => writer.open(Some(path)).map(Self::File).map_err(|error| open_failed(path, &error)),
            None if target
                .path
                .iter()
                .any(|part| matches!(part, spec::Part::Text(text) if text.contains(".."))) =>
            {
                Err("the path of a log with variables must not hold \"..\"".to_owned())
            }
            None => Ok(Self::Path(path, writer.clone())),
        }
    }

    fn append(&self, session: &mut Session, line: Vec<u8>) {
        match self {
            Self::File(file) => file.append(&line),
            Self::Path(path, writer) => match make_path(session, path) {
                Some(path) => writer.append_to(path, line),
                None => session_line(session, Level::Error, "a log path made of variables leads elsewhere"),
            },
        }
    }
}

/// The path for this session. Values may come from the client, a server name for one: none may climb out of the
/// directory that the configuration names.
fn make_path(session: &mut Session, template: &Template) -> Option<String> {
    let mut path = Vec::new();
    template.render(session, &mut path);
    let path = into_text(path);
    let climbs = path.split('/').any(|component| component == "..");
    (!climbs && !path.contains('\0')).then_some(path)
}

/// Writes the records of an ended session.
pub fn record(session: &mut Session) {
    let server = Arc::clone(&session.server);
    for log in &server.access_log {
        if !log.wants(session) {
            continue;
        }
        let Some(format) = session.plan.formats.get(&*log.format).cloned() else { continue };
        let mut line = Vec::with_capacity(256);
        format.line.render_log(session, format.escape, &mut line);
        line.push(b'\n');
        log.target.append(session, line);
    }
}
