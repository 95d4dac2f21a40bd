//! Make before break: carriers that are not to be dialled again serve until others are up, and then end as soon as their
//! streams have.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use qanat_wire::tunnel_frame::Code;
use tokio::time::{sleep, timeout};

use super::carrier::Carrier;
use super::prove::Role;
use super::reconcile::Keeper;
use super::registry::Tunnel;

/// How late the streams may be that the other side still opens on a carrier that leaves.
const LATENESS: Duration = Duration::from_secs(1);
/// How often it is looked whether the streams have ended, at first and at most.
const INTERVAL: Duration = Duration::from_millis(50);
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// Lets tasks that kept carriers up leave, with their carriers. Streams may take as long as `patience`, without one as
/// long as they do anyway.
pub(super) async fn retire(tunnel: Arc<Tunnel>, old: Vec<Keeper>, patience: Option<Duration>) {
    let indices: Vec<_> = old.iter().map(|keeper| keeper.index).collect();
    for keeper in &old {
        keeper.is_retired.store(true, Relaxed);
    }
    let carriers = dialled(&tunnel, |index| indices.contains(&index));
    for keeper in &old {
        if carriers.iter().all(|carrier| carrier.index != keeper.index) {
            keeper.task.abort();
        }
    }
    loop {
        let changed = tunnel.changed.notified();
        let is_replaced = !dialled(&tunnel, |index| !indices.contains(&index)).is_empty();
        if is_replaced || dialled(&tunnel, |index| indices.contains(&index)).is_empty() {
            break;
        }
        changed.await;
    }
    let patience = patience.unwrap_or(Duration::MAX);
    for carrier in &carriers {
        carrier.with(|mux, wakes| mux.retire(patience, wakes));
    }
    // Until the other side has learnt of it, it opens streams here.
    sleep(LATENESS).await;
    drop(timeout(patience, idle(&carriers)).await);
    for carrier in &carriers {
        carrier.end(Code::Superseded);
    }
}

/// Returns when no stream is left.
async fn idle(carriers: &[Arc<Carrier>]) {
    let mut interval = INTERVAL;
    while carriers.iter().any(|carrier| carrier.with(|mux, _| mux.count()) > 0) {
        sleep(interval).await;
        interval = (interval * 2).min(LONGEST_INTERVAL);
    }
}

/// Carriers of this side with these indices.
fn dialled(tunnel: &Tunnel, is_meant: impl Fn(u8) -> bool) -> Vec<Arc<Carrier>> {
    let is_meant = |carrier: &&Arc<Carrier>| carrier.role == Role::Dialler && is_meant(carrier.index);
    tunnel.with(|state| state.carriers.iter().filter(is_meant).cloned().collect())
}
