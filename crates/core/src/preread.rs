//! preread.
