//! What a client has sent and its content handler has not taken: read ahead up to a bound, searched as it comes.

/// Bytes that are read ahead, unless a handler asks for more in one piece.
pub const INPUT_LIMIT: usize = 64 * 1024;
/// What a buffer keeps when it is empty.
const KEPT: usize = 4096;

/// Bytes of a client.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Where the bytes begin that were not taken.
    start: usize,
    end: Option<End>,
    wish: Option<Wish>,
}

/// How a client's bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It said so.
    Closed,
    /// The connection broke.
    Broken,
}

/// What a handler wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// What there is, at most so many bytes; nothing at the end.
    Any(usize),
    /// So many bytes.
    Exactly(usize),
    /// All up to a line feed, or the rest.
    Line,
    /// All up to the separator that ends first.
    Until(Vec<Vec<u8>>),
}

/// Why a want will not be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The client ended before.
    Ended,
    /// The connection broke.
    Broken,
    /// There is no separator in [`INPUT_LIMIT`] bytes.
    Full,
}

/// A want that waits, and how many of the bytes need not be searched again.
#[derive(Debug)]
struct Wish {
    want: Want,
    searched: usize,
}

impl Inbox {
    /// An inbox that begins with `early` bytes.
    pub(super) fn new(early: Vec<u8>) -> Self {
        Self { bytes: early, ..Self::default() }
    }

    /// What was not taken.
    pub fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Whether the client has ended, and everything was taken.
    pub fn is_at_end(&self) -> bool {
        self.end.is_some() && self.unread().is_empty()
    }

    /// How many of the bytes meet a want; none if they may still come, which is waited for then.
    ///
    /// # Errors
    /// Why they will not.
    pub fn look(&mut self, want: Want) -> Result<Option<usize>, Lack> {
        let mut wish = Wish { want, searched: 0 };
        let found = self.find(&mut wish)?;
        if found.is_none() {
            self.wish = Some(wish);
        }
        Ok(found)
    }

    /// Whether nothing more is read for want of room.
    pub fn is_full(&self) -> bool {
        self.end.is_none() && self.room() == 0
    }

    /// Waits no longer.
    pub fn give_up(&mut self) {
        self.wish = None;
    }

    /// Takes the first `count` bytes, or what there is of them, once `work` has seen them.
    pub fn take<R>(&mut self, count: usize, work: impl FnOnce(&[u8]) -> R) -> R {
        let unread = self.unread();
        let count = count.min(unread.len());
        let result = work(unread.get(..count).unwrap_or_default());
        self.start += count;
        if self.start == self.bytes.len() {
            self.start = 0;
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        }
        result
    }

    /// Gives bytes back, to be the first again.
    pub fn give_back(&mut self, bytes: &[u8]) {
        self.bytes.splice(..self.start, bytes.iter().copied());
        self.start = 0;
    }

    /// How many more bytes may be read now.
    pub(super) fn room(&self) -> usize {
        let limit = match &self.wish {
            Some(Wish { want: Want::Exactly(count), .. }) => INPUT_LIMIT.max(*count),
            _ => INPUT_LIMIT,
        };
        if self.end.is_some() { 0 } else { limit.saturating_sub(self.unread().len()) }
    }

    /// Adds what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Nothing more will come.
    pub(super) fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// True, once, if whoever waits is to look again.
    pub(super) fn settle(&mut self) -> bool {
        let Some(mut wish) = self.wish.take() else { return false };
        if let Ok(None) = self.find(&mut wish) {
            self.wish = Some(wish);
            return false;
        }
        true
    }

    fn find(&self, wish: &mut Wish) -> Result<Option<usize>, Lack> {
        let unread = self.unread();
        let found = match &wish.want {
            Want::Any(most) => (!unread.is_empty() || *most == 0).then_some(unread.len().min(*most)),
            Want::Exactly(count) => (unread.len() >= *count).then_some(*count),
            Want::Line => first_end(unread, &mut wish.searched, &[b"\n"]),
            Want::Until(separators) => first_end(unread, &mut wish.searched, separators),
        };
        match (found, self.end, &wish.want) {
            (Some(_), ..) => Ok(found),
            (None, Some(End::Broken), _) => Err(Lack::Broken),
            (None, Some(End::Closed), Want::Any(_) | Want::Line) => Ok(Some(unread.len())),
            (None, Some(End::Closed), _) => Err(Lack::Ended),
            (None, None, Want::Line | Want::Until(_)) if unread.len() >= INPUT_LIMIT => Err(Lack::Full),
            (None, None, _) => Ok(None),
        }
    }
}

/// Where the separator ends that ends first. What precedes `searched` holds none.
fn first_end(bytes: &[u8], searched: &mut usize, separators: &[impl AsRef<[u8]>]) -> Option<usize> {
    let rest = bytes.get(*searched..).unwrap_or_default();
    let ends = separators.iter().filter_map(|separator| {
        let separator = separator.as_ref();
        position(rest, separator).map(|at| at + separator.len())
    });
    if let Some(end) = ends.min() {
        return Some(*searched + end);
    }
    let longest = separators.iter().map(|separator| separator.as_ref().len()).max().unwrap_or(1);
    *searched = (bytes.len() + 1).saturating_sub(longest).max(*searched);
    None
}

fn position(bytes: &[u8], separator: &[u8]) -> Option<usize> {
    match separator {
        [] => Some(0),
        [byte] => memchr::memchr(*byte, bytes),
        separator => memchr::memmem::find(bytes, separator),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn until(separators: &[&str]) -> Want {
        Want::Until(separators.iter().map(|separator| separator.as_bytes().to_vec()).collect())
    }

    proptest! {
        /// However the bytes are cut into pieces, a separator is found where it first ends.
        #[test]
        fn pieces_change_nothing(
            text in "[ab-]{0,40}",
            separators in proptest::collection::vec("[ab-]{1,4}", 1..3),
            cuts in proptest::collection::vec(1..4_usize, 40),
        ) {
            let names: Vec<&str> = separators.iter().map(String::as_str).collect();
            let ends = names.iter().filter_map(|one| text.find(one).map(|at| at + one.len()));
            let expected = ends.min();
            let mut inbox = Inbox::new(Vec::new());
            let mut found = inbox.look(until(&names)).unwrap();
            let mut rest = text.as_bytes();
            for cut in cuts {
                let (piece, left) = rest.split_at(cut.min(rest.len()));
                rest = left;
                inbox.push(piece);
                if found.is_none() && inbox.settle() {
                    found = inbox.look(until(&names)).unwrap();
                }
            }
            inbox.push(rest);
            if found.is_none() && inbox.settle() {
                found = inbox.look(until(&names)).unwrap();
            }
            // A later piece may hold a shorter separator that ends before one that was seen whole earlier: never.
            prop_assert_eq!(found, expected);
        }

        /// Taking and giving back in any order loses nothing.
        #[test]
        fn no_byte_is_lost(pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..9), 0..12_usize), 0..40)) {
            let mut inbox = Inbox::new(b"early".to_vec());
            let (mut sent, mut taken) = (b"early".to_vec(), Vec::new());
            for (piece, count) in pieces {
                sent.extend_from_slice(&piece);
                inbox.push(&piece);
                let got = inbox.take(count, <[u8]>::to_vec);
                let kept = got.len() / 2;
                inbox.give_back(&got[kept..]);
                taken.extend_from_slice(&got[..kept]);
            }
            inbox.take(usize::MAX, |rest| taken.extend_from_slice(rest));
            prop_assert_eq!(taken, sent);
        }
    }

    #[test]
    fn an_end_settles_what_waits() {
        let mut inbox = Inbox::new(b"ab".to_vec());
        assert_eq!(inbox.look(Want::Exactly(3)), Ok(None));
        assert!(!inbox.settle());
        inbox.finish(End::Closed);
        assert!(inbox.settle());
        assert_eq!(inbox.look(Want::Exactly(3)), Err(Lack::Ended));
        assert_eq!(inbox.look(Want::Line), Ok(Some(2)));
        assert_eq!(inbox.look(Want::Any(1)), Ok(Some(1)));
        inbox.take(2, |_| ());
        assert_eq!(inbox.look(Want::Any(1)), Ok(Some(0)));
        assert!(inbox.is_at_end());
    }

    #[test]
    fn reading_ahead_is_bounded_unless_more_is_asked_for() {
        let mut inbox = Inbox::new(vec![b'x'; INPUT_LIMIT]);
        assert_eq!(inbox.room(), 0);
        assert_eq!(inbox.look(Want::Line), Err(Lack::Full));
        assert_eq!(inbox.look(until(&["ab", "\n"])), Err(Lack::Full));
        assert_eq!(inbox.look(Want::Exactly(INPUT_LIMIT + 7)), Ok(None));
        assert_eq!(inbox.room(), 7);
        inbox.give_up();
        assert_eq!(inbox.room(), 0);
    }
}
