//! The servers behind the gateways: `echo` answers 100 bytes with 100 bytes, `close` does so once, `mirror` answers
//! whatever arrives, `once` a single byte, `bulk` sends without end, `sink` reads without end, `udp` answers every
//! datagram.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::Result;
use crate::client::MESSAGE;

/// Serves until killed.
pub(crate) async fn serve(kind: &str, address: SocketAddr) -> Result<()> {
    if kind == "udp" {
        return datagrams(address).await;
    }
    let kind = Kind::parse(kind)?;
    let listener = TcpListener::bind(address).await?;
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that leaves in the middle is how every run ends.
        tokio::spawn(async move { answer(kind, stream).await.err() });
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Echo,
    Close,
    Bulk,
    Mirror,
    Once,
    Sink,
}

impl Kind {
    fn parse(text: &str) -> Result<Self> {
        match text {
            "echo" => Ok(Self::Echo),
            "close" => Ok(Self::Close),
            "bulk" => Ok(Self::Bulk),
            "mirror" => Ok(Self::Mirror),
            "once" => Ok(Self::Once),
            "sink" => Ok(Self::Sink),
            other => Err(format!("unknown server {other}").into()),
        }
    }
}

async fn answer(kind: Kind, mut stream: TcpStream) -> Result<()> {
    let mut message = [0; MESSAGE];
    match kind {
        Kind::Echo => loop {
            stream.read_exact(&mut message).await?;
            stream.write_all(&message).await?;
        },
        Kind::Close => {
            stream.read_exact(&mut message).await?;
            stream.write_all(&message).await?;
            Ok(())
        }
        Kind::Bulk => {
            let block = vec![b'x'; 256 * 1024];
            loop {
                stream.write_all(&block).await?;
            }
        }
        Kind::Mirror => {
            let mut buffer = vec![0; 4096];
            loop {
                let count = stream.read(&mut buffer).await?;
                if count == 0 {
                    return Ok(());
                }
                stream.write_all(&buffer[..count]).await?;
            }
        }
        Kind::Once => {
            stream.read_exact(&mut message[..1]).await?;
            stream.write_all(&message[..1]).await?;
            Ok(())
        }
        Kind::Sink => {
            let mut buffer = vec![0; 256 * 1024];
            while stream.read(&mut buffer).await? > 0 {}
            Ok(())
        }
    }
}

async fn datagrams(address: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(address).await?;
    println!("ready");
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], from).await?;
    }
}
