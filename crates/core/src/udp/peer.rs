//! The way to the peer of a session: a connected socket, or a flow of a tunnel.

use std::cell::RefCell;
use std::io;
use std::net::UdpSocket;
use std::task::{Context, Poll, Waker, ready};

use qanat_wire::tunnel_frame::{Code, MAX_DATAGRAM};

use crate::session::Session;
use crate::sys::datagram::SLOT;
use crate::tunnel;
use crate::udp::association::Rules;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SLOT].into_boxed_slice());
}

/// Where a session's datagrams go.
pub(super) enum Peer {
    /// A socket that is connected to the peer.
    Socket(UdpSocket),
    /// A service at the other end of a tunnel.
    Flow(Flow),
}

/// A flow, and whom it wakes.
pub(super) struct Flow {
    way: tunnel::Flow,
    waker: Waker,
}

impl Peer {
    /// A flow that wakes nobody yet.
    pub(super) fn flow(way: tunnel::Flow) -> Self {
        Self::Flow(Flow { way, waker: Waker::noop().clone() })
    }

    /// Whether nothing was sent yet, because no tunnel is up.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Flow(Flow { way: tunnel::Flow::Pending(flow), .. }) if flow.is_waiting())
    }

    /// Notes the way of a flow that had to wait for one.
    pub(super) fn note_way(&self, session: &mut Session) {
        if let Self::Flow(Flow { way: tunnel::Flow::Pending(flow), .. }) = self {
            flow.note_way(session);
        }
    }

    /// Sends a datagram. A flow takes it in any case: what becomes of it is learnt by receiving.
    pub(super) fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.send(datagram),
            Self::Flow(flow) => {
                flow.send(datagram);
                Ok(datagram.len())
            }
        }
    }

    /// Passes a datagram to `take`; returns its size, none if the peer has ended in order. Pending if there is none:
    /// a `ReadySet` tells when there is.
    pub(super) fn receive(&self, take: impl FnOnce(&[u8])) -> Poll<io::Result<Option<usize>>> {
        let socket = match self {
            Self::Socket(socket) => socket,
            Self::Flow(flow) => {
                return flow.receive().map_ok(|received| {
                    received.map(|datagram| {
                        take(&datagram);
                        datagram.len()
                    })
                });
            }
        };
        BUFFER.with_borrow_mut(|buffer| match socket.recv(buffer) {
            Ok(size) => {
                take(&buffer[..size]);
                Poll::Ready(Ok(Some(size)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        })
    }

    /// `proxy_buffer_size` is the size of a datagram as far as sockets go; a flow carries any.
    pub(super) fn adapt(&self, rules: Rules) -> Rules {
        match self {
            Self::Socket(_) => rules,
            Self::Flow(_) => Rules { limit: rules.limit.max(MAX_DATAGRAM), ..rules },
        }
    }

    /// The address of this end, for the log.
    pub(super) fn local(&self) -> String {
        let unnamed = || "unix:".to_owned();
        match self {
            Self::Socket(socket) => socket.local_addr().map_or_else(|_| unnamed(), |local| local.to_string()),
            Self::Flow(Flow { way: tunnel::Flow::Open(stream), .. }) => format!("{stream:?}"),
            Self::Flow(_) => "a flow that waits".to_owned(),
        }
    }
}

impl Flow {
    /// Has `waker` woken when there is something to receive.
    pub(super) fn watch(&mut self, waker: Waker) {
        self.waker = waker;
    }

    /// Sends a datagram.
    pub(super) fn send(&self, datagram: &[u8]) {
        match &self.way {
            tunnel::Flow::Open(stream) => stream.send_datagram(datagram),
            tunnel::Flow::Pending(flow) => flow.send_datagram(datagram),
        }
    }

    /// Takes a datagram; none if the flow has ended in order.
    pub(super) fn receive(&self) -> Poll<io::Result<Option<Vec<u8>>>> {
        let cx = Context::from_waker(&self.waker);
        let received = match &self.way {
            tunnel::Flow::Open(stream) => ready!(stream.poll_datagram(&cx)),
            tunnel::Flow::Pending(flow) => ready!(flow.poll_datagram(&cx))?,
        };
        Poll::Ready(match received {
            Ok(datagram) => Ok(Some(datagram)),
            Err(Code::Cancelled) => Ok(None),
            Err(code) => Err(broken(code)),
        })
    }
}

/// A flow that broke, as sockets fail.
pub(super) fn broken(code: Code) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, code.name())
}
