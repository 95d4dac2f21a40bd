//! How much a carrier has to do, counted as cheaply as can be.

use super::Mux;

/// Frames of a carrier, of all kinds but pings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frames {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// How often a stream had bytes to send, and no credit left for them.
    pub(super) stalls: u64,
}

/// What can be told of a carrier's frames at a moment.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Load {
    pub(in super::super) frames_sent: u64,
    pub(in super::super) frames_received: u64,
    /// How often a stream had bytes to send, and no credit left for them.
    pub(in super::super) window_stalls: u64,
    /// How often a stream was held back by a limit.
    pub(in super::super) throttled: u64,
    /// Streams that are held back now.
    pub(in super::super) throttled_now: usize,
    /// Bytes that could go if the connection took them.
    pub(in super::super) queued: usize,
}

impl Mux {
    /// What there is to tell of its frames.
    pub(in super::super) fn load(&self) -> Load {
        Load {
            frames_sent: self.frames.sent,
            frames_received: self.frames.received,
            window_stalls: self.frames.stalls,
            throttled: self.limits.held,
            throttled_now: self.limits.lines.len(),
            queued: self.backlog(),
        }
    }
}
