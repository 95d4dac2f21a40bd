//! Load for the benchmarks. `qanat-load server KIND ADDR` answers; `qanat-load KIND ADDR SECONDS CONNECTIONS [tls]`
//! drives a gateway and prints how many units of work were done. What is measured is the gateway's CPU time, by
//! `bench/run.py`; this program only has to be the same for every gateway.
#![allow(clippy::print_stdout, reason = "its output is its result")]

mod client;
mod server;
mod tls;
mod udp;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

/// What can go wrong ends the run.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// One run of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// The gateway.
    pub(crate) address: SocketAddr,
    /// How long.
    pub(crate) time: Duration,
    /// How many connections at once.
    pub(crate) connections: usize,
    /// Over TLS.
    pub(crate) tls: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["server", kind, address] => server::serve(kind, address.parse()?).await,
        [kind, address, seconds, connections, rest @ ..] => {
            let run = Run {
                address: address.parse()?,
                time: Duration::from_secs_f64(seconds.parse()?),
                connections: connections.parse()?,
                tls: rest.contains(&"tls"),
            };
            let units = match *kind {
                "requests" => client::requests(run).await?,
                "lines" => client::lines(run).await?,
                "connections" => client::connections(run).await?,
                "logins" => client::logins(run).await?,
                "bulk" => client::bulk(run).await?,
                "idle" => client::idle(run).await?,
                "udp-requests" => udp::requests(run).await?,
                "udp-sessions" => udp::sessions(run).await?,
                other => return Err(format!("unknown load {other}").into()),
            };
            println!("{units}");
            Ok(())
        }
        _ => {
            Err("usage: qanat-load server KIND ADDR | qanat-load KIND ADDR SECONDS CONNECTIONS [tls]".into())
        }
    }
}
