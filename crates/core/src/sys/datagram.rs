//! Datagrams in batches: `recvmmsg` and `sendmmsg`, with the control messages that tell and set local addresses.
//!
//! Memory for a batch is reserved once; pages that no datagram ever reached cost nothing. A batch belongs to one
//! thread and holds datagrams only until its next use.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::Arc;

use libc::{c_int, c_uint, cmsghdr, iovec, mmsghdr, msghdr, sockaddr_in, sockaddr_in6, sockaddr_storage};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Most datagrams that one system call takes.
pub const BATCH: usize = 64;
/// Room for one datagram: the largest that UDP has, on a page boundary.
pub const SLOT: usize = 65_536;
/// Enough for the packet information and the original destination, both in their IPv6 form.
const CONTROL: usize = 128;

/// Slots for a batch of datagrams, with what the system calls need beside the bytes.
pub struct Batch {
    bytes: Vec<u8>,
    headers: Vec<mmsghdr>,
    vectors: Vec<iovec>,
    names: Vec<sockaddr_storage>,
    controls: Vec<Control>,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Where a datagram came from and what it was sent to.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// The sender.
    pub client: SocketAddr,
    /// The local address that it was sent to, if [`report_local`] is on.
    pub local: Option<IpAddr>,
    /// The destination before redirection, if [`report_original`] is on.
    pub original: Option<SocketAddr>,
}

impl Default for Batch {
    fn default() -> Self {
        // SAFETY: all of these are plain C structs, for which zero bytes are a valid value.
        let (header, name): (mmsghdr, sockaddr_storage) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self {
            bytes: vec![0; BATCH * SLOT],
            headers: vec![header; BATCH],
            vectors: vec![iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH],
            names: vec![name; BATCH],
            controls: vec![Control([0; CONTROL]); BATCH],
        }
    }
}

impl Batch {
    /// Receives at most `want` datagrams with their envelopes into the first slots. Fewer than asked for means that
    /// the socket is empty.
    ///
    /// # Errors
    /// The system's; `WouldBlock` if there is none.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, want: usize) -> io::Result<usize> {
        let want = want.min(BATCH);
        for slot in 0..want {
            self.prepare(slot, SLOT);
            let header = &mut self.headers[slot].msg_hdr;
            header.msg_name = ptr::from_mut(&mut self.names[slot]).cast();
            header.msg_namelen = length_of::<sockaddr_storage>();
            header.msg_control = ptr::from_mut(&mut self.controls[slot]).cast();
            header.msg_controllen = CONTROL;
        }
        self.receive_into(socket, 0, want)
    }

    /// Receives at most `want` datagrams of a connected socket into the slots from `first` on, each cut to `limit`
    /// bytes. Fewer than asked for means that the socket is empty.
    ///
    /// # Errors
    /// The system's; `WouldBlock` if there is none.
    pub fn receive_connected(
        &mut self,
        socket: BorrowedFd<'_>,
        first: usize,
        want: usize,
        limit: usize,
    ) -> io::Result<usize> {
        let want = want.min(BATCH.saturating_sub(first));
        for slot in first..first + want {
            self.prepare(slot, limit);
        }
        self.receive_into(socket, first, want)
    }

    /// The bytes that the last call received into `slot`.
    pub fn datagram(&self, slot: usize) -> &[u8] {
        let length = self.length(slot).min(SLOT);
        &self.bytes[slot * SLOT..slot * SLOT + length]
    }

    /// How many bytes were received into `slot`.
    pub fn length(&self, slot: usize) -> usize {
        self.headers[slot].msg_len as usize
    }

    /// The envelope of what [`Batch::receive`] put into `slot`; none for an address family that is not the internet's.
    pub fn envelope(&self, slot: usize) -> Option<Envelope> {
        let client = decode(&self.names[slot])?;
        let mut envelope = Envelope { client, local: None, original: None };
        let header = &self.headers[slot].msg_hdr;
        // SAFETY: the kernel filled the control buffer that `header` points to (a field of self) and set its length;
        // CMSG_FIRSTHDR and CMSG_NXTHDR stay within that length, and CMSG_DATA is read unaligned.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(header);
            while let Some(control) = message.as_ref() {
                read_control(control, &mut envelope);
                message = libc::CMSG_NXTHDR(header, message);
            }
        }
        Some(envelope)
    }

    /// Copies `bytes` into `slot`, cut to the size of a datagram.
    pub fn put(&mut self, slot: usize, bytes: &[u8]) {
        let length = bytes.len().min(SLOT - 1);
        self.bytes[slot * SLOT..slot * SLOT + length].copy_from_slice(&bytes[..length]);
        self.headers[slot].msg_len = u32::try_from(length).unwrap_or_default();
    }

    /// Addresses the datagram in `slot`: where to, and the local address to send it from.
    pub fn address(&mut self, slot: usize, to: SocketAddr, from: Option<IpAddr>) {
        let length = self.length(slot);
        self.prepare(slot, length);
        let name_length = encode(to, &mut self.names[slot]);
        let control_length = from.map_or(0, |from| write_control(&mut self.controls[slot], from));
        let header = &mut self.headers[slot].msg_hdr;
        header.msg_name = ptr::from_mut(&mut self.names[slot]).cast();
        header.msg_namelen = name_length;
        if control_length > 0 {
            header.msg_control = ptr::from_mut(&mut self.controls[slot]).cast();
            header.msg_controllen = control_length;
        }
    }

    /// Addresses the datagram in `slot` to the peer of the connected socket that it will leave by.
    pub fn address_connected(&mut self, slot: usize) {
        let length = self.length(slot);
        self.prepare(slot, length);
    }

    /// Sends the addressed slots from `first` up to `end`; returns how many were sent before one could not be.
    ///
    /// # Errors
    /// The system's, if the first one cannot be sent.
    pub fn send(&mut self, socket: BorrowedFd<'_>, first: usize, end: usize) -> io::Result<usize> {
        let headers = &mut self.headers[first..end];
        let count = c_uint::try_from(headers.len()).unwrap_or(c_uint::MAX);
        // SAFETY: `address` pointed every header of the range at slots, names and controls of self, which live and do
        // not move during the call.
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_NOSIGNAL) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Points the header of `slot` at its bytes and at nothing else.
    fn prepare(&mut self, slot: usize, length: usize) {
        let bytes = &mut self.bytes[slot * SLOT..slot * SLOT + length.min(SLOT)];
        self.vectors[slot] = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        self.headers[slot].msg_hdr = msghdr {
            msg_name: ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: ptr::from_mut(&mut self.vectors[slot]),
            msg_iovlen: 1,
            msg_control: ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
    }

    fn receive_into(&mut self, socket: BorrowedFd<'_>, first: usize, want: usize) -> io::Result<usize> {
        let headers = &mut self.headers[first..first + want];
        let count = c_uint::try_from(want).unwrap_or_default();
        // SAFETY: the caller pointed these headers at slots, names and controls of self, with their true lengths.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }
}

/// Registers the socket with this thread's event loop, for reading alone.
///
/// # Errors
/// The system's, of `epoll_ctl`.
pub fn register(socket: Arc<UdpSocket>) -> io::Result<AsyncFd<Arc<UdpSocket>>> {
    // SAFETY: an `Arc<UdpSocket>` owns its descriptor, which stays open and the same while any clone of it lives.
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    Ok(registered?)
}

/// Makes the socket tell the local address of every datagram.
///
/// # Errors
/// The system's.
pub fn report_local(socket: impl AsFd, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        return set_flag(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO);
    }
    set_flag(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO)
}

/// Makes the socket tell the destination that a redirected datagram had.
///
/// # Errors
/// The system's.
pub fn report_original(socket: impl AsFd, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set_flag(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR)?;
    }
    // An IPv6 socket that also takes IPv4 reports the latter in IPv4's form.
    set_flag(socket.as_fd(), libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR)
}

/// Lets the socket have local addresses that are not the host's own.
///
/// # Errors
/// `PermissionDenied` without `CAP_NET_ADMIN`.
pub fn set_transparent(socket: impl AsFd, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        return set_flag(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT);
    }
    set_flag(socket.as_fd(), libc::IPPROTO_IP, libc::IP_TRANSPARENT)
}

fn set_flag(socket: BorrowedFd<'_>, level: c_int, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    let value = ptr::from_ref(&on).cast();
    // SAFETY: `value` points at a C int that outlives the call, and the length says so.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length_of::<c_int>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}

/// # Safety
/// `control` is a whole control message of the kernel: its data has the type that its level and type tell.
unsafe fn read_control(control: &cmsghdr, envelope: &mut Envelope) {
    // SAFETY: the caller's promise; CMSG_DATA need not be aligned for the type, so it is read unaligned.
    unsafe {
        let data = libc::CMSG_DATA(control);
        match (control.cmsg_level, control.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                envelope.local = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                envelope.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR) => {
                envelope.original = Some(from_v4(&ptr::read_unaligned(data.cast())));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR) => {
                envelope.original = Some(from_v6(&ptr::read_unaligned(data.cast())));
            }
            _ => {}
        }
    }
}

/// Writes the packet information that makes a datagram leave from `from`; returns its length.
fn write_control(to: &mut Control, from: IpAddr) -> usize {
    match from {
        IpAddr::V4(ip) => {
            let address = libc::in_addr { s_addr: u32::from(ip).to_be() };
            let none = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: none };
            put_control(to, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        IpAddr::V6(ip) => {
            let address = libc::in6_addr { s6_addr: ip.octets() };
            let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
            put_control(to, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
    }
}

fn put_control<T: Copy>(to: &mut Control, level: c_int, kind: c_int, value: T) -> usize {
    let size = c_uint::try_from(size_of::<T>()).unwrap_or_default();
    let message: *mut cmsghdr = ptr::from_mut(to).cast();
    // SAFETY: `to` is aligned for cmsghdr, and both packet information types fit into it with their header.
    unsafe {
        (*message).cmsg_len = libc::CMSG_LEN(size) as usize;
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast(), value);
        libc::CMSG_SPACE(size) as usize
    }
}

fn encode(address: SocketAddr, to: &mut sockaddr_storage) -> libc::socklen_t {
    let storage = ptr::from_mut(to);
    match address {
        SocketAddr::V4(address) => {
            let name = sockaddr_in {
                sin_family: family(libc::AF_INET),
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is large and aligned enough for any address.
            unsafe { storage.cast::<sockaddr_in>().write(name) };
            length_of::<sockaddr_in>()
        }
        SocketAddr::V6(address) => {
            let name = sockaddr_in6 {
                sin6_family: family(libc::AF_INET6),
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            // SAFETY: as above.
            unsafe { storage.cast::<sockaddr_in6>().write(name) };
            length_of::<sockaddr_in6>()
        }
    }
}

fn decode(name: &sockaddr_storage) -> Option<SocketAddr> {
    let storage = ptr::from_ref(name);
    match c_int::from(name.ss_family) {
        // SAFETY: the family says which type the storage holds, and it is aligned for all of them.
        libc::AF_INET => Some(from_v4(unsafe { &*storage.cast::<sockaddr_in>() })),
        // SAFETY: as above.
        libc::AF_INET6 => Some(from_v6(unsafe { &*storage.cast::<sockaddr_in6>() })),
        _ => None,
    }
}

fn family(value: c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(value).unwrap_or_default()
}

fn from_v4(name: &sockaddr_in) -> SocketAddr {
    (Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port)).into()
}

fn from_v6(name: &sockaddr_in6) -> SocketAddr {
    let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
    SocketAddrV6::new(ip, u16::from_be(name.sin6_port), name.sin6_flowinfo, name.sin6_scope_id).into()
}
