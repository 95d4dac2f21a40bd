//! The running data plane: worker threads, and the way a change reaches them.

pub mod shared;
