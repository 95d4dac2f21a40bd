//! `$upstream_*`: one item per attempt to reach a peer, in order.

use std::fmt::Display;
use std::time::Duration;

use crate::session::Session;
use crate::session::state::Attempt;
use crate::session::vars::builtin::show;
use crate::session::vars::time::Seconds;

pub(crate) fn address(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    list(session, out, |attempt| Some(&attempt.peer))
}

pub(crate) fn bytes_sent(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    list(session, out, |attempt| Some(attempt.bytes_sent))
}

pub(crate) fn bytes_received(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    list(session, out, |attempt| Some(attempt.bytes_received))
}

pub(crate) fn connect_time(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    times(session, out, |attempt| attempt.connected)
}

pub(crate) fn first_byte_time(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    times(session, out, |attempt| attempt.first_byte)
}

pub(crate) fn session_time(session: &Session, out: &mut Vec<u8>) -> Option<()> {
    times(session, out, |attempt| attempt.ended)
}

fn times(session: &Session, out: &mut Vec<u8>, time: impl Fn(&Attempt) -> Option<Duration>) -> Option<()> {
    list(session, out, |attempt| time(attempt).map(Seconds))
}

/// Joins what `item` says of each attempt; `-` where it has nothing to say. Not found before the first attempt.
fn list<'a, T: Display>(
    session: &'a Session,
    out: &mut Vec<u8>,
    item: impl Fn(&'a Attempt) -> Option<T>,
) -> Option<()> {
    let (first, rest) = session.attempts.split_first()?;
    show_item(item(first), out)?;
    rest.iter().try_for_each(|attempt| {
        out.extend_from_slice(b", ");
        show_item(item(attempt), out)
    })
}

fn show_item(item: Option<impl Display>, out: &mut Vec<u8>) -> Option<()> {
    match item {
        Some(item) => show(item, out),
        None => show("-", out),
    }
}
