//! Load for the benchmarks. `qanat-load server KIND ADDR` answers; `qanat-load KIND ADDR SECONDS CONNECTIONS [tls]`
//! drives a gateway and prints how many units of work were done. What is measured is the gateway's CPU time, by
//! `bench/run.py`; this program only has to be the same for every gateway. [`tunnels`] has loads that print more, and
//! take a number after the connections. `qanat-load delay ADDR TARGET MILLISECONDS BYTES` is a long way between two.
#![allow(clippy::print_stdout, reason = "its output is its result")]

mod client;
mod delay;
mod latency;
mod server;
mod tls;
mod tunnels;
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
        ["delay", address, target, milliseconds, capacity] => {
            let one_way = Duration::from_millis(milliseconds.parse()?);
            delay::serve(address.parse()?, target.parse()?, one_way, capacity.parse()?).await
        }
        [kind, address, seconds, connections, rest @ ..] => {
            let run = Run {
                address: address.parse()?,
                time: Duration::from_secs_f64(seconds.parse()?),
                connections: connections.parse()?,
                tls: rest.contains(&"tls"),
            };
            let answer = match *kind {
                "requests" => client::requests(run).await?.to_string(),
                "lines" => client::lines(run).await?.to_string(),
                "connections" => client::connections(run).await?.to_string(),
                "logins" => client::logins(run).await?.to_string(),
                "bulk" => client::bulk(run).await?.to_string(),
                "idle" => client::idle(run).await?.to_string(),
                "udp-requests" => udp::requests(run).await?.to_string(),
                "udp-sessions" => udp::sessions(run).await?.to_string(),
                other => {
                    let extra = rest.first().map_or(Ok(0.0), |text| text.parse())?;
                    tunnels::measure(other, run, extra).await?
                }
            };
            println!("{answer}");
            Ok(())
        }
        _ => Err(
            "usage: qanat-load server KIND ADDR | qanat-load KIND ADDR SECONDS CONNECTIONS [tls|NUMBER] | \
                  qanat-load delay ADDR TARGET MILLISECONDS BYTES"
                .into(),
        ),
    }
}
