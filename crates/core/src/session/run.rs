//! session/run.
