//! What a client has sent and no handler has taken: read ahead by the worker, looked at and taken by handlers. Whatever
//! is left of it goes to the peer.

use crate::phase::datagrams::LARGEST;

/// Bytes of a client.
#[derive(Debug)]
pub struct Input {
    bytes: Vec<u8>,
    /// Where the bytes begin that were not taken.
    start: usize,
    limit: usize,
    end: Option<End>,
    timed_out: bool,
}

/// How a client's bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It said so.
    Closed,
    /// The connection broke.
    Broken,
    /// It was one datagram, to which nothing is added.
    Whole,
}

/// Why a wish cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The client ended before.
    Ended,
    /// `preread_buffer_size` is not enough.
    Full,
    /// The client was silent for `preread_timeout`.
    TimedOut,
}

/// What a handler waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// So many bytes.
    Bytes(usize),
    /// A separator.
    Separator(Box<[u8]>),
}

impl Input {
    /// Input that begins with `early` bytes and holds no more than `limit`.
    pub fn new(early: Vec<u8>, limit: usize) -> Self {
        Self { bytes: early, start: 0, limit, end: None, timed_out: false }
    }

    /// A datagram: all of it is here.
    pub(super) fn datagram(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0, limit: LARGEST, end: Some(End::Whole), timed_out: false }
    }

    /// What was not taken.
    pub fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// How the bytes ended, if they did.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// How many more bytes may be read ahead.
    pub fn room(&self) -> usize {
        if self.end.is_some() { 0 } else { self.limit.saturating_sub(self.unread().len()) }
    }

    /// The end of the bytes that `wish` means: as many as there are to be, or past the separator. None if they may
    /// still come.
    ///
    /// # Errors
    /// Why they will not.
    pub fn find(&mut self, wish: &Wish) -> Result<Option<usize>, Lack> {
        let unread = self.unread();
        let found = match wish {
            Wish::Bytes(count) => (unread.len() >= *count).then_some(*count),
            Wish::Separator(separator) => position(unread, separator).map(|at| at + separator.len()),
        };
        if found.is_some() {
            return Ok(found);
        }
        let never = matches!(wish, Wish::Bytes(count) if *count > self.limit.max(unread.len()));
        if (never && self.end != Some(End::Whole)) || (self.room() == 0 && self.end.is_none()) {
            return Err(Lack::Full);
        }
        if self.end.is_some() {
            return Err(Lack::Ended);
        }
        if std::mem::take(&mut self.timed_out) {
            return Err(Lack::TimedOut);
        }
        Ok(None)
    }

    /// Whether it makes sense to look again: the wish is met, or never will be.
    pub fn settles(&self, wish: &Wish) -> bool {
        let unread = self.unread();
        let met = match wish {
            Wish::Bytes(count) => unread.len() >= *count,
            Wish::Separator(separator) => position(unread, separator).is_some(),
        };
        met || self.room() == 0
    }

    /// Takes the first `count` bytes, or what there is of them.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let taken: Vec<u8> = self.unread().iter().take(count).copied().collect();
        self.start += taken.len();
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
        taken
    }

    /// Gives bytes back, to be the first again. False if that would be more than twice the limit, or than a datagram
    /// can be.
    pub fn give_back(&mut self, bytes: &[u8]) -> bool {
        let most = if self.end == Some(End::Whole) { self.limit } else { self.limit.saturating_mul(2) };
        if self.unread().len() + bytes.len() > most {
            return false;
        }
        self.bytes.splice(..self.start, bytes.iter().copied());
        self.start = 0;
        true
    }

    /// Adds what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn finish(&mut self, end: End) {
        self.end = Some(end);
    }

    pub(super) fn time_out(&mut self) {
        self.timed_out = true;
    }

    /// All that is left, for the peer.
    pub(super) fn into_rest(mut self) -> Vec<u8> {
        self.bytes.drain(..self.start);
        self.bytes
    }
}

fn position(bytes: &[u8], separator: &[u8]) -> Option<usize> {
    match separator {
        [] => Some(0),
        [byte] => bytes.iter().position(|one| one == byte),
        separator => bytes.windows(separator.len()).position(|window| window == separator),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Arrive(Vec<u8>),
        Look(usize),
        Take(usize),
        TakeAndGiveBack(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(Step::Arrive),
            (0..30_usize).prop_map(Step::Look),
            (0..30_usize).prop_map(Step::Take),
            (0..30_usize).prop_map(Step::TakeAndGiveBack),
        ];
        proptest::collection::vec(step, 0..40)
    }

    proptest! {
        /// Looking, taking and giving back in any order loses nothing and changes no order.
        #[test]
        fn no_byte_is_lost(steps in steps()) {
            let mut input = Input::new(Vec::new(), 4096);
            let (mut sent, mut taken) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Arrive(bytes) => {
                        sent.extend_from_slice(&bytes);
                        input.push(&bytes);
                    }
                    Step::Look(count) => {
                        if let Ok(Some(end)) = input.find(&Wish::Bytes(count)) {
                            prop_assert_eq!(&input.unread()[..end], &sent[taken.len()..taken.len() + count]);
                        }
                    }
                    Step::Take(count) => taken.extend(input.take(count)),
                    Step::TakeAndGiveBack(count) => {
                        let bytes = input.take(count);
                        prop_assert!(input.give_back(&bytes));
                    }
                }
            }
            taken.extend(input.into_rest());
            prop_assert_eq!(taken, sent);
        }

        #[test]
        fn a_separator_is_found_where_it_first_ends(text in "[ab]{0,20}", separator in "[ab]{1,3}") {
            let mut input = Input::new(text.clone().into_bytes(), 64);
            let wish = Wish::Separator(separator.as_bytes().into());
            let expected = text.find(&separator).map(|at| at + separator.len());
            prop_assert_eq!(input.find(&wish), Ok(expected));
        }
    }

    #[test]
    fn a_lack_says_why() {
        let mut input = Input::new(b"abc".to_vec(), 4);
        assert_eq!(input.find(&Wish::Bytes(4)), Ok(None));
        assert_eq!(input.find(&Wish::Bytes(5)), Err(Lack::Full));
        input.time_out();
        assert_eq!(input.find(&Wish::Bytes(4)), Err(Lack::TimedOut));
        assert_eq!(input.find(&Wish::Bytes(4)), Ok(None));
        input.finish(End::Closed);
        assert_eq!(input.find(&Wish::Bytes(4)), Err(Lack::Ended));
        assert_eq!(input.find(&Wish::Bytes(3)), Ok(Some(3)));
    }

    #[test]
    fn nothing_is_added_to_a_datagram() {
        let mut input = Input::datagram(b"abcd".to_vec());
        assert_eq!(input.room(), 0);
        assert_eq!(input.find(&Wish::Bytes(4)), Ok(Some(4)));
        assert_eq!(input.find(&Wish::Bytes(5)), Err(Lack::Ended));
        assert_eq!(input.find(&Wish::Bytes(100_000)), Err(Lack::Ended));
        assert_eq!(input.find(&Wish::Separator(b"\n".as_slice().into())), Err(Lack::Ended));
        assert!(!input.give_back(&vec![0; LARGEST]));
    }

    #[test]
    fn a_full_buffer_is_no_separator() {
        let mut input = Input::new(b"abcd".to_vec(), 4);
        let wish = Wish::Separator(b"\n".as_slice().into());
        assert!(input.settles(&wish));
        assert_eq!(input.find(&wish), Err(Lack::Full));
    }
}
