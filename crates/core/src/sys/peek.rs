//! Looking at what a stream socket has received without taking it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Copies received bytes into `into`, leaving them in the socket. 0 is the end of the stream. Never blocks.
///
/// # Errors
/// The system's; `WouldBlock` if nothing has come.
pub fn peek(socket: &impl AsFd, into: &mut [u8]) -> io::Result<usize> {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the descriptor is open while `socket` is borrowed, and the kernel writes at most `into.len()` bytes to it.
    let count =
        unsafe { libc::recv(socket.as_fd().as_raw_fd(), into.as_mut_ptr().cast(), into.len(), flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
