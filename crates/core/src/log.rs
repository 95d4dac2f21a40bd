//! Access and error logs. Lines go through a bounded queue to one writer thread: the data plane never waits for a disk.

pub mod access;
pub mod error;
pub mod escape;
pub mod writer;
