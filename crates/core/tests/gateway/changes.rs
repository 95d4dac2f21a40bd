//! Changes while traffic runs.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};

use qanat_core::error::ApplyError;
use qanat_plan as spec;

use crate::support::{
    Running, ask, connect, exact, fetch, free_address, listener, objects, read, removals, server, site,
    tcp_id, text, waiting_site,
};

#[test]
fn a_listener_answers_once_it_is_committed() {
    let running = Running::start(2);
    let address = free_address();
    let ticket =
        running.gateway.prepare(&running.change(site(&address, "hello"), removals(&[], &[]))).unwrap();
    // Bound and listening, but nobody answers yet.
    let early = connect(&address);
    running.gateway.commit(ticket).unwrap();
    assert_eq!(read(early), "hello");
    assert_eq!(fetch(&address), "hello");
    running.wait_for("sessions", |open| open == 0);
    assert_eq!((running.status("accepted"), running.status("failed")), (2, 0));
}

#[test]
fn connections_opened_after_a_commit_see_the_new_plan() {
    let running = Running::start(2);
    let address = free_address();
    let id = tcp_id(&address);
    running.put(site(&address, "0"));
    for round in 1..=200 {
        let answer = round.to_string();
        running.put(objects(vec![], vec![server(&id, "", &answer)]));
        assert_eq!(fetch(&address), answer);
    }
}

#[test]
fn a_session_keeps_the_plan_that_it_began_with() {
    let running = Running::start(2);
    let address = free_address();
    let id = tcp_id(&address);
    running.put(waiting_site(&address, "old"));
    let before = connect(&address);
    running.wait_for("sessions", |open| open == 1);
    running.put(objects(vec![], vec![server(&id, "", "new")]));
    assert_eq!(fetch(&address), "new");
    running.remove(removals(&[&id], &[&format!("{id}/")]));
    assert_eq!(ask(before, b"go"), "old");
}

#[test]
fn named_servers_come_and_go_on_a_shared_listener() {
    let running = Running::start(2);
    let address = free_address();
    let id = tcp_id(&address);
    let mut default = server(&id, "", "default");
    default.set = vec![spec::SetVariable { name: "mesh_server_name".into(), value: text("18082") }];
    running.put(objects(vec![listener(&address)], vec![default]));
    assert_eq!(fetch(&address), "default");
    for _ in 0..20 {
        running.put(objects(vec![], vec![server(&id, "18082", "dynamic")]));
        assert_eq!(fetch(&address), "dynamic");
        running.remove(removals(&[], &[&format!("{id}/18082")]));
        assert_eq!(fetch(&address), "default");
    }
}

#[test]
fn a_server_that_is_replaced_loses_its_old_names() {
    let running = Running::start(1);
    let address = free_address();
    let id = tcp_id(&address);
    let mut default = server(&id, "", "default");
    default.set = vec![spec::SetVariable { name: "mesh_server_name".into(), value: text("a") }];
    running.put(objects(vec![listener(&address)], vec![default, server(&id, "a", "named")]));
    assert_eq!(fetch(&address), "named");
    let mut renamed = server(&id, "a", "renamed");
    renamed.names = vec![exact("b")];
    running.put(objects(vec![], vec![renamed]));
    assert_eq!(fetch(&address), "default");
}

#[test]
fn a_removed_listener_refuses_at_once_and_frees_its_address() {
    let running = Running::start(2);
    for _ in 0..20 {
        let address = free_address();
        let id = tcp_id(&address);
        running.put(site(&address, "here"));
        assert_eq!(fetch(&address), "here");
        running.remove(removals(&[&id], &[&format!("{id}/")]));
        let refused = TcpStream::connect(&address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        drop(TcpListener::bind(&address).unwrap());
    }
}

#[test]
fn an_aborted_change_leaves_nothing_behind() {
    let running = Running::start(2);
    let (kept, dropped) = (free_address(), free_address());
    running.put(site(&kept, "kept"));
    let ticket =
        running.gateway.prepare(&running.change(site(&dropped, "dropped"), removals(&[], &[]))).unwrap();
    running.gateway.abort(ticket).unwrap();
    assert_eq!(TcpStream::connect(&dropped).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(fetch(&kept), "kept");
    assert!(matches!(running.gateway.commit(ticket), Err(ApplyError::Ticket(_))));
    running.put(site(&dropped, "second try"));
    assert_eq!(fetch(&dropped), "second try");
}

#[test]
fn one_change_is_made_at_a_time() {
    let running = Running::start(1);
    let first =
        running.gateway.prepare(&running.change(site(&free_address(), "a"), removals(&[], &[]))).unwrap();
    let second = running.gateway.prepare(&running.change(site(&free_address(), "b"), removals(&[], &[])));
    assert!(matches!(second, Err(ApplyError::Plan { kind: "change_set", .. })));
    assert!(matches!(running.gateway.abort(first + 1), Err(ApplyError::Ticket(_))));
    running.gateway.commit(first).unwrap();
}

#[test]
fn a_plan_that_cannot_be_linked_changes_nothing() {
    let running = Running::start(1);
    let address = free_address();
    let id = tcp_id(&address);
    running.put(site(&address, "good"));
    let mut broken = server(&id, "x", "bad");
    broken.names = vec![spec::ServerName { kind: spec::NameKind::Regex, text: "(".into() }];
    let refused = running.try_put(objects(vec![], vec![broken]));
    assert!(matches!(refused, Err(ApplyError::Plan { kind: "servers", field, .. }) if field == "names"));
    let orphan = running.change(spec::Objects::default(), removals(&[], &[&format!("{id}/")]));
    let refused = running.apply(&orphan);
    assert!(matches!(refused, Err(ApplyError::Plan { kind: "listeners", .. })));
    assert_eq!(fetch(&address), "good");
}

#[test]
fn draining_refuses_new_sessions_and_keeps_open_ones() {
    let running = Running::start(2);
    let address = free_address();
    running.put(waiting_site(&address, "done"));
    let open = connect(&address);
    running.wait_for("sessions", |open| open == 1);
    running.gateway.drain();
    assert_eq!(TcpStream::connect(&address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask(open, b"go"), "done");
    running.wait_for("sessions", |open| open == 0);
}

#[test]
fn stopping_ends_every_session_with_its_record() {
    let running = Running::start(2);
    let address = free_address();
    let log = std::env::temp_dir().join(format!("qanat-stop-{}.log", std::process::id()));
    let mut site = waiting_site(&address, "never");
    site.formats = vec![spec::LogFormat {
        name: "brief".into(),
        escape: spec::Escape::Default,
        line: vec![spec::Part::Variable("status".into())],
    }];
    site.servers[0].access_log = vec![spec::AccessLog {
        target: spec::Target { kind: spec::TargetKind::File, path: text(log.to_str().unwrap()) },
        format: "brief".into(),
        condition: None,
    }];
    running.put(site);
    let open: Vec<_> = (0..10).map(|_| connect(&address)).collect();
    running.wait_for("sessions", |open| open == 10);
    running.gateway.stop();
    assert_eq!(running.gateway.sessions(), 0);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "200\n".repeat(10));
    std::fs::remove_file(&log).unwrap();
    for stream in open {
        assert_eq!(read(stream), "");
    }
    let late = running.gateway.prepare(&running.change(site_elsewhere(), removals(&[], &[])));
    assert!(late.is_err());
}

fn site_elsewhere() -> spec::Objects {
    site(&free_address(), "late")
}
