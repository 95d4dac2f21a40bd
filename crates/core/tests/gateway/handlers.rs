//! Calls of handlers, answered by something that is no interpreter.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use qanat_core::gateway::Gateway;
use qanat_core::phase::call::Verdict;
use qanat_core::phase::{Call, Hooks, Phase};
use qanat_core::session::vars;
use qanat_plan as spec;

use crate::support::{Running, ask, connect, free_address, read, settings, site, wait_until};

type Answer = dyn Fn(&Call) -> Option<Verdict> + Send + Sync;

/// Answers calls at once, as a function says; a call without an answer stays open.
struct Answers {
    answer: Box<Answer>,
    open: Mutex<Vec<Arc<Call>>>,
    room: bool,
    retired: Mutex<Vec<u64>>,
}

impl Answers {
    fn new(answer: impl Fn(&Call) -> Option<Verdict> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            answer: Box::new(answer),
            open: Mutex::default(),
            room: true,
            retired: Mutex::default(),
        })
    }
}

impl Hooks for Answers {
    fn submit(&self, call: Arc<Call>) -> bool {
        if self.room {
            self.open.lock().push(call);
        }
        self.room
    }

    fn signal(&self, _: u64) {}

    fn flush(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        for call in open {
            match (self.answer)(&call) {
                Some(verdict) => {
                    if let Some(task) = call.answer(verdict) {
                        task.wake();
                    }
                }
                None => self.open.lock().push(call),
            }
        }
    }

    fn retire(&self, generation: u64) {
        self.retired.lock().push(generation);
    }
}

fn running(hooks: Option<Arc<dyn Hooks>>) -> Running {
    let options = spec::Options { schema: spec::SCHEMA, workers: 1 };
    Running::with(Gateway::with_hooks(&options, hooks).unwrap())
}

fn handled(address: &str, handlers: spec::Handlers) -> spec::Objects {
    let mut site = site(address, "content");
    site.servers[0].handlers = spec::Handlers { timeout_ms: 100, ..handlers };
    site
}

fn access() -> spec::Handlers {
    spec::Handlers { access: vec!["a:one".into(), "a:two".into()], ..spec::Handlers::default() }
}

#[test]
fn a_call_names_its_handlers_and_may_go_on() {
    let answers = Answers::new(|call| {
        assert_eq!((call.phase(), &*call.key()), (Phase::Access, "access\na:one\na:two"));
        let mut exchange = call.exchange();
        let session = exchange.session.as_mut().unwrap();
        assert_eq!(vars::get(session, "remote_addr").as_deref(), Some("127.0.0.1"));
        Some(Verdict::Continue)
    });
    let running = running(Some(answers));
    let address = free_address();
    running.put(handled(&address, access()));
    assert_eq!(ask(connect(&address), b""), "content");
}

#[test]
fn a_rejection_has_a_status_and_last_words() {
    let running = running(Some(Answers::new(|_| Some(Verdict::Reject(403, b"not you".to_vec())))));
    let address = free_address();
    running.put(handled(&address, access()));
    assert_eq!(ask(connect(&address), b"unread"), "not you");
    running.wait_for("failed", |failed| failed == 1);
}

#[test]
fn bytes_that_are_given_back_come_first() {
    let answers = Answers::new(|call| {
        let mut exchange = call.exchange();
        if exchange.input.unread().len() < 4 {
            return None;
        }
        assert_eq!(exchange.input.take(3), b"abc");
        assert!(exchange.input.give_back(b"c"));
        Some(Verdict::Reject(200, exchange.input.unread().to_vec()))
    });
    let running = running(Some(answers));
    let address = free_address();
    let preread = spec::Handlers { preread: vec!["a:look".into()], ..spec::Handlers::default() };
    running.put(handled(&address, preread));
    let mut client = connect(&address);
    client.write_all(b"abcd").unwrap();
    assert_eq!(read(client), "cd");
}

#[test]
fn nobody_to_run_them_is_an_error() {
    let running = running(None);
    let address = free_address();
    running.put(handled(&address, access()));
    assert_eq!(ask(connect(&address), b""), "");
    running.wait_for("failed", |failed| failed == 1);
}

#[test]
fn too_many_calls_are_refused_at_once() {
    let mut full = Answers::new(|_| None);
    Arc::get_mut(&mut full).unwrap().room = false;
    let running = running(Some(full));
    let address = free_address();
    running.put(handled(&address, access()));
    assert_eq!(ask(connect(&address), b""), "");
    running.wait_for("failed", |failed| failed == 1);
}

#[test]
fn a_call_that_nobody_answers_ends_in_time() {
    let answers = Answers::new(|_| None);
    let hooks: Arc<dyn Hooks> = Arc::<Answers>::clone(&answers);
    let running = running(Some(hooks));
    let address = free_address();
    running.put(handled(&address, access()));
    let begun = Instant::now();
    assert_eq!(ask(connect(&address), b""), "");
    assert!(begun.elapsed().as_millis() >= 100);
    running.wait_for("failed", |failed| failed == 1);
    let call = answers.open.lock().pop().unwrap();
    assert!(call.exchange().session.is_none());
    assert!(call.answer(Verdict::Continue).is_none());
}

#[test]
fn a_stop_takes_sessions_back_and_logs_them() {
    let logged = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&logged);
    let answers = Answers::new(move |call| {
        if call.phase() == Phase::Log {
            log.lock().push(call.exchange().session.as_ref().unwrap().status);
        }
        None
    });
    let running = running(Some(answers));
    let address = free_address();
    let mut handlers = access();
    handlers.log = vec!["a:note".into()];
    handlers.timeout_ms = 60_000;
    let mut site = site(&address, "content");
    site.servers[0].handlers = handlers;
    running.put(site);
    let client = connect(&address);
    running.wait_for("sessions", |sessions| sessions == 1);
    running.gateway.stop();
    assert_eq!(read(client), "");
    assert_eq!(*logged.lock(), [200]);
}

/// Goes over to another load of the handlers.
fn load(running: &Running, generation: u64) {
    let mut change = running.change(spec::Objects::default(), spec::Removals::default());
    change.settings = Some(spec::Settings { handlers: generation, ..settings(512) });
    running.apply(&change).unwrap();
}

#[test]
fn handlers_are_retired_with_the_last_session_that_uses_them() {
    let answers = Answers::new(|_| None);
    let running = running(Some(Arc::<Answers>::clone(&answers) as Arc<dyn Hooks>));
    let address = free_address();
    let mut site = handled(&address, access());
    site.servers[0].handlers.timeout_ms = 60_000;
    running.put(site);
    load(&running, 1);
    let client = connect(&address);
    wait_until("the call", || answers.open.lock().len() == 1);
    load(&running, 2);
    // Whatever else changes, the handlers of before are those of after.
    load(&running, 2);
    running.put(handled(&address, access()));
    assert!(answers.retired.lock().is_empty());
    let call = answers.open.lock().pop().unwrap();
    call.answer(Verdict::Continue).unwrap().wake();
    assert_eq!(read(client), "content");
    drop(call);
    wait_until("the end of the first load", || *answers.retired.lock() == [1]);
    load(&running, 3);
    wait_until("the end of the second", || *answers.retired.lock() == [1, 2]);
}

#[test]
fn handlers_that_were_never_used_are_not_retired() {
    let answers = Answers::new(|_| None);
    let running = running(Some(Arc::<Answers>::clone(&answers) as Arc<dyn Hooks>));
    let address = free_address();
    running.put(handled(&address, access()));
    let mut change = running.change(spec::Objects::default(), spec::Removals::default());
    change.settings = Some(spec::Settings { handlers: 1, ..settings(512) });
    let ticket = running.gateway.prepare(&change).unwrap();
    running.gateway.abort(ticket).unwrap();
    load(&running, 1);
    load(&running, 0);
    assert_eq!(*answers.retired.lock(), [1]);
}
