//! Names of things within a body, as variables can have them: `device_id` means the key `device_id`, or else `id` in
//! `device`. Letter case does not count, nor what stands in a key where the name has `_`.

/// The ways to read a path: a key, and the path within its value. The whole path comes first, then the longest key.
pub(super) fn readings(path: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let split = |(at, _)| Some((path.get(..at)?, Some(path.get(at + 1..)?)));
    let splits = path.rmatch_indices('_').filter_map(split);
    let named = splits.filter(|(key, rest)| !key.is_empty() && rest.is_some_and(|rest| !rest.is_empty()));
    std::iter::once((path, None)).chain(named)
}

/// How well a key fits a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// But for letter case, and for signs that a name cannot have.
    Near,
    /// In every byte.
    Exact,
}

/// Whether a key is meant by a name.
pub(super) fn fit(key: &[u8], name: &str) -> Option<Fit> {
    if key == name.as_bytes() {
        return Some(Fit::Exact);
    }
    let same = |(ours, theirs): (&u8, &u8)| {
        ours.eq_ignore_ascii_case(theirs) || (*theirs == b'_' && !ours.is_ascii_alphanumeric())
    };
    let is_near = key.len() == name.len() && key.iter().zip(name.as_bytes()).all(same);
    is_near.then_some(Fit::Near)
}

/// Keeps the member that fits best; of equals, the last one, as decoders of Python do with repeated keys.
pub(super) fn keep_better<T>(best: &mut Option<(Fit, T)>, fit: Fit, member: T) {
    if best.as_ref().is_none_or(|(known, _)| *known <= fit) {
        *best = Some((fit, member));
    }
}
