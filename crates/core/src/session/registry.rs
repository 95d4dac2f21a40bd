//! session/registry.
