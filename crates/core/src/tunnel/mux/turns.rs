//! Whose turn it is to send: streams one after the other, and flows, which together have a quarter of what is sent
//! while streams wait. Datagrams that come too fast are lost, so they must not take what streams could use.

use std::collections::VecDeque;

/// Bytes of streams that earn one byte of a flow its turn.
const STREAMS_PER_FLOW: i64 = 3;
/// What flows may have saved up.
const MOST_SAVED: i64 = 16 * 1024;

/// Streams and flows that have something to send.
#[derive(Default)]
pub(super) struct Turns {
    streams: VecDeque<u32>,
    flows: VecDeque<u32>,
    /// Bytes that flows may send before streams; below 0 they wait.
    saved: i64,
}

impl Turns {
    /// Adds one at the end.
    pub(super) fn push(&mut self, stream: u32, is_flow: bool) {
        if is_flow {
            self.flows.push_back(stream);
        } else {
            self.streams.push_back(stream);
        }
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<u32> {
        if self.streams.is_empty() || self.saved > 0 {
            self.flows.pop_front().or_else(|| self.streams.pop_front())
        } else {
            self.streams.pop_front()
        }
    }

    /// One has sent so many bytes.
    pub(super) fn sent(&mut self, bytes: usize, is_flow: bool) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if !is_flow {
            self.saved = (self.saved + bytes / STREAMS_PER_FLOW).min(MOST_SAVED);
        } else if !self.streams.is_empty() {
            self.saved -= bytes;
        }
    }

    /// All that have something to send.
    pub(super) fn iter(&self) -> impl Iterator<Item = &u32> {
        self.streams.iter().chain(&self.flows)
    }

    /// Nobody has anything to send any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
