//! From a change set and the present plan to the next plan. Everything that can be wrong with a plan is found here.

mod rules;
mod tunnels;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use qanat_plan as spec;

use crate::address::Address;
use crate::error::ApplyError;
use crate::log::access::{AccessLog, LogFormat};
use crate::log::error::ErrorLogs;
use crate::log::writer::LogWriter;
use crate::phase::{Chain, Chains, Generation, Phase};
use crate::plan::network::Rule;
use crate::plan::{Content, ContentHandler, Listener, Plan, Proxy, Server, Settings, Target};
use crate::preread::frame;
use crate::session::template::Template;
use crate::session::vars::Variable;
use crate::tls::{Certificates, CertifiedKey, PeerTls, ServerTls, TlsContext};
use crate::upstream::Upstream;

/// A field that cannot be linked.
#[derive(Debug)]
pub struct LinkError {
    /// The field at fault.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// `FILE:LINE` if it differs from the object's.
    pub origin: Option<String>,
}

impl LinkError {
    /// An error in `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), origin: None }
    }

    fn of(self, kind: &'static str, id: &str, origin: &str) -> ApplyError {
        let origin = self.origin.unwrap_or_else(|| origin.to_owned());
        ApplyError::Plan { kind, id: id.to_owned(), field: self.field, message: self.message, origin }
    }
}

/// What linking needs beside the plan.
pub struct Context<'a> {
    /// Opens log files.
    pub logs: &'a LogWriter,
    /// Tickets and caches that all TLS settings share.
    pub tls: &'a TlsContext,
}

/// Makes the plan that `change` leads to.
///
/// # Errors
/// [`ApplyError::Plan`] names the object and the field at fault.
pub fn link(present: &Plan, change: &spec::ChangeSet, context: &Context<'_>) -> Result<Plan, ApplyError> {
    let mut next = present.clone();
    next.revision = change.revision;
    if let Some(settings) = &change.settings {
        next.settings = Arc::new(link_settings(present, settings, context)?);
    }
    put_shared(&mut next, &change.put, context)?;
    tunnels::change(&mut next, change)?;
    rules::change(&mut next, change)?;
    let mut left = Vec::new();
    for id in &change.remove.servers {
        left.extend(unlink_server(&mut next, id));
    }
    let servers = change.put.servers.iter().map(|server| link_server(&next, server, context));
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    for server in &servers {
        left.extend(unlink_server(&mut next, &server.spec.id));
        next.servers.insert(server.spec.id.as_str().into(), Arc::clone(server));
    }
    // Wildcards first: the others may use their sockets.
    let (sharing, own): (Vec<_>, Vec<_>) = change.put.listeners.iter().partition(|l| l.parent.is_some());
    for listener in own.into_iter().chain(sharing) {
        put_listener(&mut next, listener)?;
    }
    for server in &servers {
        join_listeners(&mut next, server)?;
    }
    remove_listeners(&mut next, &change.remove.listeners)?;
    remove_shared(&mut next, &change.remove);
    left.iter().try_for_each(|server| check_left(&next, server))?;
    Ok(next)
}

fn link_settings(
    present: &Plan,
    settings: &spec::Settings,
    context: &Context<'_>,
) -> Result<Settings, ApplyError> {
    let error_log = ErrorLogs::link(&settings.error_log, context.logs)
        .map_err(|message| LinkError::new("error_log", message).of("settings", "", ""))?;
    Ok(Settings {
        tunnels: present.settings.tunnels.clone(),
        tunnel_limits: settings.tunnels.as_ref().map(|node| Arc::new(node.limits.clone())),
        node_name: settings.node_name.clone(),
        hostname: settings.hostname.clone(),
        version: settings.version.clone(),
        error_log,
        worker_connections: settings.worker_connections,
        shutdown_timeout_ms: settings.shutdown_timeout_ms,
        handlers: Generation::after(&present.settings.handlers, settings.handlers, present.hooks.as_ref()),
    })
}

/// Variables, formats, certificates and upstreams: what servers refer to.
fn put_shared(next: &mut Plan, put: &spec::Objects, context: &Context<'_>) -> Result<(), ApplyError> {
    for variable in &put.variables {
        let linked = Variable::link(variable)
            .map_err(|error| error.of("variables", &variable.name, &variable.origin))?;
        next.variables.insert(variable.name.as_str().into(), Arc::new(linked));
    }
    for format in &put.formats {
        let linked = LogFormat::link(format)
            .map_err(|message| LinkError::new("line", message).of("formats", &format.name, ""))?;
        next.formats.insert(format.name.as_str().into(), Arc::new(linked));
    }
    for certificate in &put.certificates {
        let linked = CertifiedKey::link(certificate, context.tls).map_err(|message| {
            LinkError::new("key", message).of("certificates", &certificate.id, &certificate.origin)
        })?;
        next.certificates.insert(certificate.id.as_str().into(), Arc::new(linked));
    }
    for upstream in &put.upstreams {
        let previous = next.upstreams.get(upstream.name.as_str()).cloned();
        let linked = Upstream::link(upstream, previous.as_deref())
            .map_err(|error| error.of("upstreams", &upstream.name, &upstream.origin))?;
        next.upstreams.insert(upstream.name.as_str().into(), Arc::new(linked));
    }
    Ok(())
}

fn link_server(plan: &Plan, server: &spec::Server, context: &Context<'_>) -> Result<Arc<Server>, ApplyError> {
    let linked = link_server_fields(plan, server, context);
    linked.map(Arc::new).map_err(|error| error.of("servers", &server.id, &server.origin))
}

fn link_server_fields(
    plan: &Plan,
    server: &spec::Server,
    context: &Context<'_>,
) -> Result<Server, LinkError> {
    let logs = server.error_log.as_ref().map(|logs| ErrorLogs::link(logs, context.logs)).transpose();
    let access = server.access.iter().map(|rule| {
        Rule::link(rule)
            .ok_or_else(|| LinkError::new("access", format!("invalid network \"{}\"", rule.network)))
    });
    let set = server.set.iter().map(|set| Ok((set.name.as_str().into(), template("set", &set.value)?)));
    let mut set = set.collect::<Result<Vec<(Arc<str>, _)>, LinkError>>()?;
    let early = set.iter().position(|(_, value)| server.preread.frame.is_some() && value.reads_frame());
    let set_by_frame = set.split_off(early.unwrap_or(set.len()));
    let frame = server.preread.frame.as_deref().map(|spec| {
        frame::link(spec).map_err(|message| LinkError::new("preread.frame", message)).map(Arc::new)
    });
    let handlers = Chains::link(&server.handlers);
    let tls = server.tls.as_ref().map(|tls| {
        let certificates = certificates(plan, &tls.certificates)?;
        let is_handled = handlers.as_ref().is_some_and(|handlers| handlers.decide_handshakes());
        ServerTls::link(tls, &certificates, is_handled, context.tls)
            .map_err(|message| LinkError::new("tls", message))
    });
    let access_log = server.access_log.iter().map(|log| {
        if !plan.formats.contains_key(log.format.as_str()) {
            return Err(LinkError::new("access_log", format!("unknown log format \"{}\"", log.format)));
        }
        AccessLog::link(log, context.logs).map_err(|message| LinkError::new("access_log", message))
    });
    let sessions = plan.servers.get(server.id.as_str()).map(|previous| Arc::clone(&previous.sessions));
    Ok(Server {
        spec: Arc::new(server.clone()),
        error_log: logs.map_err(|message| LinkError::new("error_log", message))?,
        access: access.collect::<Result<_, _>>()?,
        set,
        set_by_frame,
        frame: frame.transpose()?,
        handlers,
        tls: tls.transpose()?,
        content: link_content(plan, server, context)?,
        access_log: access_log.collect::<Result<_, _>>()?,
        sessions: sessions.unwrap_or_else(|| Arc::new(AtomicU64::new(0))),
    })
}

fn template(field: &str, template: &spec::Template) -> Result<Template, LinkError> {
    Template::link(template).map_err(|message| LinkError::new(field, message))
}

fn certificates(plan: &Plan, ids: &[String]) -> Result<Certificates, LinkError> {
    let find = |id: &String| {
        let found = plan.certificates.get(id.as_str()).cloned();
        found.ok_or_else(|| LinkError::new("certificates", format!("no certificate \"{id}\"")))
    };
    ids.iter().map(find).collect()
}

fn link_content(plan: &Plan, server: &spec::Server, context: &Context<'_>) -> Result<Content, LinkError> {
    match &server.content {
        spec::Content::None {} => Ok(Content::None),
        spec::Content::Return { text } => Ok(Content::Return(template("return", text)?)),
        spec::Content::Proxy { proxy } => {
            let is_judged = !server.handlers.verify.is_empty();
            link_proxy(plan, proxy, is_judged, context).map(Content::Proxy)
        }
        spec::Content::Handler { handler, timeout_ms } => {
            let chain = Chain::link(Phase::Content, std::slice::from_ref(handler));
            let chain = chain.ok_or_else(|| LinkError::new("content", "no handler"))?;
            let idle = Duration::from_millis(*timeout_ms);
            Ok(Content::Handler(Box::new(ContentHandler { chain, idle })))
        }
    }
}

fn link_proxy(
    plan: &Plan,
    proxy: &spec::Proxy,
    is_judged: bool,
    context: &Context<'_>,
) -> Result<Box<Proxy>, LinkError> {
    let target = match &proxy.target {
        spec::ProxyTarget::Upstream { name } if plan.upstreams.contains_key(name.as_str()) => {
            Target::Upstream(name.as_str().into())
        }
        spec::ProxyTarget::Upstream { name } => {
            return Err(LinkError::new("proxy.target", format!("no upstream \"{name}\"")));
        }
        spec::ProxyTarget::Rules { table } if plan.rules.contains_key(table.as_str()) => {
            Target::Rules(table.as_str().into())
        }
        spec::ProxyTarget::Rules { table } => {
            return Err(LinkError::new("proxy.target", format!("no rules \"{table}\"")));
        }
        spec::ProxyTarget::Variable { value } => Target::Variable(template("proxy.target", value)?),
    };
    let optional =
        |field, value: &Option<spec::Template>| value.as_ref().map(|v| template(field, v)).transpose();
    let tls = proxy.tls.as_ref().map(|tls| {
        let ids: Vec<String> = tls.certificate.iter().cloned().collect();
        let linked = PeerTls::link(tls, &certificates(plan, &ids)?, is_judged, context.tls)
            .map_err(|message| LinkError::new("proxy.tls", message))?;
        Ok((linked, optional("proxy.tls.name", &tls.name)?))
    });
    let bind = proxy.bind.as_ref().map(|bind| Ok((template("proxy.bind", &bind.address)?, bind.transparent)));
    Ok(Box::new(Proxy {
        target,
        bind: bind.transpose()?,
        upload_rate: optional("proxy.upload_rate", &proxy.upload_rate)?,
        download_rate: optional("proxy.download_rate", &proxy.download_rate)?,
        tls: tls.transpose()?,
        spec: proxy.clone(),
    }))
}

/// Adds a listener, or replaces it keeping the names that its servers have there.
fn put_listener(next: &mut Plan, listener: &spec::Listener) -> Result<(), ApplyError> {
    let fail = |field: &str, message: String| {
        LinkError::new(field, message).of("listeners", &listener.id, &listener.origin)
    };
    let address = Address::parse(&listener.address)
        .ok_or_else(|| fail("address", format!("invalid address \"{}\"", listener.address)))?;
    let default_server = next
        .servers
        .get(listener.default_server.as_str())
        .cloned()
        .ok_or_else(|| fail("default_server", format!("no server \"{}\"", listener.default_server)))?;
    leave_parent(next, &listener.id);
    if let Some(parent) = &listener.parent {
        let Some(parent) = next.listeners.get_mut(parent.as_str()) else {
            return Err(fail("parent", format!("no listener \"{parent}\"")));
        };
        Arc::make_mut(parent).children.insert(address.clone(), listener.id.as_str().into());
    }
    let (names, children, has_tls_handlers) = match next.listeners.get(listener.id.as_str()) {
        Some(present) => (present.names.clone(), present.children.clone(), present.has_tls_handlers),
        None => Default::default(),
    };
    let spec = Arc::new(listener.clone());
    let linked = Listener { spec, address, default_server, names, has_tls_handlers, children };
    next.listeners.insert(listener.id.as_str().into(), Arc::new(linked));
    Ok(())
}

fn join_listeners(next: &mut Plan, server: &Arc<Server>) -> Result<(), ApplyError> {
    for id in &server.spec.listeners {
        let fail = |field: &str, message: String| {
            LinkError::new(field, message).of("servers", &server.spec.id, &server.spec.origin)
        };
        let Some(listener) = next.listeners.get_mut(id.as_str()) else {
            return Err(fail("listeners", format!("no listener \"{id}\"")));
        };
        let listener = Arc::make_mut(listener);
        listener.has_tls_handlers |= server.decides_handshakes();
        for name in &server.spec.names {
            let inserted = listener.names.insert(name, server);
            inserted
                .map_err(|message| fail("names", format!("invalid name \"~{}\": {message}", name.text)))?;
        }
        if listener.spec.default_server == server.spec.id {
            listener.default_server = Arc::clone(server);
        }
    }
    Ok(())
}

/// Takes a server out of the plan and out of its listeners' names.
fn unlink_server(next: &mut Plan, id: &str) -> Option<Arc<Server>> {
    let server = next.servers.remove(id)?;
    for listener in &server.spec.listeners {
        if let Some(listener) = next.listeners.get_mut(listener.as_str()) {
            let names = &mut Arc::make_mut(listener).names;
            server.spec.names.iter().for_each(|name| names.remove(name, id));
        }
    }
    Some(server)
}

fn remove_listeners(next: &mut Plan, ids: &[String]) -> Result<(), ApplyError> {
    let mut gone = Vec::new();
    for id in ids {
        leave_parent(next, id);
        gone.extend(next.listeners.remove(id.as_str()));
    }
    for listener in gone {
        let orphan = listener.children.values().find_map(|child| next.listeners.get(child));
        if let Some(orphan) = orphan.filter(|child| child.spec.parent.as_ref() == Some(&listener.spec.id)) {
            let error = LinkError::new("parent", format!("no listener \"{}\"", listener.spec.id));
            return Err(error.of("listeners", &orphan.spec.id, &orphan.spec.origin));
        }
    }
    Ok(())
}

/// A listener that had its parent's socket no longer does.
fn leave_parent(next: &mut Plan, id: &str) {
    let Some(listener) = next.listeners.get(id).cloned() else { return };
    let parent = listener.spec.parent.as_ref().and_then(|parent| next.listeners.get_mut(parent.as_str()));
    if let Some(parent) = parent {
        Arc::make_mut(parent).children.remove(&listener.address);
    }
}

fn remove_shared(next: &mut Plan, remove: &spec::Removals) {
    remove.upstreams.iter().for_each(|name| drop(next.upstreams.remove(name.as_str())));
    remove.rule_tables.iter().for_each(|name| drop(next.rules.remove(name.as_str())));
    remove.variables.iter().for_each(|name| drop(next.variables.remove(name.as_str())));
    remove.formats.iter().for_each(|name| drop(next.formats.remove(name.as_str())));
    remove.certificates.iter().for_each(|id| drop(next.certificates.remove(id.as_str())));
}

/// A listener whose default server went away, or was replaced by one that is elsewhere, must have another one.
fn check_left(next: &Plan, previous: &Server) -> Result<(), ApplyError> {
    for id in &previous.spec.listeners {
        let Some(listener) = next.listeners.get(id.as_str()) else { continue };
        let default = &listener.spec.default_server;
        let present = next.servers.get(default.as_str());
        if !present.is_some_and(|server| server.spec.listeners.contains(id)) {
            let message = format!("no server \"{default}\"");
            let error = LinkError::new("default_server", message);
            return Err(error.of("listeners", id, &listener.spec.origin));
        }
    }
    Ok(())
}
