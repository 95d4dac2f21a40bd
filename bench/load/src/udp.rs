//! UDP clients. A lost datagram is sent again after a while and not counted twice.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::MESSAGE;
use crate::{Result, Run};

pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

pub(crate) async fn socket(run: Run) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    socket.connect(run.address).await?;
    Ok(socket)
}

/// One datagram there and back; false if it got lost.
async fn exchange(socket: &UdpSocket) -> Result<bool> {
    let mut message = [b'q'; MESSAGE];
    socket.send(&message).await?;
    match timeout(PATIENCE, socket.recv(&mut message)).await {
        Ok(received) => Ok(received? == MESSAGE),
        Err(_elapsed) => Ok(false),
    }
}

/// Round trips of clients that stay; the unit is a round trip.
pub(crate) async fn requests(run: Run) -> Result<u64> {
    let client = move || async move {
        let socket = socket(run).await?;
        let begun = Instant::now();
        let mut units = 0;
        while begun.elapsed() < run.time {
            units += u64::from(exchange(&socket).await?);
        }
        Ok(units)
    };
    total((0..run.connections).map(|_| client()).collect()).await
}

/// Round trips of ever new clients; the unit is a session of the gateway.
pub(crate) async fn sessions(run: Run) -> Result<u64> {
    let client = move || async move {
        let begun = Instant::now();
        let mut units = 0;
        while begun.elapsed() < run.time {
            units += u64::from(exchange(&socket(run).await?).await?);
        }
        Ok(units)
    };
    total((0..run.connections).map(|_| client()).collect()).await
}

async fn total(mut tasks: JoinSet<Result<u64>>) -> Result<u64> {
    let mut units = 0;
    while let Some(done) = tasks.join_next().await {
        units += done??;
    }
    Ok(units)
}
