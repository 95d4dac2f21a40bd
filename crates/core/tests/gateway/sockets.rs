//! Sockets: whose address it is, what is inherited, what a change of options does.

use std::io::ErrorKind;
use std::net::{TcpStream, UdpSocket};

use qanat_core::error::ApplyError;
use qanat_plan::{self as spec, Protocol};

use crate::support::{
    DEADLINE, Running, connect, fetch, free_address, free_port, listener, objects, read, removals, server,
    site, tcp_id, waiting_site,
};

fn is_in_use(result: &Result<(), ApplyError>, id: &str) -> bool {
    matches!(result, Err(ApplyError::Listen { listener, source })
        if listener == id && source.raw_os_error() == Some(libc::EADDRINUSE))
}

#[test]
fn a_second_gateway_cannot_share_an_address_by_accident() {
    let (first, second) = (Running::start(2), Running::start(2));
    for reuseport in [false, true] {
        let address = free_address();
        let mut site = site(&address, "first");
        site.listeners[0].socket.reuseport = reuseport;
        first.put(site.clone());
        assert!(is_in_use(&second.try_put(site), &tcp_id(&address)));
        assert_eq!(fetch(&address), "first");
    }
}

#[test]
fn a_second_gateway_cannot_share_a_udp_address_by_accident() {
    for workers in [1, 2] {
        let (first, second) = (Running::start(workers), Running::start(workers));
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let id = format!("udp:{address}");
        let mut listener = listener(&address);
        listener.protocol = Protocol::Udp;
        listener.id.clone_from(&id);
        listener.default_server = format!("{id}/");
        let site = objects(vec![listener], vec![server(&id, "", "datagram")]);
        first.put(site.clone());
        assert!(is_in_use(&second.try_put(site.clone()), &id));
        first.remove(removals(&[&id], &[&format!("{id}/")]));
        second.put(site);
    }
}

#[test]
fn nothing_is_bound_when_one_of_several_listeners_cannot_be() {
    let running = Running::start(2);
    let (free, taken) = (free_address(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let taken = taken.local_addr().map(|address| (address.to_string(), taken)).unwrap();
    let mut both = site(&free, "free");
    let other = site(&taken.0, "taken");
    both.listeners.extend(other.listeners);
    both.servers.extend(other.servers);
    assert!(is_in_use(&running.try_put(both), &tcp_id(&taken.0)));
    assert_eq!(TcpStream::connect(&free).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn with_reuseport_every_worker_has_a_socket() {
    let running = Running::start(2);
    let address = free_address();
    let mut site = site(&address, "mine");
    site.listeners[0].socket.reuseport = true;
    running.put(site);
    for _ in 0..50 {
        assert_eq!(fetch(&address), "mine");
    }
}

#[test]
fn options_change_without_losing_waiting_connections() {
    let running = Running::start(2);
    let address = free_address();
    running.put(waiting_site(&address, "kept"));
    let open = connect(&address);
    let mut changed = listener(&address);
    changed.socket.backlog = 16;
    changed.socket.rcvbuf = Some(65536);
    changed.socket.keepalive =
        Some(spec::Keepalive { on: true, idle_s: Some(60), interval_s: Some(5), count: Some(3) });
    running.put(objects(vec![changed], vec![]));
    assert_eq!(crate::support::ask(open, b"go"), "kept");
}

#[test]
fn reuseport_is_switched_on_and_off_while_listening() {
    let running = Running::start(2);
    let address = free_address();
    running.put(site(&address, "same"));
    for reuseport in [true, false, true] {
        let mut changed = listener(&address);
        changed.socket.reuseport = reuseport;
        running.put(objects(vec![changed], vec![]));
        for _ in 0..20 {
            assert_eq!(fetch(&address), "same");
        }
    }
}

#[test]
fn a_wildcard_takes_the_place_of_a_specific_address_and_back() {
    let running = Running::start(2);
    let port = free_port();
    let (specific, wildcard) = (format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"));
    running.put(site(&specific, "specific"));
    // The specific address remains, on the wildcard's socket.
    let mut child = listener(&specific);
    child.parent = Some(tcp_id(&wildcard));
    let mut both = site(&wildcard, "wildcard");
    both.listeners.insert(0, child);
    running.put(both);
    assert_eq!(fetch(&specific), "specific");
    assert_eq!(fetch(&format!("127.0.0.2:{port}")), "wildcard");
    let id = tcp_id(&wildcard);
    let change =
        running.change(objects(vec![listener(&specific)], vec![]), removals(&[&id], &[&format!("{id}/")]));
    running.apply(&change).unwrap();
    assert_eq!(fetch(&specific), "specific");
    let other = TcpStream::connect(format!("127.0.0.2:{port}"));
    assert_eq!(other.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// In one change: specific addresses become wildcards and the other way round, on several ports and both transports.
#[test]
fn every_listener_takes_the_place_of_the_one_on_its_own_port() {
    let running = Running::start(2);
    let specific = |port: &dyn std::fmt::Display| format!("127.0.0.1:{port}");
    let wildcard = |port: &dyn std::fmt::Display| format!("0.0.0.0:{port}");
    let ports: Vec<u16> = {
        let held: Vec<_> = (0..20).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        held.iter().map(port).filter(|port| std::net::TcpListener::bind(wildcard(port)).is_ok()).collect()
    };
    let sites = |turned: bool| {
        let mut all = spec::Objects::default();
        for (place, port) in ports.iter().enumerate() {
            let address = if (place % 2 == 0) == turned { wildcard(port) } else { specific(&port) };
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let mut site = site(&address, &address);
                if protocol == Protocol::Udp {
                    let id = format!("udp:{address}");
                    site.listeners[0].default_server = format!("{id}/");
                    site.servers = vec![server(&id, "", &address)];
                    site.listeners[0].protocol = protocol;
                    site.listeners[0].id = id;
                }
                all.listeners.append(&mut site.listeners);
                all.servers.append(&mut site.servers);
            }
        }
        all
    };
    let ids = |objects: &spec::Objects| spec::Removals {
        listeners: objects.listeners.iter().map(|listener| listener.id.clone()).collect(),
        servers: objects.servers.iter().map(|server| server.id.clone()).collect(),
        ..spec::Removals::default()
    };
    running.put(sites(false));
    for turned in [true, false] {
        running.apply(&running.change(sites(turned), ids(&sites(!turned)))).unwrap();
        for listener in &sites(turned).listeners {
            let port = listener.address.rsplit(':').next().unwrap();
            if listener.protocol == Protocol::Tcp {
                assert_eq!(fetch(&specific(&port)), listener.address);
                continue;
            }
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client.send_to(b"?", specific(&port)).unwrap();
            let mut answer = [0; 64];
            let length = client.recv(&mut answer).unwrap();
            assert_eq!(std::str::from_utf8(&answer[..length]), Ok(&*listener.address));
        }
    }
}

#[test]
fn ipv6_listens_apart_from_ipv4() {
    let running = Running::start(1);
    let port = free_port();
    let (v4, v6) = (format!("0.0.0.0:{port}"), format!("[::]:{port}"));
    running.put(site(&v4, "four"));
    running.put(site(&v6, "six"));
    assert_eq!(fetch(&format!("127.0.0.1:{port}")), "four");
    assert_eq!(fetch(&format!("[::1]:{port}")), "six");
}

#[test]
fn a_unix_socket_is_open_to_all_replaces_a_stale_one_and_goes_with_its_listener() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    let directory = std::env::temp_dir().join(format!("qanat-sockets-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("q.sock");
    let address = format!("unix:{}", path.display());
    drop(UnixListener::bind(&path).unwrap());
    let running = Running::start(2);
    running.put(site(&address, "unix"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    for _ in 0..10 {
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut UnixStream::connect(&path).unwrap(), &mut answer).unwrap();
        assert_eq!(answer, "unix");
    }
    let second = Running::start(1);
    assert!(is_in_use(&second.try_put(site(&address, "other")), &tcp_id(&address)));
    let id = tcp_id(&address);
    running.remove(removals(&[&id], &[&format!("{id}/")]));
    assert!(!path.exists());
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_client_that_still_sends_gets_the_whole_text() {
    let running = Running::start(1);
    let address = free_address();
    let text = "x".repeat(3_000_000);
    running.put(site(&address, &text));
    let mut stream = connect(&address);
    std::io::Write::write_all(&mut stream, &[b'?'; 10_000]).unwrap();
    assert_eq!(read(stream).len(), text.len());
}
