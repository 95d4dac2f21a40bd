//! A counter in the kernel that wakes who waits for it (`eventfd`).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// An event: raised by any thread, waited for by one as a readable descriptor.
#[derive(Debug)]
pub struct Event(OwnedFd);

impl Event {
    /// An event that was not raised.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just opened and that nobody else has.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Raises the event.
    pub fn raise(&self) {
        let one = 1_u64;
        // SAFETY: reads the eight bytes of a variable that lives. It fails only if the counter is full, which is raised.
        let _full = unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Lowers the event.
    pub fn lower(&self) {
        let mut count = 0_u64;
        // SAFETY: writes the eight bytes of a variable that lives. It fails only if the event was not raised.
        let _lowered = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsRawFd for Event {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
