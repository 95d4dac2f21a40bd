//! One rule: its conditions, and what they say about a session of which not everything is known yet.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use fancy_regex::Regex;
use qanat_plan::{self as spec, NameKind, PortRange};

use crate::plan::link::LinkError;
use crate::plan::network::Network;
use crate::rules::evidence::{Evidence, Hello, Names};

/// A rule, ready to be asked.
#[derive(Debug)]
pub struct Rule {
    /// Its place among the rules of its table.
    pub order: Order,
    /// What it does.
    pub action: Action,
    /// Networks of clients.
    pub source: Vec<Network>,
    /// Ports that clients address.
    pub port: Vec<PortRange>,
    /// Names in the `ClientHello`.
    pub names: Vec<Name>,
    /// Protocols in the `ClientHello`.
    pub protocols: Vec<Box<[u8]>>,
    /// What the bytes begin with.
    pub starts_with: Vec<Arc<[u8]>>,
    /// Whether there is a `ClientHello`.
    pub tls: Option<bool>,
    /// Sessions that it decided.
    pub decided: Arc<AtomicU64>,
}

/// Rules are asked in this order; the name makes it unique within a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// `priority`, the lowest first.
    pub priority: u32,
    /// As written.
    pub position: u32,
    /// What `$rule` shows.
    pub name: Arc<str>,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Relays to the upstream of this name.
    Pass(Arc<str>),
    /// Ends the session with this status.
    Reject(u16),
}

/// A server name as a condition.
#[derive(Clone, Debug)]
pub enum Name {
    /// The whole name.
    Exact(Arc<str>),
    /// What stands behind a dot.
    Leading(Arc<str>),
    /// What stands before a dot.
    Trailing(Arc<str>),
    /// A regular expression.
    Pattern(Box<Regex>),
}

/// What a rule says about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All conditions hold.
    Yes,
    /// One does not.
    No,
    /// Those that can be judged hold, others need more bytes.
    Unknown,
}

/// Conditions that need not be asked again, because the place where a rule was found says that they hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settled {
    /// The client's network.
    pub source: bool,
    /// The port.
    pub port: bool,
    /// The server's name.
    pub name: bool,
}

impl Action {
    /// Links an action.
    pub fn link(action: &spec::RuleAction) -> Self {
        match action {
            spec::RuleAction::Pass { upstream } => Self::Pass(upstream.as_str().into()),
            spec::RuleAction::Reject { status } => Self::Reject(*status),
        }
    }
}

impl Rule {
    /// Links a rule.
    ///
    /// # Errors
    /// The field that cannot be read.
    pub fn link(rule: &spec::Rule, decided: Arc<AtomicU64>) -> Result<Self, LinkError> {
        let networks = rule.source.iter().map(|text| {
            let wrong = || LinkError::new("source", format!("invalid network \"{text}\""));
            Network::parse(text).ok_or_else(wrong)
        });
        let names = rule.sni.iter().map(|name| {
            let wrong =
                |message| LinkError::new("sni", format!("invalid name \"~{}\": {message}", name.text));
            Name::link(name).map_err(wrong)
        });
        let name = rule.id.split_once('/').map_or(rule.id.as_str(), |(_table, name)| name);
        Ok(Self {
            order: Order { priority: rule.priority, position: rule.position, name: name.into() },
            action: Action::link(&rule.action),
            source: networks.collect::<Result<_, _>>()?,
            port: rule.port.clone(),
            names: names.collect::<Result<_, _>>()?,
            protocols: rule.alpn.iter().map(|text| text.as_bytes().into()).collect(),
            starts_with: rule.starts_with.iter().map(|bytes| bytes.as_slice().into()).collect(),
            tls: rule.tls,
            decided,
        })
    }

    /// Whether it asks for something that stands in a `ClientHello`, or whether there is one.
    pub fn needs_hello(&self) -> bool {
        !self.names.is_empty() || !self.protocols.is_empty() || self.tls.is_some()
    }

    /// What it says about a session.
    pub fn judge(&self, evidence: &Evidence<'_>, settled: Settled) -> Answer {
        let is_here = (settled.source || self.admits_source(evidence))
            && (settled.port || self.admits_port(evidence.port));
        if !is_here {
            return Answer::No;
        }
        match (self.judge_hello(&evidence.hello, settled), self.judge_bytes(evidence)) {
            (Answer::No, _) | (_, Answer::No) => Answer::No,
            (Answer::Yes, Answer::Yes) => Answer::Yes,
            _ => Answer::Unknown,
        }
    }

    /// The first of its conditions that denies a session; none if all hold.
    pub fn denied_by(&self, evidence: &Evidence<'_>) -> Option<&'static str> {
        if !self.admits_source(evidence) {
            return Some("source");
        }
        if !self.admits_port(evidence.port) {
            return Some("port");
        }
        match &evidence.hello {
            Hello::Seen(_) if self.tls == Some(false) => return Some("tls"),
            Hello::Seen(seen) if !self.admits_name(seen) => return Some("sni"),
            Hello::Seen(seen) if !self.admits_protocols(seen) => return Some("alpn"),
            Hello::Seen(_) => {}
            hello if self.judge_hello(hello, Settled::default()) != Answer::Yes => return Some("tls"),
            _ => {}
        }
        (self.judge_bytes(evidence) != Answer::Yes).then_some("starts_with")
    }

    fn admits_source(&self, evidence: &Evidence<'_>) -> bool {
        self.source.is_empty() || self.source.iter().any(|network| network.contains_ip(evidence.source))
    }

    fn admits_port(&self, port: Option<u16>) -> bool {
        let admits = |port| self.port.iter().any(|range| (range.first..=range.last).contains(&port));
        self.port.is_empty() || port.is_some_and(admits)
    }

    fn judge_hello(&self, hello: &Hello, settled: Settled) -> Answer {
        if !self.needs_hello() {
            return Answer::Yes;
        }
        let holds = match hello {
            Hello::Unknown => return Answer::Unknown,
            Hello::Absent => self.tls == Some(false) && self.names.is_empty() && self.protocols.is_empty(),
            Hello::Broken => false,
            Hello::Seen(seen) => {
                self.tls != Some(false)
                    && (settled.name || self.admits_name(seen))
                    && self.admits_protocols(seen)
            }
        };
        if holds { Answer::Yes } else { Answer::No }
    }

    fn admits_name(&self, seen: &Names) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name.matches(&seen.server))
    }

    fn admits_protocols(&self, seen: &Names) -> bool {
        let offers = |wanted: &[u8]| seen.protocols.iter().any(|offered| *offered == wanted);
        self.protocols.is_empty() || self.protocols.iter().any(|wanted| offers(wanted))
    }

    fn judge_bytes(&self, evidence: &Evidence<'_>) -> Answer {
        let bytes = evidence.bytes;
        if self.starts_with.is_empty() || self.starts_with.iter().any(|wanted| bytes.starts_with(wanted)) {
            return Answer::Yes;
        }
        let may_follow = !evidence.ended && self.starts_with.iter().any(|wanted| wanted.starts_with(bytes));
        if may_follow { Answer::Unknown } else { Answer::No }
    }
}

impl Name {
    fn link(name: &spec::ServerName) -> Result<Self, String> {
        Ok(match name.kind {
            NameKind::Exact => Self::Exact(name.text.as_str().into()),
            NameKind::Leading => Self::Leading(name.text.as_str().into()),
            NameKind::Trailing => Self::Trailing(name.text.as_str().into()),
            NameKind::Regex => {
                let regex = Regex::new(&format!("(?i){}", name.text)).map_err(|error| error.to_string())?;
                Self::Pattern(Box::new(regex))
            }
        })
    }

    /// Whether it admits `server`, which is in lower case; a client that names none is admitted by none.
    pub fn matches(&self, server: &str) -> bool {
        if server.is_empty() {
            return false;
        }
        match self {
            Self::Exact(text) => **text == *server,
            Self::Leading(text) => server.strip_suffix(&**text).is_some_and(|rest| rest.ends_with('.')),
            Self::Trailing(text) => server.strip_prefix(&**text).is_some_and(|rest| rest.starts_with('.')),
            // One that takes too many steps does not match.
            Self::Pattern(regex) => regex.is_match(server).unwrap_or(false),
        }
    }
}
