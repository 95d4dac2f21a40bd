//! A set of sockets of which the kernel tells which have become readable: `epoll`, edge-triggered. Closing a socket
//! takes it out of the set, without a system call of its own.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, epoll_event};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Most events that one call takes.
pub const EVENTS: usize = 64;

/// The set.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// An empty set, itself registered with this thread's event loop.
    ///
    /// # Errors
    /// The system's.
    pub fn register() -> io::Result<AsyncFd<Self>> {
        // SAFETY: takes no pointers.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        let set = Self(unsafe { OwnedFd::from_raw_fd(descriptor) });
        // SAFETY: the set owns its descriptor, which stays open and the same while the set lives.
        let registered = unsafe { AsyncFd::register_with_interest(set, Interest::READABLE) };
        Ok(registered?)
    }

    /// Adds a socket; what it has received by now counts as an event. Errors of the socket are events, too.
    ///
    /// # Errors
    /// The system's.
    pub fn add(&self, socket: &impl AsFd, token: u32) -> io::Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLET).cast_unsigned();
        let mut event = epoll_event { events, u64: token.into() };
        let (set, socket) = (self.0.as_raw_fd(), socket.as_fd().as_raw_fd());
        // SAFETY: both descriptors are open while they are borrowed, and the kernel only reads the live event.
        let result = unsafe { libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, socket, &raw mut event) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Appends the tokens of sockets with events; returns how many there were. Fewer than [`EVENTS`] are all. Never
    /// blocks.
    ///
    /// # Errors
    /// The system's.
    pub fn take(&self, tokens: &mut Vec<u32>) -> io::Result<usize> {
        // SAFETY: a plain C struct, for which zero bytes are a valid value.
        let mut events: [epoll_event; EVENTS] = unsafe { mem::zeroed() };
        let room = c_int::try_from(EVENTS).unwrap_or_default();
        // SAFETY: the kernel writes at most `room` events, which is the length of the live array.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, 0) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        tokens.extend(events.iter().take(count).filter_map(|event| u32::try_from(event.u64).ok()));
        Ok(count)
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
