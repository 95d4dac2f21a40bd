//! Running out of descriptors or ports while connecting to a peer: accepting pauses and comes back, open sessions go
//! on, and the peer is not blamed. Each test runs in a process of its own, which it can confine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use qanat_plan as spec;
use socket2::{Domain, Socket, Type};

use crate::support::{
    DEADLINE, Running, free_address, listener, objects, proxy_to, removals, server, settings, tcp_id,
    upstream, wait_until,
};
use crate::udp_listeners::{Session, address_of, bind, relaying};

const PAUSE: Duration = Duration::from_millis(500);

/// A gateway that relays to a peer which sends everything back.
struct Relaying {
    running: Running,
    front: SocketAddr,
    log: PathBuf,
}

impl Relaying {
    fn start() -> Self {
        let (running, front) = (Running::start(1), free_address());
        let log = std::env::temp_dir().join(format!("qanat-shortage-{}.log", std::process::id()));
        // A second peer, so that the first one would be blamed.
        let mut upstream = upstream(&echo());
        upstream.peers.push(spec::Peer { down: true, ..upstream.peers[0].clone() });
        let id = tcp_id(&front);
        let mut server = server(&id, "", "");
        server.content = spec::Content::Proxy { proxy: Box::new(proxy_to(&upstream.name)) };
        let mut put = objects(vec![listener(&front)], vec![server]);
        put.upstreams = vec![upstream];
        let mut change = running.change(put, removals(&[], &[]));
        let path = vec![spec::Part::Text(log.to_str().unwrap().into())];
        let target = spec::Target { kind: spec::TargetKind::File, path };
        let error_log = vec![spec::ErrorLog { target, level: spec::Level::Crit }];
        change.settings = Some(spec::Settings { error_log, ..settings(512) });
        running.apply(&change).unwrap();
        Self { running, front: front.parse().unwrap(), log }
    }

    /// A client that has its descriptor and its port (0 is any), but is not connected.
    fn client(port: u16) -> Socket {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client
    }

    fn connect(&self, client: Socket) -> TcpStream {
        client.connect(&self.front.into()).unwrap();
        client.into()
    }

    /// One pause has begun, and one line says why.
    fn assert_paused(&self, why: &str) {
        self.running.wait_for("paused", |paused| paused == 1);
        let read = || std::fs::read_to_string(&self.log).unwrap();
        wait_until("a line", || read().ends_with('\n'));
        let log = read();
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("[crit]") && log.contains(why) && log.contains("accepting pauses"), "{log}");
        std::fs::remove_file(&self.log).unwrap();
    }
}

/// A peer that sends everything back. It waits without holding the descriptor of its next connection, as a blocking
/// `accept` would.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    };
    std::thread::spawn(move || runtime.block_on(serve));
    address
}

fn assert_relayed(mut stream: &TcpStream, byte: u8) {
    stream.write_all(&[byte]).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [byte]);
}

/// Its session could not reach the peer.
fn assert_turned_away(mut stream: TcpStream) {
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
}

/// Runs an ignored test of this file in a process of its own, by `command`.
fn run_alone(command: &[&str], test: &str) -> Output {
    let test = format!("shortage_of_peers::{test}");
    let this = std::env::current_exe().unwrap();
    let mut all = Command::new(command[0]);
    all.args(&command[1..]).arg(this).args(["--ignored", "--exact", &test]).output().unwrap()
}

fn assert_passed(output: &Output) {
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// Leaves this process `room` for descriptors; none is no limit that matters.
fn limit_descriptors(room: Option<usize>) {
    let open = |number: &usize| std::path::Path::new(&format!("/proc/self/fd/{number}")).exists();
    let limit = room.map_or(1024, |room| (0..).filter(|number| !open(number)).nth(room).unwrap());
    let pid = std::process::id().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:")]).status();
    assert!(status.unwrap().success());
}

#[test]
fn descriptors_run_out_while_connecting() {
    assert_passed(&run_alone(&["env"], "gateway_with_one_descriptor"));
}

#[test]
#[ignore = "descriptors_run_out_while_connecting runs it in a process of its own"]
fn gateway_with_one_descriptor() {
    let relaying = Relaying::start();
    let first = relaying.connect(Relaying::client(0));
    assert_relayed(&first, b'a');
    let (second, third) = (Relaying::client(0), Relaying::client(0));
    let began = Instant::now();
    // Enough to accept, and not to connect.
    limit_descriptors(Some(1));
    assert_turned_away(relaying.connect(second));
    // Looking for another connection fails for the same reason.
    relaying.assert_paused("failed (24: Too many open files)");
    assert_relayed(&first, b'b');
    limit_descriptors(None);
    assert_relayed(&relaying.connect(third), b'c');
    assert!(began.elapsed() >= PAUSE);
}

#[test]
fn descriptors_run_out_while_beginning_a_session_of_datagrams() {
    assert_passed(&run_alone(&["env"], "gateway_of_datagrams_without_descriptors"));
}

#[test]
#[ignore = "descriptors_run_out_while_beginning_a_session_of_datagrams runs it in a process of its own"]
fn gateway_of_datagrams_without_descriptors() {
    let (running, peer) = (Running::start(1), bind());
    let front = address_of(&bind());
    let mut put = relaying(&front, &peer);
    // A second peer, so that the first one would be blamed.
    let down = spec::Peer { down: true, ..put.upstreams[0].peers[0].clone() };
    put.upstreams[0].peers.push(down);
    running.put(put);
    let first = Session::begin(&front, &peer);
    let second = bind();
    second.connect(&front).unwrap();
    limit_descriptors(Some(0));
    second.send(b"lost").unwrap();
    running.wait_for("failed", |failed| failed == 1);
    assert_eq!(running.status("paused"), 1);
    first.exchange(&peer, 1);
    limit_descriptors(None);
    Session::begin(&front, &peer).exchange(&peer, 2);
}

/// Sets which ports the system may choose in this network.
fn limit_ports(range: &str) {
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).unwrap();
}

#[test]
fn ports_run_out_while_connecting() {
    let script = "ip link set lo up && exec \"$@\"";
    let output = run_alone(&["unshare", "--net", "sh", "-c", script, "sh"], "gateway_with_one_port");
    if String::from_utf8_lossy(&output.stderr).contains("Operation not permitted") {
        eprintln!("skipped: only root has networks of its own");
        return;
    }
    assert_passed(&output);
}

#[test]
#[ignore = "ports_run_out_while_connecting runs it in a network of its own"]
fn gateway_with_one_port() {
    let relaying = Relaying::start();
    limit_ports("40000 40000");
    let first = relaying.connect(Relaying::client(50_001));
    assert_relayed(&first, b'a');
    let began = Instant::now();
    assert_turned_away(relaying.connect(Relaying::client(50_002)));
    relaying.assert_paused("connect() failed (99: Cannot assign requested address)");
    assert_relayed(&first, b'b');
    limit_ports("40000 40009");
    assert_relayed(&relaying.connect(Relaying::client(50_003)), b'c');
    assert!(began.elapsed() >= PAUSE);
}
