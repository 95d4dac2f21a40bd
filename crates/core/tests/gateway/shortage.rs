//! Running out of descriptors or of `worker_connections`: accepting pauses and comes back, open sessions go on.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::{
    Running, ask, connect, fetch, free_address, removals, settings, site, wait_until, waiting_site,
};

#[test]
fn worker_connections_bound_the_sessions_of_a_worker() {
    let running = Running::start(1);
    let address = free_address();
    let mut change = running.change(waiting_site(&address, "done"), removals(&[], &[]));
    change.settings = Some(settings(4));
    running.apply(&change).unwrap();
    let mut open: Vec<_> = (0..4).map(|_| connect(&address)).collect();
    running.wait_for("sessions", |open| open == 4);
    let fifth = connect(&address);
    running.wait_for("paused", |paused| paused == 1);
    assert_eq!(running.status("accepted"), 4);
    // An open session goes on, and its end lets the next one in.
    assert_eq!(ask(open.remove(0), b"go"), "done");
    assert_eq!(ask(fifth, b"go"), "done");
    assert_eq!(ask(open.remove(0), b"go"), "done");
}

/// A gateway in a process of its own, which may open few files.
struct Confined {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Confined {
    fn start(files: u32) -> (Self, String, String) {
        let this = std::env::current_exe().unwrap();
        let script = format!(
            "ulimit -n {files}; exec \"$0\" --ignored --exact --nocapture shortage::confined_gateway"
        );
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .arg(this)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut confined = Self { child, input, output };
        let waiting = confined.answer();
        let quick = confined.answer();
        (confined, waiting, quick)
    }

    /// The next line that is for us; the test harness prints others.
    fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the gateway is gone");
            if let Some((_, answer)) = line.trim_end().split_once("> ") {
                return answer.to_owned();
            }
        }
    }

    fn status(&mut self, field: &str) -> u64 {
        writeln!(self.input, "{field}").unwrap();
        self.answer().parse().unwrap()
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn descriptors_run_out_and_come_back() {
    let (confined, waiting, quick) = Confined::start(40);
    let confined = std::cell::RefCell::new(confined);
    let mut open: Vec<_> = (0..60).map(|_| connect(&waiting)).collect();
    wait_until("a pause", || confined.borrow_mut().status("paused") > 0);
    // A session that is open goes on.
    assert_eq!(ask(open.remove(0), b"go"), "done");
    drop(open);
    assert_eq!(fetch(&quick), "quick");
    wait_until("the end of all sessions", || confined.borrow_mut().status("sessions") == 0);
}

#[test]
#[ignore = "the process that descriptors_run_out_and_come_back starts"]
fn confined_gateway() {
    let running = Running::start(1);
    let (waiting, quick) = (free_address(), free_address());
    running.put(waiting_site(&waiting, "done"));
    running.put(site(&quick, "quick"));
    println!("\n> {waiting}\n> {quick}");
    for line in std::io::stdin().lines() {
        println!("> {}", running.status(&line.unwrap()));
    }
}
