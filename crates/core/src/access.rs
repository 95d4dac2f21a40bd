//! The access phase: `allow` and `deny`.

use qanat_plan::Level;

use crate::error::{SessionError, Source, Status};
use crate::session::Session;

/// Refuses clients that the rules of the session's server do not admit. The first rule that matches decides.
///
/// # Errors
/// 403.
pub fn check(session: &Session) -> Result<(), SessionError> {
    match session.server.access.iter().find(|rule| rule.matches(&session.client)) {
        Some(rule) if !rule.allow => Err(SessionError::new(
            Status::Forbidden,
            Source::Client,
            Level::Error,
            "access forbidden by rule",
        )),
        _ => Ok(()),
    }
}
