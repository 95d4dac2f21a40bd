//! Options of listening sockets that `socket2` does not know. Linux.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, socklen_t};

/// `TCP_FASTOPEN`: length of the queue of connections that sent data with their first packet.
///
/// # Errors
/// The system's.
pub fn set_fastopen(socket: &impl AsFd, queue: u32) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue.try_into().unwrap_or(c_int::MAX))
}

/// `TCP_DEFER_ACCEPT`: accept only once data has come, waiting for it `seconds`; 0 turns it off.
///
/// # Errors
/// The system's.
pub fn set_deferred(socket: &impl AsFd, seconds: c_int) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// `IP_PKTINFO`: tell with every datagram which local address it came to.
///
/// # Errors
/// The system's.
pub fn set_packet_info(socket: &impl AsFd, v6: bool) -> io::Result<()> {
    if v6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// `IP_RECVORIGDSTADDR`: tell with every datagram where it was going before it was redirected.
///
/// # Errors
/// The system's.
pub fn set_original_destination(socket: &impl AsFd, v6: bool) -> io::Result<()> {
    if v6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR, 1)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR, 1)
    }
}

fn set(socket: &impl AsFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let size = socklen_t::try_from(size_of::<c_int>()).unwrap_or_default();
    // SAFETY: the descriptor is open while `socket` is borrowed, and the kernel reads `size` bytes from a live integer.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, (&raw const value).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
