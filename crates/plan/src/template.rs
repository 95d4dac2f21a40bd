//! Text with variables in it, as nginx's "complex values".

use serde::{Deserialize, Serialize};

/// Parts that are joined when the template is evaluated for a session.
pub type Template = Vec<Part>;

/// A piece of a template. On the wire: `[false, text]` or `[true, variable name]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(bool, String)", into = "(bool, String)")]
pub enum Part {
    /// Literal text.
    Text(String),
    /// The value of a variable: its name in lower case, or the number of a regex capture.
    Variable(String),
}

impl From<(bool, String)> for Part {
    fn from((is_variable, text): (bool, String)) -> Self {
        if is_variable { Self::Variable(text) } else { Self::Text(text) }
    }
}

impl From<Part> for (bool, String) {
    fn from(part: Part) -> Self {
        match part {
            Part::Text(text) => (false, text),
            Part::Variable(name) => (true, name),
        }
    }
}
