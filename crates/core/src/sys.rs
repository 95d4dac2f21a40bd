//! System calls that neither the standard library nor a crate wraps. The only place with unsafe code.

pub mod datagram;
pub mod epoll;
pub mod event;
pub mod listen;
pub mod peek;
pub mod thread;
pub mod time;
