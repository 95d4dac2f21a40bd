//! A bound listening address: its sockets, and the options that `listen` gives them.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use qanat_plan::{self as spec, Protocol};
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use crate::address::Address;
use crate::error::describe;
use crate::sys::listen;
use crate::tunnel::Gate;
use crate::udp;

/// How long a `deferred` listener waits for a client's first bytes, in seconds.
const DEFER_ACCEPT_S: i32 = 1;

/// A listening address. Dropping it closes its sockets.
pub struct Bound {
    /// What was asked for.
    pub spec: Arc<spec::Listener>,
    address: Address,
    /// One for all workers, or one for each.
    sockets: Vec<Socket>,
    /// What could not be had and does not stop the listener.
    pub warnings: Vec<String>,
}

/// Transport and port.
pub type Endpoint = (Protocol, u16);

/// A worker's share of a listener, non-blocking.
#[derive(Debug)]
pub enum Share {
    /// Accepts TCP connections.
    Tcp(std::net::TcpListener),
    /// Accepts connections to a unix socket.
    Unix(std::os::unix::net::UnixListener),
    /// Receives datagrams.
    Udp(std::net::UdpSocket),
}

impl Bound {
    /// Binds the sockets of a listener to its `address`, parsed; those of streams listen, too, unless they must wait for a `rival` to close, or may have to
    /// refuse.
    ///
    /// `rivals` are listeners of this process that are about to close: they do not stand in the way.
    ///
    /// # Errors
    /// The system's; above all `EADDRINUSE` and `EACCES`.
    pub fn bind(
        spec: Arc<spec::Listener>,
        address: Address,
        workers: usize,
        rivals: &[&Self],
    ) -> io::Result<Self> {
        let mut bound = Self { spec, address, sockets: Vec::new(), warnings: Vec::new() };
        let count = if bound.has_socket_per_worker() { workers } else { 1 };
        let first = match bound.open(false) {
            Err(error) if is_in_use(&error) && !rivals.is_empty() => bound.open_beside(rivals)?,
            opened => opened?,
        };
        // The first socket was bound alone, so that another process on this address was noticed.
        first.set_reuse_port(count > 1)?;
        bound.sockets.push(first);
        for _ in 1..count {
            let socket = bound.open(true)?;
            bound.sockets.push(socket);
        }
        bound.tune()?;
        if rivals.is_empty() && bound.spec.refuses_without.is_none() {
            bound.listen()?;
        }
        Ok(bound)
    }

    /// Whether a change of options from the present ones needs new sockets.
    pub fn must_rebind(&self, next: &spec::Listener) -> bool {
        let (now, next) = (&self.spec.socket, &next.socket);
        let streams = self.spec.protocol == Protocol::Tcp;
        now.ipv6only != next.ipv6only || (streams && now.reuseport != next.reuseport)
    }

    /// Its transport and port, unless it is a unix socket: listeners with the same ones may be in each other's way.
    pub fn endpoint(&self) -> Option<Endpoint> {
        Some((self.spec.protocol, self.address.port()?))
    }

    /// Takes over changed options that the open sockets can have.
    ///
    /// # Errors
    /// The system's, for the first option that it refuses.
    pub fn retune(&mut self, next: &Arc<spec::Listener>) -> io::Result<()> {
        let same = self.spec.socket == next.socket && self.spec.mesh == next.mesh;
        self.spec = Arc::clone(next);
        if same {
            return Ok(());
        }
        self.tune()?;
        self.listen()
    }

    /// Begins to accept connections; datagram sockets need nothing.
    ///
    /// # Errors
    /// The system's.
    pub fn listen(&self) -> io::Result<()> {
        if self.spec.protocol == Protocol::Udp {
            return Ok(());
        }
        self.sockets.iter().try_for_each(|socket| socket.listen(self.backlog()))
    }

    /// What refuses connections while tunnels are down, if the listener is to; its sockets have to listen.
    ///
    /// # Errors
    /// The system's, if there are no more descriptors.
    pub fn gate(&self) -> io::Result<Option<Gate>> {
        let Some(tunnels) = self.spec.refuses_without.clone() else { return Ok(None) };
        let sockets = self.sockets.iter().map(Socket::try_clone).collect::<io::Result<_>>()?;
        Ok(Some(Gate::new(sockets, self.backlog(), tunnels)))
    }

    /// A worker's share.
    ///
    /// # Errors
    /// The system's, if there are no more descriptors.
    pub fn share(&self, worker: usize) -> io::Result<Share> {
        let socket = self.sockets.get(worker % self.sockets.len().max(1)).ok_or(io::ErrorKind::NotFound)?;
        let socket = socket.try_clone()?;
        Ok(match (self.spec.protocol, &self.address) {
            (Protocol::Udp, _) => Share::Udp(socket.into()),
            (Protocol::Tcp, Address::Inet(_)) => Share::Tcp(socket.into()),
            (Protocol::Tcp, _) => Share::Unix(socket.into()),
        })
    }

    /// Refuses further connections at once, whoever else still holds the sockets. Those in the queue are reset.
    pub fn refuse(&self) {
        if matches!(self.address, Address::Unix(_)) || self.spec.protocol == Protocol::Udp {
            // The path of a unix socket goes when this is dropped, and nobody finds it any more; shut down, it would
            // seem readable to an event loop for ever. Sessions of a UDP listener still send through its socket.
            return;
        }
        // Fails only where there is nothing to refuse: before `listen`.
        self.sockets.iter().for_each(|socket| drop(socket.shutdown(std::net::Shutdown::Both)));
    }

    fn backlog(&self) -> i32 {
        i32::try_from(self.spec.socket.backlog).unwrap_or(i32::MAX)
    }

    fn has_socket_per_worker(&self) -> bool {
        match self.spec.protocol {
            Protocol::Udp => true,
            Protocol::Tcp => self.spec.socket.reuseport && matches!(self.address, Address::Inet(_)),
        }
    }

    /// A bound socket. Without `shared`, binding fails if anyone else has the address.
    fn open(&self, shared: bool) -> io::Result<Socket> {
        let address = match &self.address {
            Address::Inet(address) => SockAddr::from(*address),
            Address::Unix(path) => return open_unix(path),
            Address::Tunnel(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let kind = if self.spec.protocol == Protocol::Udp { Type::DGRAM } else { Type::STREAM };
        let socket = Socket::new(address.domain(), kind.nonblocking(), None)?;
        if kind == Type::STREAM {
            socket.set_reuse_address(true)?;
        }
        // Sessions of a closed UDP listener may still hold sockets of this port.
        let lingering = kind == Type::DGRAM && self.address.port().is_some_and(udp::is_lingering);
        if shared || lingering {
            socket.set_reuse_port(true)?;
        }
        if address.domain() == Domain::IPV6 {
            socket.set_only_v6(self.spec.socket.ipv6only)?;
        }
        socket.bind(&address)?;
        Ok(socket)
    }

    /// Binds to an address that listeners of this process still hold.
    fn open_beside(&self, rivals: &[&Self]) -> io::Result<Socket> {
        let sockets = || rivals.iter().flat_map(|rival| &rival.sockets);
        sockets().try_for_each(|socket| socket.set_reuse_port(true))?;
        let opened = self.open(true);
        for rival in rivals.iter().filter(|rival| rival.sockets.len() < 2) {
            rival.sockets.iter().try_for_each(|socket| socket.set_reuse_port(false))?;
        }
        opened
    }

    fn tune(&mut self) -> io::Result<()> {
        let mut warnings = Vec::new();
        for socket in &self.sockets {
            self.tune_buffers(socket)?;
            match (self.spec.protocol, &self.address) {
                (Protocol::Tcp, Address::Inet(_)) => self.tune_tcp(socket)?,
                (Protocol::Udp, Address::Inet(_)) => warnings.extend(self.tune_udp(socket)?),
                (_, Address::Unix(_) | Address::Tunnel(_)) => {}
            }
        }
        warnings.dedup();
        self.warnings = warnings;
        Ok(())
    }

    fn tune_buffers(&self, socket: &Socket) -> io::Result<()> {
        let options = &self.spec.socket;
        if let Some(size) = options.rcvbuf {
            socket.set_recv_buffer_size(size.try_into().unwrap_or(usize::MAX))?;
        }
        if let Some(size) = options.sndbuf {
            socket.set_send_buffer_size(size.try_into().unwrap_or(usize::MAX))?;
        }
        Ok(())
    }

    /// Accepted sockets inherit all of it, which saves two system calls for each.
    fn tune_tcp(&self, socket: &Socket) -> io::Result<()> {
        let options = &self.spec.socket;
        socket.set_tcp_nodelay(true)?;
        match &options.keepalive {
            Some(keepalive) => tune_keepalive(socket, keepalive)?,
            None => socket.set_keepalive(false)?,
        }
        if let Some(queue) = options.fastopen {
            listen::set_fastopen(socket, queue)?;
        }
        listen::set_deferred(socket, if options.deferred { DEFER_ACCEPT_S } else { 0 })
    }

    fn tune_udp(&self, socket: &Socket) -> io::Result<Option<String>> {
        let v6 = self.address.ip().is_some_and(|ip| ip.is_ipv6());
        if self.address.is_wildcard() {
            listen::set_packet_info(socket, v6)?;
        }
        if !self.spec.mesh {
            return Ok(None);
        }
        listen::set_original_destination(socket, v6)?;
        let transparent =
            if v6 { socket.set_ip_transparent_v6(true) } else { socket.set_ip_transparent_v4(true) };
        Ok(transparent.err().map(|error| {
            let id = &self.spec.id;
            format!(
                "setsockopt(IP_TRANSPARENT) for {id} failed ({}), redirected datagrams are not seen",
                describe(&error)
            )
        }))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let (Address::Unix(path), false) = (&self.address, self.sockets.is_empty()) {
            // Already gone is as good.
            drop(std::fs::remove_file(&**path));
        }
    }
}

fn tune_keepalive(socket: &Socket, keepalive: &spec::Keepalive) -> io::Result<()> {
    socket.set_keepalive(keepalive.on)?;
    if !keepalive.on {
        return Ok(());
    }
    let mut times = TcpKeepalive::new();
    if let Some(idle) = keepalive.idle_s {
        times = times.with_time(Duration::from_secs(idle.into()));
    }
    if let Some(interval) = keepalive.interval_s {
        times = times.with_interval(Duration::from_secs(interval.into()));
    }
    if let Some(count) = keepalive.count {
        times = times.with_retries(count);
    }
    socket.set_tcp_keepalive(&times)
}

/// Binds a unix socket that everyone may connect to, as nginx does. A file that nobody listens at is replaced.
fn open_unix(path: &str) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.bind(&address) {
        Err(error) if is_in_use(&error) && is_stale(path, &address) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(socket)
}

fn is_stale(path: &str, address: &SockAddr) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = || {
        let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        probe.connect(address)
    };
    is_socket && refused().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    use qanat_plan::{Keepalive, Listener, Protocol, Role, SocketOptions};
    use socket2::SockRef;

    use super::{Bound, Share};
    use crate::address::Address;

    /// The accept path counts on it and sets neither option on accepted sockets.
    #[test]
    fn accepted_sockets_inherit_nodelay_and_keepalive() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let keepalive = Keepalive { on: true, idle_s: Some(77), interval_s: Some(5), count: Some(3) };
        let socket = SocketOptions {
            backlog: 5,
            rcvbuf: None,
            sndbuf: None,
            keepalive: Some(keepalive),
            ipv6only: true,
            fastopen: Some(5),
            reuseport: false,
            deferred: false,
        };
        let spec = Listener {
            id: format!("tcp:{address}"),
            protocol: Protocol::Tcp,
            address: address.clone(),
            parent: None,
            default_server: String::new(),
            tls: false,
            proxy_protocol: false,
            mesh: false,
            role: Role::Sessions,
            refuses_without: None,
            socket,
            origin: String::new(),
        };
        let parsed = Address::parse(&address).unwrap();
        let bound = Bound::bind(Arc::new(spec), parsed, 1, &[]).unwrap();
        let Share::Tcp(listener) = bound.share(0).unwrap() else { panic!("not TCP") };
        let _client = TcpStream::connect(&address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap().as_secs(), 77);
    }
}
