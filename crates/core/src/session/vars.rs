//! Variables: the built-in ones, those of `map`, and those that a session sets.

use std::sync::Arc;

use qanat_plan as spec;

use crate::plan::link::LinkError;
use crate::plan::names::Captures;
use crate::session::Session;

/// Values that a session has set, captured or computed.
#[derive(Debug, Default)]
pub struct Values {}

impl Values {
    /// Keeps the captures of the last expression that matched.
    pub fn set_captures(&mut self, _captures: Captures) {}

    /// Sets a variable.
    pub fn set(&mut self, _name: &Arc<str>, _value: String) {}
}

/// A variable that the configuration defines (`map`).
#[derive(Debug)]
pub struct Variable {}

impl Variable {
    /// Links a variable.
    ///
    /// # Errors
    /// The field at fault: a bad expression, an unknown variable.
    pub fn link(_variable: &spec::Variable) -> Result<Self, LinkError> {
        Ok(Self {})
    }
}

/// Names of the built-in variables; those that end in `_` are prefixes.
pub fn names() -> Vec<&'static str> {
    Vec::new()
}

/// The value of a variable by name: set or captured values first, then the plan's variables, then the built-in ones.
pub fn get(_session: &mut Session, _name: &str) -> Option<String> {
    None
}
