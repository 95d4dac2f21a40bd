//! A long way in user space: a TCP proxy that passes bytes on after a while, with so many under way at once. It stands
//! between two gateways, or between a client and its server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::Result;

/// Bytes that are taken at once.
const PIECE: u32 = 64 * 1024;
/// Pieces under way, however small they are.
const MOST_PIECES: usize = 8192;

/// Serves until killed. Each direction takes `one_way`, and has at most `capacity` bytes under way.
pub(crate) async fn serve(
    listen: SocketAddr,
    target: SocketAddr,
    one_way: Duration,
    capacity: usize,
) -> Result<()> {
    let listener = TcpListener::bind(listen).await?;
    println!("ready");
    loop {
        let (near, _) = listener.accept().await?;
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(target).await else { return };
            if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
                return;
            }
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            tokio::join!(
                pass(near_read, far_write, one_way, capacity),
                pass(far_read, near_write, one_way, capacity)
            );
        });
    }
}

/// One direction, to its end; what breaks it ends it.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, one_way: Duration, capacity: usize) {
    let room = Arc::new(Semaphore::new(capacity));
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(MOST_PIECES);
    let freed = Arc::clone(&room);
    let arriving = async move {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            let is_end = bytes.is_empty();
            if is_end || to.write_all(&bytes).await.is_err() {
                break;
            }
            freed.add_permits(bytes.len());
        }
        // Whoever waits for room learns that there will be none.
        freed.close();
        let _gone = to.shutdown().await;
    };
    let leaving = async move {
        let mut piece = vec![0; PIECE as usize];
        while let Ok(permit) = room.acquire_many(PIECE).await {
            let count = from.read(&mut piece).await.unwrap_or(0);
            permit.forget();
            room.add_permits(PIECE as usize - count);
            let due = Instant::now() + one_way;
            if sender.send((due, piece[..count].to_vec())).await.is_err() || count == 0 {
                break;
            }
        }
    };
    tokio::join!(arriving, leaving);
}
