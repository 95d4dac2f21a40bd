//! The one place that asks for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use tokio::time::Instant;

/// A monotonic point in time.
pub fn now() -> Instant {
    Instant::now()
}

/// Time since 1970-01-01 UTC.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
