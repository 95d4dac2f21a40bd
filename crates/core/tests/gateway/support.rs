//! Plans in few words, and a client.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use qanat_core::error::ApplyError;
use qanat_core::gateway::Gateway;
use qanat_plan as spec;

use crate::specs;
pub(crate) use crate::specs::proxy as proxy_to;

/// Long enough for any machine; nothing waits for it unless a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A gateway, and the revision that it has.
pub(crate) struct Running {
    pub(crate) gateway: Gateway,
    revision: std::cell::Cell<u64>,
}

impl Running {
    pub(crate) fn start(workers: u32) -> Self {
        let options = spec::Options { schema: spec::SCHEMA, workers };
        Self::with(Gateway::new(&options).unwrap())
    }

    pub(crate) fn with(gateway: Gateway) -> Self {
        Self { gateway, revision: std::cell::Cell::new(0) }
    }

    /// A change set that would come next.
    pub(crate) fn change(&self, put: spec::Objects, remove: spec::Removals) -> spec::ChangeSet {
        let revision = self.revision.get() + 1;
        let settings = (revision == 1).then(|| settings(512));
        spec::ChangeSet { schema: spec::SCHEMA, revision, settings, put, remove }
    }

    pub(crate) fn try_put(&self, put: spec::Objects) -> Result<(), ApplyError> {
        self.apply(&self.change(put, spec::Removals::default()))
    }

    pub(crate) fn put(&self, put: spec::Objects) {
        self.try_put(put).unwrap();
    }

    pub(crate) fn remove(&self, remove: spec::Removals) {
        self.apply(&self.change(spec::Objects::default(), remove)).unwrap();
    }

    pub(crate) fn apply(&self, change: &spec::ChangeSet) -> Result<(), ApplyError> {
        let ticket = self.gateway.prepare(change)?;
        self.revision.set(change.revision);
        self.gateway.commit(ticket)
    }

    /// A number from the status snapshot.
    pub(crate) fn status(&self, field: &str) -> u64 {
        status(&self.gateway, field)
    }

    /// Returns when a number of the status is what it should be.
    pub(crate) fn wait_for(&self, field: &str, wanted: impl Fn(u64) -> bool) {
        wait_until(field, || wanted(self.status(field)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gateway.stop();
    }
}

/// A number from the status snapshot.
pub(crate) fn status(gateway: &Gateway, field: &str) -> u64 {
    #[derive(serde::Deserialize)]
    struct Status {
        sessions: u64,
        accepted: u64,
        failed: u64,
        paused: u64,
    }
    let status: Status = rmp_serde::from_slice(&gateway.snapshot("status").unwrap()).unwrap();
    match field {
        "sessions" => status.sessions,
        "accepted" => status.accepted,
        "failed" => status.failed,
        "paused" => status.paused,
        other => panic!("status has no {other}"),
    }
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "waited too long for: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn settings(worker_connections: u32) -> spec::Settings {
    spec::Settings { worker_connections, ..specs::settings() }
}

/// A port of 127.0.0.1 that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `127.0.0.1:PORT` with a free port.
pub(crate) fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

pub(crate) fn tcp_id(address: &str) -> String {
    format!("tcp:{address}")
}

/// A listener whose default server is called after it: `tcp:ADDRESS/`.
pub(crate) fn listener(address: &str) -> spec::Listener {
    specs::listener(spec::Protocol::Tcp, address)
}

pub(crate) fn text(value: &str) -> spec::Template {
    vec![spec::Part::Text(value.into())]
}

/// The server `LISTENER/NAME`, which returns `answer`.
pub(crate) fn server(listener: &str, name: &str, answer: &str) -> spec::Server {
    let names = if name.is_empty() { Vec::new() } else { vec![exact(name)] };
    spec::Server {
        id: format!("{listener}/{name}"),
        name: name.into(),
        names,
        ..specs::server(listener, spec::Content::Return { text: text(answer) })
    }
}

/// A server whose sessions stay open until the client sends something.
pub(crate) fn waiting_server(listener: &str, answer: &str) -> spec::Server {
    let mut server = server(listener, "", answer);
    server.preread.tls = true;
    server
}

pub(crate) fn exact(name: &str) -> spec::ServerName {
    spec::ServerName { kind: spec::NameKind::Exact, text: name.into() }
}

/// A listener with its default server, which returns `answer`.
pub(crate) fn site(address: &str, answer: &str) -> spec::Objects {
    let listener = listener(address);
    let server = server(&listener.id, "", answer);
    objects(vec![listener], vec![server])
}

/// A listener whose sessions stay open until the client sends something.
pub(crate) fn waiting_site(address: &str, answer: &str) -> spec::Objects {
    let listener = listener(address);
    let server = waiting_server(&listener.id, answer);
    objects(vec![listener], vec![server])
}

pub(crate) fn objects(listeners: Vec<spec::Listener>, servers: Vec<spec::Server>) -> spec::Objects {
    spec::Objects { listeners, servers, ..spec::Objects::default() }
}

pub(crate) fn removals(listeners: &[&str], servers: &[&str]) -> spec::Removals {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    spec::Removals { listeners: owned(listeners), servers: owned(servers), ..spec::Removals::default() }
}

pub(crate) fn connect(address: &str) -> TcpStream {
    let address: SocketAddr = address.parse().unwrap();
    let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// What a server says by itself.
pub(crate) fn fetch(address: &str) -> String {
    read(connect(address))
}

/// Sends `bytes`, and returns the answer.
pub(crate) fn ask(mut stream: TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).unwrap();
    read(stream)
}

pub(crate) fn read(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // The gateway waits for it before it closes.
    stream.shutdown(Shutdown::Both).ok();
    answer
}

pub(crate) fn upstream(address: &str) -> spec::Upstream {
    specs::upstream(address, vec![specs::peer(address)])
}
