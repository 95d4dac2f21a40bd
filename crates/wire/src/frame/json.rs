//! JSON bodies (RFC 8259): checked once as a whole, then looked into by path without building anything.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::FrameError;
use super::path::{fit, keep_better, readings};

/// Whether `body` is one JSON value.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn check(body: &[u8]) -> Result<(), FrameError> {
    let fail = |reason: String, at| FrameError::Body { kind: "JSON", reason, at };
    let text =
        std::str::from_utf8(body).map_err(|error| fail("not UTF-8".to_owned(), error.valid_up_to()))?;
    let checked: Result<IgnoredAny, _> = serde_json::from_str(text);
    checked.map(drop).map_err(|error| {
        let position = format!(" at line {} column {}", error.line(), error.column());
        let reason = error.to_string();
        fail(reason.strip_suffix(&position).unwrap_or(&reason).to_owned(), offset(text, &error))
    })
}

/// The byte at which an error was found: it tells the line, and the column in bytes.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    (before + error.column()).saturating_sub(1).min(text.len())
}

/// The value at a path of a body that was checked: strings decoded, numbers and all else as written; `null` is none.
pub(super) fn find<'a>(body: &'a [u8], path: &str) -> Option<Cow<'a, [u8]>> {
    show(find_raw(body, path)?)
}

fn show(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    match raw {
        b"null" => None,
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Some(text.into()),
        [b'"', ..] => Some(serde_json::from_slice::<String>(raw).ok()?.into_bytes().into()),
        raw => Some(raw.into()),
    }
}

fn find_raw<'a>(raw: &'a [u8], path: &str) -> Option<&'a [u8]> {
    readings(path).find_map(|(key, rest)| {
        let value = member(raw, key)?;
        rest.map_or(Some(value), |rest| find_raw(value, rest))
    })
}

/// A member of an object by its key, or an element of an array by its index.
fn member<'a>(raw: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut scan = Scan { rest: raw };
    scan.skip_blanks();
    match scan.next()? {
        b'{' => {
            let mut best = None;
            while let Some((found, value)) = scan.pair() {
                let plain = show(found).unwrap_or_default();
                if let Some(fit) = fit(&plain, key) {
                    keep_better(&mut best, fit, value);
                }
            }
            best.map(|(_, value)| value)
        }
        b'[' => {
            let index: usize = key.parse().ok()?;
            std::iter::from_fn(|| scan.element()).nth(index)
        }
        _ => None,
    }
}

/// A position in JSON that is known to be right.
struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Key and value of the next member; none at the end of the object.
    fn pair(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let key = self.element()?;
        self.skip_blanks();
        self.next().filter(|byte| *byte == b':')?;
        Some((key, self.value()?))
    }

    /// The next element; none at the end of the array.
    fn element(&mut self) -> Option<&'a [u8]> {
        self.skip_blanks();
        match self.rest.first()? {
            b']' | b'}' => return None,
            b',' => self.next()?,
            _ => 0,
        };
        self.value()
    }

    fn value(&mut self) -> Option<&'a [u8]> {
        self.skip_blanks();
        let length = length_of(self.rest)?;
        let (value, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(value)
    }
}

/// How many bytes the value at the start takes.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at += string_length(bytes.get(at..)?)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ if depth == 0 => return Some(word_length(bytes)),
            _ => at += 1,
        }
    }
}

fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A number, or one of the words `true`, `false` and `null`.
fn word_length(bytes: &[u8]) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\n' | b'\r');
    bytes.iter().position(ends).unwrap_or(bytes.len())
}
