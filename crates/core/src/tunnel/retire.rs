//! Make before break: the carriers of a tunnel whose other end has moved serve until a new one is up, and then end as
//! soon as their streams have.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use qanat_wire::tunnel_frame::Code;
use tokio::time::{sleep, timeout};

use super::carrier::Carrier;
use super::prove::Role;
use super::registry::{Dialling, Tunnel};

/// How long streams of old carriers may take to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether they have.
const INTERVAL: Duration = Duration::from_millis(50);

/// Lets the tasks that kept a tunnel up leave, with their carriers.
pub(super) async fn retire(tunnel: Arc<Tunnel>, old: Dialling) {
    old.is_retired.store(true, Relaxed);
    let indices: Vec<_> = old.tasks.iter().map(|(index, _)| *index).collect();
    let carriers = dialled(&tunnel, |index| indices.contains(&index));
    for (index, task) in &old.tasks {
        if carriers.iter().all(|carrier| carrier.index != *index) {
            task.abort();
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
    for carrier in &carriers {
        carrier.with(|mux, wakes| mux.leave(PATIENCE, wakes));
    }
    let idle = async {
        while carriers.iter().any(|carrier| carrier.with(|mux, _| mux.count()) > 0) {
            sleep(INTERVAL).await;
        }
    };
    drop(timeout(PATIENCE, idle).await);
    for carrier in &carriers {
        carrier.end(Code::Superseded);
    }
}

/// Carriers of this side with these indices.
fn dialled(tunnel: &Tunnel, is_meant: impl Fn(u8) -> bool) -> Vec<Arc<Carrier>> {
    let is_meant = |carrier: &&Arc<Carrier>| carrier.role == Role::Dialler && is_meant(carrier.index);
    tunnel.with(|state| state.carriers.iter().filter(is_meant).cloned().collect())
}
