//! Objects of a plan as a plain configuration gives them. Tests change what they are about.
#![allow(dead_code, reason = "each test file uses its own part")]

use qanat_plan as spec;

/// Where all objects come from.
const ORIGIN: &str = "test.conf:1";

/// The first change set, with [`settings`].
pub(crate) fn change_set(put: spec::Objects) -> spec::ChangeSet {
    let remove = spec::Removals::default();
    spec::ChangeSet { schema: spec::SCHEMA, revision: 1, settings: Some(settings()), put, remove }
}

pub(crate) fn settings() -> spec::Settings {
    spec::Settings {
        node_name: String::new(),
        hostname: "test".into(),
        version: "1.26.2".into(),
        error_log: Vec::new(),
        worker_connections: 512,
        shutdown_timeout_ms: 0,
        handlers: 0,
        tunnels: None,
    }
}

/// The listener `tcp:ADDRESS` or `udp:ADDRESS`, whose default server is [`server`] of it.
pub(crate) fn listener(protocol: spec::Protocol, address: &str) -> spec::Listener {
    let transport = if protocol == spec::Protocol::Udp { "udp" } else { "tcp" };
    let id = format!("{transport}:{address}");
    spec::Listener {
        default_server: format!("{id}/"),
        id,
        protocol,
        address: address.into(),
        parent: None,
        tls: false,
        proxy_protocol: false,
        mesh: false,
        role: spec::Role::Sessions,
        refuses_without: None,
        socket: socket_options(),
        origin: ORIGIN.into(),
    }
}

pub(crate) fn socket_options() -> spec::SocketOptions {
    spec::SocketOptions {
        backlog: 511,
        rcvbuf: None,
        sndbuf: None,
        keepalive: None,
        ipv6only: true,
        fastopen: None,
        reuseport: false,
        deferred: false,
    }
}

/// The server `LISTENER/`, without a name.
pub(crate) fn server(listener: &str, content: spec::Content) -> spec::Server {
    spec::Server {
        id: format!("{listener}/"),
        listeners: vec![listener.into()],
        name: String::new(),
        names: Vec::new(),
        error_log: None,
        access: Vec::new(),
        set: Vec::new(),
        preread: spec::Preread { tls: false, buffer_size: 16_384, timeout_ms: 30_000, frame: None },
        handlers: spec::Handlers::default(),
        proxy_protocol_timeout_ms: 30_000,
        tcp_nodelay: true,
        tls: None,
        content,
        access_log: Vec::new(),
        origin: ORIGIN.into(),
    }
}

/// `proxy_pass` to an upstream.
pub(crate) fn proxy(upstream: &str) -> spec::Proxy {
    spec::Proxy {
        target: spec::ProxyTarget::Upstream { name: upstream.into() },
        connect_timeout_ms: 10_000,
        timeout_ms: 60_000,
        buffer_size: 16_384,
        next_upstream: true,
        next_upstream_tries: 0,
        next_upstream_timeout_ms: 0,
        protocol: spec::ProxyProtocol::Off,
        half_close: false,
        bind: None,
        socket_keepalive: false,
        upload_rate: None,
        download_rate: None,
        requests: 0,
        responses: None,
        tls: None,
    }
}

/// The content that [`proxy`] is.
pub(crate) fn proxied(proxy: spec::Proxy) -> spec::Content {
    spec::Content::Proxy { proxy: Box::new(proxy) }
}

pub(crate) fn upstream(name: &str, peers: Vec<spec::Peer>) -> spec::Upstream {
    spec::Upstream {
        name: name.into(),
        balance: spec::Balance::RoundRobin {},
        handler: None,
        peers,
        origin: ORIGIN.into(),
    }
}

pub(crate) fn peer(address: &str) -> spec::Peer {
    spec::Peer {
        server: address.into(),
        address: address.into(),
        weight: 1,
        max_conns: 0,
        max_fails: 1,
        fail_timeout_ms: 10_000,
        backup: false,
        down: false,
    }
}
