//! Variables: the built-in ones, those of `map`, and those that a session sets or captures.
//!
//! A value is bytes and may be empty; a variable that has no value at all is "not found". Names are lower case.

mod builtin;
mod map;
mod time;
mod tls;
mod upstream;

use std::borrow::Cow;
use std::sync::Arc;

use qanat_plan::Level;

use crate::plan::names::Captures;
use crate::session::Session;

pub use builtin::names;
pub use map::Variable;

/// Values that a session has set, captured or computed. One word while there are none.
#[derive(Debug, Default)]
pub struct Values {
    store: Option<Box<Store>>,
}

#[derive(Debug, Default)]
struct Store {
    entries: Vec<(Arc<str>, Box<[u8]>)>,
}

impl Values {
    /// Keeps the captures of an expression that matched. The numbered ones replace those of an earlier match; an
    /// expression without captures leaves them as they were.
    pub fn set_captures(&mut self, captures: Captures) {
        if captures.is_empty() {
            return;
        }
        if let Some(store) = &mut self.store {
            store.entries.retain(|(name, _)| !is_number(name));
        }
        for (name, value) in captures {
            self.set(&name, value);
        }
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &Arc<str>, value: impl Into<Vec<u8>>) {
        let value = value.into().into_boxed_slice();
        let entries = &mut self.store.get_or_insert_default().entries;
        match entries.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1 = value,
            None => entries.push((Arc::clone(name), value)),
        }
    }

    /// The value of a variable that was set, captured or computed before.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let entries = &self.store.as_ref()?.entries;
        entries.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

/// The value of a variable by name, in any case: set or captured values first, then the plan's variables, then the
/// built-in ones. Bytes that are not UTF-8 are replaced.
pub fn get(session: &mut Session, name: &str) -> Option<String> {
    let name = lower_case(name);
    let mut out = Vec::new();
    let found = append_named(session, &name, &mut out, Depth::default());
    found.or_else(|| Reference::builtin(&name)?.append(session, &mut out, Depth::default()))?;
    Some(into_text(out))
}

/// Sets a variable of `session`, in any case; false if the name is that of a built-in one, which cannot be set.
pub fn set(session: &mut Session, name: &str, value: &[u8]) -> bool {
    let name = lower_case(name);
    if name.is_empty() || Reference::builtin(&name).is_some() {
        return false;
    }
    session.values.set(&name.into(), value);
    true
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Bytes as text; what is not UTF-8 is replaced.
pub(crate) fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// How many variables are being evaluated, each for the sake of the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Depth(u8);

impl Depth {
    const LIMIT: u8 = 100;

    fn deeper(self) -> Option<Self> {
        (self.0 < Self::LIMIT).then_some(Self(self.0 + 1))
    }
}

/// A variable whose name was resolved as far as it can be without a session.
#[derive(Debug)]
pub(crate) enum Reference {
    /// The configuration cannot define a variable of this name.
    Builtin(&'static builtin::Builtin),
    /// `$proxy_protocol_tlv_NAME`, by its `NAME`.
    Tlv(Arc<str>),
    /// `$frame_NAME`, by its `NAME`.
    Frame(Arc<str>),
    /// Set, captured, or computed by the plan.
    Named(Arc<str>),
}

impl Reference {
    /// Resolves a name, in any case.
    pub(crate) fn link(name: &str) -> Self {
        let name = lower_case(name);
        Self::builtin(&name).unwrap_or_else(|| Self::Named(name.into()))
    }

    fn builtin(name: &str) -> Option<Self> {
        if let Some(tlv) = name.strip_prefix(builtin::TLV_PREFIX) {
            return Some(Self::Tlv(tlv.into()));
        }
        match name.strip_prefix(builtin::FRAME_PREFIX) {
            Some(name) => Some(Self::Frame(name.into())),
            None => builtin::find(name).map(Self::Builtin),
        }
    }

    /// Appends the value; none if the variable is not found.
    pub(crate) fn append(&self, session: &mut Session, out: &mut Vec<u8>, depth: Depth) -> Option<()> {
        match self {
            Self::Builtin(builtin) => (builtin.append)(session, out),
            Self::Tlv(name) => builtin::append_tlv(session, name, out),
            Self::Frame(name) => builtin::append_frame(session, name, out),
            Self::Named(name) => append_named(session, name, out, depth),
        }
    }
}

fn append_named(session: &mut Session, name: &str, out: &mut Vec<u8>, depth: Depth) -> Option<()> {
    if let Some(value) = session.values.get(name) {
        out.extend_from_slice(value);
        return Some(());
    }
    let (name, variable) = session.plan.variables.get_key_value(name)?;
    let (name, variable) = (Arc::clone(name), Arc::clone(variable));
    let Some(depth) = depth.deeper() else {
        let message = format!("cycle while evaluating variable \"{name}\"");
        crate::log::error::session_line(session, Level::Error, &message);
        return None;
    };
    let value = variable.evaluate(session, depth);
    out.extend_from_slice(&value);
    if !variable.is_volatile() {
        session.values.set(&name, value);
    }
    Some(())
}
