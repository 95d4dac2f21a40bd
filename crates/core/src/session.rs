//! One client connection or UDP association, from its first byte to its log record.

pub mod registry;
pub mod run;
pub mod state;
pub mod template;
pub mod vars;

pub use state::Session;
