//! What may be said again and again, but not with every datagram.

use std::time::Duration;

use crate::clock::Instant;

/// How often one thing may be said.
const INTERVAL: Duration = Duration::from_secs(1);

/// When one thing was last said.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    last: Option<Instant>,
}

impl Complaint {
    /// Whether it may be said now. If so, it counts as said.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.last.is_none_or(|last| now.duration_since(last) >= INTERVAL);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}
