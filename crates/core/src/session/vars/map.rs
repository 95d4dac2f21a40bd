//! `map`: a variable whose value is looked up by the value of a template.
//!
//! Text is found by hash, whatever the number of entries; only regular expressions are tried one after another.

use std::collections::HashMap;

use fancy_regex::{Regex, RegexBuilder};
use qanat_plan as spec;

use crate::plan::link::LinkError;
use crate::plan::names::captures_of;
use crate::session::Session;
use crate::session::template::Template;
use crate::session::vars::{Depth, into_text};

/// A variable that the configuration defines.
#[derive(Debug)]
pub struct Variable {
    volatile: bool,
    source: Template,
    default: Template,
    hostnames: bool,
    exact: Table,
    leading: Table,
    trailing: Table,
    patterns: Vec<Pattern>,
}

/// Results by lower-case key.
type Table = HashMap<Box<[u8]>, Template>;

#[derive(Debug)]
struct Pattern {
    regex: Regex,
    value: Template,
}

impl Variable {
    /// Links a variable.
    ///
    /// # Errors
    /// The field at fault: a bad expression, a variable without a name.
    pub fn link(variable: &spec::Variable) -> Result<Self, LinkError> {
        let spec::VariableKind::Map { source, default, hostnames, exact, leading, trailing, patterns } =
            &variable.kind;
        Ok(Self {
            volatile: variable.volatile,
            source: template("source", source)?,
            default: template("default", default)?,
            hostnames: *hostnames,
            exact: table("exact", exact)?,
            leading: table("leading", leading)?,
            trailing: table("trailing", trailing)?,
            patterns: patterns.iter().map(Pattern::link).collect::<Result<_, _>>()?,
        })
    }

    /// Whether it is evaluated anew at each use.
    pub(crate) fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// The value for `session`. Captures of the expression that matched are set for the value and from then on.
    pub(crate) fn evaluate(&self, session: &mut Session, depth: Depth) -> Vec<u8> {
        let mut key = Vec::new();
        self.source.render_at(session, &mut key, depth);
        if self.hostnames && key.last() == Some(&b'.') {
            key.pop();
        }
        let found = self.find_text(&key.to_ascii_lowercase());
        let found = found.or_else(|| self.find_pattern(key, session)).unwrap_or(&self.default);
        let mut value = Vec::new();
        found.render_at(session, &mut value, depth);
        value
    }

    fn find_text(&self, key: &[u8]) -> Option<&Template> {
        let dots = || key.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        self.exact
            .get(key)
            .or_else(|| longest(&self.leading, dots().filter_map(|at| key.get(at + 1..))))
            .or_else(|| longest(&self.trailing, dots().rev().filter_map(|at| key.get(..at))))
    }

    /// Expressions see the source as it is, letter case included, and never see an empty one.
    fn find_pattern(&self, key: Vec<u8>, session: &mut Session) -> Option<&Template> {
        if self.patterns.is_empty() || key.is_empty() {
            return None;
        }
        let key = into_text(key);
        self.patterns.iter().find_map(|pattern| {
            let found = pattern.regex.captures(key.as_str()).ok()??;
            session.values.set_captures(captures_of(&pattern.regex, &found));
            Some(&pattern.value)
        })
    }
}

impl Pattern {
    fn link(pattern: &spec::MapPattern) -> Result<Self, LinkError> {
        let fail = |message| LinkError {
            field: "patterns".to_owned(),
            message,
            origin: Some(pattern.origin.clone()),
        };
        let regex = RegexBuilder::new(&pattern.pattern).case_insensitive(pattern.ignore_case).build();
        let regex = regex
            .map_err(|error| fail(format!("invalid regular expression \"{}\": {error}", pattern.pattern)))?;
        Ok(Self { regex, value: Template::link(&pattern.value).map_err(fail)? })
    }
}

fn template(field: &str, template: &spec::Template) -> Result<Template, LinkError> {
    Template::link(template).map_err(|message| LinkError::new(field, message))
}

fn table(field: &str, entries: &[spec::MapEntry]) -> Result<Table, LinkError> {
    let entry = |entry: &spec::MapEntry| {
        let key = entry.key.to_ascii_lowercase().into_bytes().into_boxed_slice();
        Ok((key, template(field, &entry.value)?))
    };
    entries.iter().map(entry).collect()
}

/// The first of `candidates`, which come longest first, that is in the table.
fn longest<'a, 'b>(table: &'a Table, mut candidates: impl Iterator<Item = &'b [u8]>) -> Option<&'a Template> {
    if table.is_empty() { None } else { candidates.find_map(|candidate| table.get(candidate)) }
}
