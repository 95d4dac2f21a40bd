//! Open sessions: counted while they last, and ended exactly once, with a record, whatever ends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use qanat_plan::{Level, Protocol};

use crate::error::{SessionError, Source, Status};
use crate::gateway::shared::Worker;
use crate::log::{access, error};
use crate::phase;
use crate::session::Session;
use crate::shortage;

/// A session that is open. Dropping it ends the session and writes its record.
pub struct Open {
    /// The session.
    pub session: Session,
    worker: Arc<Worker>,
    descriptors: u64,
    /// The count of the server that it has settled on.
    server: Option<Arc<AtomicU64>>,
}

impl Open {
    /// Opens a session that holds `descriptors` of its worker's connections.
    pub fn begin(worker: Arc<Worker>, session: Session, descriptors: u64) -> Self {
        worker.take(descriptors);
        worker.shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        worker.shared.counters.open.fetch_add(1, Ordering::Relaxed);
        let open = Self { session, worker, descriptors, server: None };
        open.note_connected();
        open
    }

    /// Counts the session for the server that it is now matched to.
    pub fn settle(&mut self) {
        let count = Arc::clone(&self.session.server.sessions);
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(previous) = self.server.replace(count) {
            previous.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes how the session ended, and says so in the error log. If it was for want of descriptors, memory or ports,
    /// the worker pauses.
    pub fn end(mut self, outcome: Result<(), SessionError>) {
        self.conclude(outcome);
    }

    /// As [`Self::end`], with the record still to come.
    pub fn conclude(&mut self, outcome: Result<(), SessionError>) {
        self.session.status = match outcome {
            Ok(()) => Status::Ok as u16,
            Err(why) => {
                if let (Source::Shortage, Some(cause)) = (why.source, &why.cause) {
                    shortage::pause(&self.worker, &why.message, cause);
                }
                match why.level {
                    // Nothing failed: somebody has had enough.
                    Some(level) if why.status == Status::Ok && why.cause.is_none() => {
                        error::session_end(&self.session, level, &why.message);
                    }
                    _ => error::session_error(&self.session, &why),
                }
                why.code()
            }
        };
        self.session.end_attempt();
    }

    fn note_connected(&self) {
        let session = &self.session;
        if session.error_log().admits(Level::Info) {
            let datagrams = if session.protocol() == Protocol::Udp { "udp " } else { "" };
            let line = format!(
                "{datagrams}client {} connected to {}",
                session.client,
                error::listening_address(session)
            );
            error::session_event(session, Level::Info, &line);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let session = &mut self.session;
        if session.status == 0 {
            // The gateway stopped: nobody failed.
            session.status = Status::Ok as u16;
        }
        session.end_attempt();
        access::record(session);
        let counters = &self.worker.shared.counters;
        if session.status != Status::Ok as u16 {
            counters.failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(server) = &self.server {
            server.fetch_sub(1, Ordering::Relaxed);
        }
        if !session.is_logged && session.server.handlers.is_some() {
            phase::log_unattended(session);
        }
        self.worker.give_back(self.descriptors);
        counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}
