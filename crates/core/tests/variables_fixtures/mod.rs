//! A plan with one server, and sessions of it.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use qanat_core::address::Address;
use qanat_core::error::ApplyError;
use qanat_core::log::writer::LogWriter;
use qanat_core::plan::Plan;
use qanat_core::plan::link::{Context, link};
use qanat_core::session::Session;
use qanat_core::session::template::Template;
use qanat_core::tls::TlsContext;
use qanat_plan::{
    AccessLog, ChangeSet, Content, ErrorLog, Escape, Level, Listener, LogFormat, MapEntry, MapPattern,
    Objects, Part, Protocol, Server, Settings, Target, TargetKind, Variable, VariableKind,
};

use crate::specs;

/// A template from text in which `$name` ends at the next character that cannot be in a name.
pub(crate) fn template(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut pieces = text.split('$');
    parts.extend(pieces.next().filter(|text| !text.is_empty()).map(|text| Part::Text(text.to_owned())));
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
        parts.push(Part::Variable(piece[..end].to_owned()));
        if end < piece.len() {
            parts.push(Part::Text(piece[end..].to_owned()));
        }
    }
    parts
}

pub(crate) fn linked(text: &str) -> Template {
    Template::link(&template(text)).unwrap()
}

/// What a template is worth in a session.
pub(crate) fn render(session: &mut Session, text: &str) -> String {
    linked(text).text(session)
}

/// A map without entries; tests fill in what they are about.
pub(crate) fn map(name: &str, source: &str, default: &str) -> Variable {
    Variable {
        name: name.to_owned(),
        volatile: false,
        kind: VariableKind::Map {
            source: template(source),
            default: template(default),
            hostnames: false,
            exact: Vec::new(),
            leading: Vec::new(),
            trailing: Vec::new(),
            patterns: Vec::new(),
        },
        origin: "test.conf:1".to_owned(),
    }
}

pub(crate) fn entries(pairs: &[(&str, &str)]) -> Vec<MapEntry> {
    pairs.iter().map(|(key, value)| MapEntry { key: (*key).to_owned(), value: template(value) }).collect()
}

/// A pattern as a configuration writes it: `~expression` or `~*expression`.
pub(crate) fn pattern(text: &str, value: &str) -> MapPattern {
    let ignore_case = text.starts_with("~*");
    MapPattern {
        pattern: text.trim_start_matches("~*").trim_start_matches('~').to_owned(),
        ignore_case,
        value: template(value),
        origin: "test.conf:7".to_owned(),
    }
}

pub(crate) fn target(path: &str) -> Target {
    Target { kind: TargetKind::File, path: template(path) }
}

pub(crate) fn error_log(path: &Path, level: Level) -> ErrorLog {
    ErrorLog { target: target(path.to_str().unwrap()), level }
}

pub(crate) fn format(name: &str, escape: Escape, line: &str) -> LogFormat {
    LogFormat { name: name.to_owned(), escape, line: template(line) }
}

pub(crate) fn access_log(path: &str, format: &str, condition: Option<&str>) -> AccessLog {
    AccessLog { target: target(path), format: format.to_owned(), condition: condition.map(template) }
}

/// A change set that a test completes, and the log writer that it is linked with.
pub(crate) struct Gateway {
    pub(crate) change: ChangeSet,
    pub(crate) logs: LogWriter,
}

impl Gateway {
    /// One server on one TCP listener.
    pub(crate) fn new(address: &str) -> Self {
        let put = Objects {
            listeners: vec![listener(Protocol::Tcp, address)],
            servers: vec![server(&format!("tcp:{address}"))],
            ..Objects::default()
        };
        let settings = Settings {
            node_name: "node".to_owned(),
            hostname: "gateway.example".to_owned(),
            version: "1.31.0".to_owned(),
            ..specs::settings()
        };
        let change = ChangeSet { settings: Some(settings), ..specs::change_set(put) };
        Self { change, logs: LogWriter::start().unwrap() }
    }

    pub(crate) fn udp(mut self) -> Self {
        let listener = &mut self.change.put.listeners[0];
        listener.protocol = Protocol::Udp;
        self
    }

    pub(crate) fn variables(mut self, variables: Vec<Variable>) -> Self {
        self.change.put.variables = variables;
        self
    }

    pub(crate) fn server(&mut self) -> &mut Server {
        &mut self.change.put.servers[0]
    }

    pub(crate) fn link(&self) -> Result<Plan, ApplyError> {
        let tls = TlsContext::new().unwrap();
        link(&Plan::default(), &self.change, &Context { logs: &self.logs, tls: &tls })
    }

    /// Session number 7, from `client`.
    pub(crate) fn session(&self, client: &str) -> Session {
        let plan = Arc::new(self.link().unwrap());
        let listener = Arc::clone(plan.listeners.values().next().unwrap());
        Session::begin(7, plan, listener, Address::parse(client).unwrap())
    }
}

/// A session of a gateway that has these variables.
pub(crate) fn session_with(variables: Vec<Variable>) -> Session {
    Gateway::new("127.0.0.1:5000").variables(variables).session("192.0.2.1:4000")
}

/// A listener with the one server.
pub(crate) fn listener(protocol: Protocol, address: &str) -> Listener {
    Listener { default_server: "main".to_owned(), ..specs::listener(protocol, address) }
}

fn server(listener: &str) -> Server {
    Server {
        id: "main".to_owned(),
        name: "www.example.com".to_owned(),
        ..specs::server(listener, Content::None {})
    }
}

/// A directory of its own, removed at the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("qanat-logs-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}
