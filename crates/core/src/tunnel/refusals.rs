//! Lines about refusals: the first of each reason at once, then one a second, which says how many it stands for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use qanat_plan::Level;
use qanat_wire::tunnel_frame::Code;
use tokio::time::sleep;

use crate::gateway::shared::Worker;

/// How long refusals of one reason are gathered.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was refused of late, by reason.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Code, Gathered>>);

/// Refusals that were not told yet: how many, and the last one.
#[derive(Default)]
struct Gathered {
    count: u64,
    last: String,
}

impl Refusals {
    /// Tells of a refusal, now or with others.
    pub(super) fn tell(self: &Arc<Self>, worker: &Arc<Worker>, code: Code, line: String) {
        let mut gathered = self.0.lock();
        if let Some(known) = gathered.get_mut(&code) {
            known.count += 1;
            known.last = line;
            return;
        }
        gathered.insert(code, Gathered::default());
        drop(gathered);
        write(worker, &line);
        tokio::spawn(Arc::clone(self).tell_of_others(Arc::clone(worker), code));
    }

    /// Tells of those that were gathered, until there are none.
    async fn tell_of_others(self: Arc<Self>, worker: Arc<Worker>, code: Code) {
        loop {
            sleep(INTERVAL).await;
            let Some(Gathered { count, last }) = self.take(code) else { return };
            let line = if count == 1 { last } else { format!("{last}, the last of {count} within a second") };
            write(&worker, &line);
        }
    }

    /// What was gathered since the last time; none ends it.
    fn take(&self, code: Code) -> Option<Gathered> {
        let mut gathered = self.0.lock();
        match gathered.get_mut(&code) {
            Some(known) if known.count > 0 => Some(std::mem::take(known)),
            _ => {
                gathered.remove(&code);
                None
            }
        }
    }
}

fn write(worker: &Worker, line: &str) {
    worker.shared.plan.load().settings.error_log.write(Level::Error, line);
}

#[cfg(test)]
mod tests {
    use qanat_wire::tunnel_frame::Code;

    use super::{Gathered, Refusals};

    #[test]
    fn a_reason_is_quiet_until_nothing_was_gathered() {
        let refusals = Refusals::default();
        let gathered = Gathered { count: 2, last: "twice".to_owned() };
        refusals.0.lock().insert(Code::Limit, gathered);
        assert_eq!(refusals.take(Code::Limit).map(|gathered| gathered.count), Some(2));
        assert!(refusals.0.lock().contains_key(&Code::Limit));
        assert!(refusals.take(Code::Limit).is_none());
        assert!(refusals.0.lock().is_empty());
    }
}
