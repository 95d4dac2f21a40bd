//! Which virtual server of a listener a name selects: exact, then the longest `*.x`, then the longest `x.*`, then the
//! first regular expression. Persistent maps, so that adding one server to ten thousand copies almost nothing.

use std::sync::Arc;

use fancy_regex::Regex;
use imbl::{HashMap, Vector};
use qanat_plan::{NameKind, ServerName};

use crate::plan::Server;

/// Captures of a matched expression: pairs of name (or number) and value.
pub type Captures = Vec<(Arc<str>, String)>;

/// Names of one listener.
#[derive(Clone, Default)]
pub struct NameTable {
    exact: HashMap<Arc<str>, Arc<Server>>,
    leading: HashMap<Arc<str>, Arc<Server>>,
    trailing: HashMap<Arc<str>, Arc<Server>>,
    patterns: Vector<Pattern>,
}

#[derive(Clone)]
struct Pattern {
    text: Arc<str>,
    regex: Arc<Regex>,
    server: Arc<Server>,
}

/// A server that a name selected.
pub struct Found {
    /// The server.
    pub server: Arc<Server>,
    /// Captures, if a regular expression matched.
    pub captures: Captures,
}

impl NameTable {
    /// Whether no name can select anything.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty()
            && self.leading.is_empty()
            && self.trailing.is_empty()
            && self.patterns.is_empty()
    }

    /// Adds a name. The first server that claims a name keeps it, as nginx has it.
    ///
    /// # Errors
    /// The text of what is wrong with a regular expression.
    pub fn insert(&mut self, name: &ServerName, server: &Arc<Server>) -> Result<(), String> {
        let key: Arc<str> = name.text.as_str().into();
        match name.kind {
            NameKind::Exact => self.exact.entry(key).or_insert_with(|| Arc::clone(server)),
            NameKind::Leading => self.leading.entry(key).or_insert_with(|| Arc::clone(server)),
            NameKind::Trailing => self.trailing.entry(key).or_insert_with(|| Arc::clone(server)),
            NameKind::Regex => {
                let regex = Regex::new(&format!("(?i){}", name.text)).map_err(|error| error.to_string())?;
                let pattern = Pattern { text: key, regex: Arc::new(regex), server: Arc::clone(server) };
                self.patterns.push_back(pattern);
                return Ok(());
            }
        };
        Ok(())
    }

    /// Removes a name if `server_id` owns it.
    pub fn remove(&mut self, name: &ServerName, server_id: &str) {
        let table = match name.kind {
            NameKind::Exact => &mut self.exact,
            NameKind::Leading => &mut self.leading,
            NameKind::Trailing => &mut self.trailing,
            NameKind::Regex => {
                self.patterns.retain(|p| !(*p.text == *name.text && p.server.spec.id == server_id));
                return;
            }
        };
        if table.get(name.text.as_str()).is_some_and(|owner| owner.spec.id == server_id) {
            table.remove(name.text.as_str());
        }
    }

    /// Finds the server that `name` selects. A trailing dot and letter case do not count.
    pub fn find(&self, name: &str) -> Option<Found> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() || self.is_empty() {
            return None;
        }
        let lower;
        let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            lower.as_str()
        } else {
            name
        };
        self.find_literal(name)
            .map(|server| Found { server: Arc::clone(server), captures: Vec::new() })
            .or_else(|| self.find_pattern(name))
    }

    fn find_literal(&self, name: &str) -> Option<&Arc<Server>> {
        self.exact
            .get(name)
            .or_else(|| longest(&self.leading, dots(name).map(|at| &name[at + 1..])))
            .or_else(|| longest(&self.trailing, dots(name).rev().map(|at| &name[..at])))
    }

    fn find_pattern(&self, name: &str) -> Option<Found> {
        self.patterns.iter().find_map(|pattern| {
            let found = pattern.regex.captures(name).ok()??;
            let captures = captures_of(&pattern.regex, &found);
            Some(Found { server: Arc::clone(&pattern.server), captures })
        })
    }
}

/// Numbered and named captures of a match, as variables see them.
pub fn captures_of(regex: &Regex, found: &fancy_regex::Captures<'_, str>) -> Captures {
    let names = regex.capture_names().enumerate().skip(1);
    names
        .filter_map(|(index, name)| Some((index, name, found.get(index)?.as_str())))
        .flat_map(|(index, name, value)| {
            let by_name = name.map(|name| (name.to_ascii_lowercase().into(), value.to_owned()));
            [Some((index.to_string().into(), value.to_owned())), by_name].into_iter().flatten()
        })
        .collect()
}

fn dots(name: &str) -> impl DoubleEndedIterator<Item = usize> + '_ {
    name.match_indices('.').map(|(at, _)| at)
}

/// The first of `candidates`, which come longest first, that is in the table.
fn longest<'a, 'b>(
    table: &'a HashMap<Arc<str>, Arc<Server>>,
    mut candidates: impl Iterator<Item = &'b str>,
) -> Option<&'a Arc<Server>> {
    if table.is_empty() {
        return None;
    }
    candidates.find_map(|candidate| table.get(candidate))
}
