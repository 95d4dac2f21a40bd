//! The system is out of descriptors, memory or ports: nothing new is begun for a while, what is open goes on.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qanat_plan::Level;
use socket2::{Domain, Socket, Type};

use crate::clock::{self, Instant};
use crate::error::describe;
use crate::gateway::shared::Worker;

/// How long to wait before anything new is tried: nginx's `accept_mutex_delay`.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether a worker pauses. All of its listeners do, since they would all lack the same.
#[derive(Debug)]
pub struct Pause {
    began: Instant,
    /// Milliseconds from `began` to its end; 0 while there is none.
    until: AtomicU64,
}

impl Default for Pause {
    fn default() -> Self {
        Self { began: clock::now(), until: AtomicU64::new(0) }
    }
}

impl Pause {
    /// Whether nothing new should be begun now. Costs no look at the clock while nothing is short.
    pub fn is_on(&self) -> bool {
        match self.until.load(Ordering::Relaxed) {
            0 => false,
            until if self.elapsed() < until => true,
            _ => {
                self.until.store(0, Ordering::Relaxed);
                false
            }
        }
    }

    /// Returns when it is over.
    pub async fn over(&self) {
        while self.is_on() {
            let until = Duration::from_millis(self.until.load(Ordering::Relaxed));
            tokio::time::sleep_until(self.began + until).await;
        }
    }

    fn begin(&self) {
        let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
        self.until.store(self.elapsed().saturating_add(pause), Ordering::Relaxed);
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Lets `worker` pause because `what` failed for want of something. A pause is counted and told once.
pub fn pause(worker: &Worker, what: &str, error: &io::Error) {
    if worker.pause.is_on() {
        return;
    }
    worker.pause.begin();
    worker.shared.counters.paused.fetch_add(1, Ordering::Relaxed);
    let line = format!("{what} ({}), accepting pauses", describe(error));
    worker.shared.plan.load().settings.error_log.write(Level::Crit, &line);
}

/// Whether the system lacks descriptors or memory.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC)
    )
}

/// Whether connecting to `to` from a port of the system's choice fails with `EADDRNOTAVAIL` because no port is left. An
/// address that cannot be reached from any local one gives the same error; but it gives it for datagrams, too, which
/// do not share the ports of connections.
pub fn lacks_ports(to: SocketAddr) -> bool {
    let reaches = || {
        let probe = Socket::new(Domain::for_address(to), Type::DGRAM, None)?;
        probe.connect(&to.into())
    };
    reaches().err().and_then(|error: io::Error| error.raw_os_error()) != Some(libc::EADDRNOTAVAIL)
}
