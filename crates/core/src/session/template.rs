//! Text with variables in it, evaluated for a session. Names are resolved once, when the plan is linked.

use std::sync::Arc;

use qanat_plan::{self as spec, Escape};

use crate::log::escape::escape;
use crate::session::Session;
use crate::session::vars::{Depth, Reference};

/// A linked template.
#[derive(Clone, Debug)]
pub struct Template {
    constant: Option<Arc<str>>,
    parts: Arc<[Part]>,
}

#[derive(Debug)]
enum Part {
    Text(Box<str>),
    Variable(Reference),
}

impl Template {
    /// Resolves the variables of a template. Names that are not built in are looked up in each session: what defines
    /// them (`map`, `set`, a capture) may come and go with later changes.
    ///
    /// # Errors
    /// A variable without a name.
    pub fn link(template: &spec::Template) -> Result<Self, String> {
        let mut parts = Vec::with_capacity(template.len());
        for part in template {
            match part {
                spec::Part::Text(text) => push_text(&mut parts, text),
                spec::Part::Variable(name) if name.is_empty() => {
                    return Err("invalid variable name".to_owned());
                }
                spec::Part::Variable(name) => parts.push(Part::Variable(Reference::link(name))),
            }
        }
        let constant = match parts.as_slice() {
            [] => Some("".into()),
            [Part::Text(text)] => Some(text.as_ref().into()),
            _ => None,
        };
        Ok(Self { constant, parts: parts.into() })
    }

    /// The text, if it has no variables.
    pub fn constant(&self) -> Option<&Arc<str>> {
        self.constant.as_ref()
    }

    /// Whether it shows something of the client's frame.
    pub fn reads_frame(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Variable(Reference::Frame(_))))
    }

    /// Appends the value for `session`; missing variables add nothing.
    pub fn render(&self, session: &mut Session, out: &mut Vec<u8>) {
        self.render_at(session, out, Depth::default());
    }

    /// Appends the value for `session` from within the evaluation of a variable.
    pub(crate) fn render_at(&self, session: &mut Session, out: &mut Vec<u8>, depth: Depth) {
        for part in &*self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Variable(reference) => drop(reference.append(session, out, depth)),
            }
        }
    }

    /// Appends a log line for `session`: values are made safe, the text of the template itself is not touched.
    /// A missing variable is `-` with the default escaping and nothing with the others.
    pub fn render_log(&self, session: &mut Session, escaping: Escape, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        for part in &*self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Variable(reference) => {
                    value.clear();
                    if reference.append(session, &mut value, Depth::default()).is_some() {
                        escape(&value, escaping, out);
                    } else if escaping == Escape::Default {
                        out.push(b'-');
                    }
                }
            }
        }
    }

    /// The value for `session` as text.
    pub fn text(&self, session: &mut Session) -> String {
        if let Some(constant) = &self.constant {
            return constant.as_ref().to_owned();
        }
        let mut out = Vec::new();
        self.render(session, &mut out);
        crate::session::vars::into_text(out)
    }
}

impl Default for Template {
    fn default() -> Self {
        Self { constant: Some("".into()), parts: [].into() }
    }
}

/// Adds literal text; neighbours are joined, so that text without variables is always one part.
fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => *before = format!("{before}{text}").into(),
        _ => parts.push(Part::Text(text.into())),
    }
}
