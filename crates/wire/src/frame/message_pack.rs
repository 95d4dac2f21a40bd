//! `MessagePack` bodies: checked once as a whole, then looked into by path without building anything. Nesting is
//! bounded.

use std::borrow::Cow;

use rmp::Marker;

use super::FrameError;
use super::path::{fit, keep_better, readings};
use crate::cursor::Cursor;

/// How deep arrays and maps may be nested: as deep as decoders of Python and Rust go by default.
const DEEPEST: usize = 128;

/// A value, or the beginning of one that holds others.
enum Item<'a> {
    Nil,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bytes(&'a [u8]),
    Array(usize),
    Map(usize),
    Extension,
}

impl Item<'_> {
    /// How many values follow that belong to this one.
    fn holds(&self) -> usize {
        match self {
            Self::Array(count) => *count,
            Self::Map(count) => count.saturating_mul(2),
            _ => 0,
        }
    }
}

/// Whether `body` is one `MessagePack` value.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn check(body: &[u8]) -> Result<(), FrameError> {
    let mut cursor = Cursor::new(body);
    let fail = |reason: &str, cursor: &Cursor<'_>| FrameError::Body {
        kind: "MessagePack",
        reason: reason.to_owned(),
        at: body.len() - cursor.rest().len(),
    };
    skip(&mut cursor).map_err(|reason| fail(reason, &cursor))?;
    if cursor.is_empty() { Ok(()) } else { Err(fail("trailing bytes", &cursor)) }
}

/// The value at a path of a body that was checked: strings and binaries as they are, numbers in decimal, `true` or
/// `false`. Others have no text.
pub(super) fn find<'a>(body: &'a [u8], path: &str) -> Option<Cow<'a, [u8]>> {
    let text = match read(&mut find_at(Cursor::new(body), path)?).ok()? {
        Item::Bytes(bytes) => return Some(bytes.into()),
        Item::Bool(value) => value.to_string(),
        Item::Signed(value) => value.to_string(),
        Item::Unsigned(value) => value.to_string(),
        Item::Float(value) => value.to_string(),
        Item::Nil | Item::Array(_) | Item::Map(_) | Item::Extension => return None,
    };
    Some(text.into_bytes().into())
}

fn find_at<'a>(value: Cursor<'a>, path: &str) -> Option<Cursor<'a>> {
    readings(path).find_map(|(key, rest)| {
        let found = member(value, key)?;
        rest.map_or(Some(found), |rest| find_at(found, rest))
    })
}

/// A member of a map by its key, which may be a number, or an element of an array by its index.
fn member<'a>(mut value: Cursor<'a>, name: &str) -> Option<Cursor<'a>> {
    match read(&mut value).ok()? {
        Item::Map(count) => {
            let mut best = None;
            for _ in 0..count {
                let key = read(&mut { value });
                skip(&mut value).ok()?;
                if let Some(fit) = key_fit(&key.ok()?, name) {
                    keep_better(&mut best, fit, value);
                }
                skip(&mut value).ok()?;
            }
            best.map(|(_, found)| found)
        }
        Item::Array(count) => {
            let index: usize = name.parse().ok().filter(|index| *index < count)?;
            (0..index).try_for_each(|_| skip(&mut value)).ok()?;
            Some(value)
        }
        _ => None,
    }
}

fn key_fit(key: &Item<'_>, name: &str) -> Option<super::path::Fit> {
    match key {
        Item::Bytes(key) => fit(key, name),
        Item::Signed(key) => fit(key.to_string().as_bytes(), name),
        Item::Unsigned(key) => fit(key.to_string().as_bytes(), name),
        _ => None,
    }
}

/// Goes past one value with all that it holds.
fn skip(cursor: &mut Cursor<'_>) -> Result<(), &'static str> {
    let inside = read(cursor)?.holds();
    if inside == 0 {
        return Ok(());
    }
    // How many values are still to come, on each level of nesting.
    let mut open = vec![inside];
    while let Some(left) = open.last_mut() {
        let Some(less) = left.checked_sub(1) else {
            open.pop();
            continue;
        };
        *left = less;
        let inside = read(cursor)?.holds();
        if inside > 0 {
            if open.len() == DEEPEST {
                return Err("nested too deeply");
            }
            open.push(inside);
        }
    }
    Ok(())
}

/// Reads one value, or the beginning of one that holds others.
fn read<'a>(cursor: &mut Cursor<'a>) -> Result<Item<'a>, &'static str> {
    let marker = cursor.u8().map(Marker::from_u8).ok_or("ends too early")?;
    if marker == Marker::Reserved {
        return Err("reserved marker");
    }
    read_marked(marker, cursor).ok_or("ends too early")
}

fn read_marked<'a>(marker: Marker, cursor: &mut Cursor<'a>) -> Option<Item<'a>> {
    let u32_length = |cursor: &mut Cursor<'a>| cursor.u32().map(|length| length as usize);
    Some(match marker {
        Marker::Null | Marker::Reserved => Item::Nil,
        Marker::True => Item::Bool(true),
        Marker::False => Item::Bool(false),
        Marker::FixPos(value) => Item::Unsigned(value.into()),
        Marker::FixNeg(value) => Item::Signed(value.into()),
        Marker::U8 => Item::Unsigned(cursor.u8()?.into()),
        Marker::U16 => Item::Unsigned(cursor.u16()?.into()),
        Marker::U32 => Item::Unsigned(cursor.u32()?.into()),
        Marker::U64 => Item::Unsigned(u64::from_be_bytes(cursor.array()?)),
        Marker::I8 => Item::Signed(i8::from_be_bytes(cursor.array()?).into()),
        Marker::I16 => Item::Signed(i16::from_be_bytes(cursor.array()?).into()),
        Marker::I32 => Item::Signed(i32::from_be_bytes(cursor.array()?).into()),
        Marker::I64 => Item::Signed(i64::from_be_bytes(cursor.array()?)),
        Marker::F32 => Item::Float(f32::from_be_bytes(cursor.array()?).into()),
        Marker::F64 => Item::Float(f64::from_be_bytes(cursor.array()?)),
        Marker::FixStr(length) => Item::Bytes(cursor.take(length.into())?),
        Marker::Str8 | Marker::Bin8 => Item::Bytes(cursor.vector8()?),
        Marker::Str16 | Marker::Bin16 => Item::Bytes(cursor.vector16()?),
        Marker::Str32 | Marker::Bin32 => {
            let length = u32_length(cursor)?;
            Item::Bytes(cursor.take(length)?)
        }
        Marker::FixArray(count) => Item::Array(count.into()),
        Marker::Array16 => Item::Array(cursor.u16()?.into()),
        Marker::Array32 => Item::Array(u32_length(cursor)?),
        Marker::FixMap(count) => Item::Map(count.into()),
        Marker::Map16 => Item::Map(cursor.u16()?.into()),
        Marker::Map32 => Item::Map(u32_length(cursor)?),
        extension => {
            // One byte more than its data: the type.
            let length = match extension {
                Marker::FixExt1 => 1,
                Marker::FixExt2 => 2,
                Marker::FixExt4 => 4,
                Marker::FixExt8 => 8,
                Marker::FixExt16 => 16,
                Marker::Ext8 => cursor.u8()?.into(),
                Marker::Ext16 => cursor.u16()?.into(),
                _ => u32_length(cursor)?,
            };
            cursor.take(length.checked_add(1)?)?;
            Item::Extension
        }
    })
}
