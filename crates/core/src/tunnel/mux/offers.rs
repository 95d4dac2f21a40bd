//! Which services either side of a carrier has for the other. What is to be told goes out in portions, as the carrier
//! takes them, and only what has changed: its memory is that of the names.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use qanat_wire::tunnel_frame::Scribe;

use super::{Mux, Wakes};

/// Bytes of offers that go out at once.
const PORTION: usize = 16 * 1024;
/// Names of the other side that are kept; others count as not offered.
const MOST_NAMES: usize = 65_536;

/// What both sides have offered.
#[derive(Default)]
pub(super) struct Offers {
    /// What the other side is to know of.
    wanted: HashSet<Arc<str>>,
    /// What it was told.
    told: HashSet<Arc<str>>,
    /// Names about which it may have to be told.
    due: VecDeque<Arc<str>>,
    /// What it offers; none if it does not tell.
    theirs: Option<HashSet<Arc<str>>>,
}

impl Offers {
    /// Appends frames about what has changed.
    pub(super) fn send(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        while out.len() - start < PORTION {
            let Some(name) = self.due.pop_front() else { return };
            match (self.wanted.contains(&name), self.told.contains(&name)) {
                (true, false) => {
                    Scribe(out).offer(&name);
                    self.told.insert(name);
                }
                (false, true) => {
                    Scribe(out).withdraw(&name);
                    self.told.remove(&name);
                }
                _ => {}
            }
        }
    }

    /// The other side has a service, or has it no more.
    pub(super) fn receive(&mut self, service: &str, is_offered: bool) {
        let Some(theirs) = &mut self.theirs else { return };
        if !is_offered {
            theirs.remove(service);
        } else if theirs.len() < MOST_NAMES {
            theirs.insert(service.into());
        }
    }
}

impl Mux {
    /// The service of a stream.
    pub(in super::super) fn service(&self, stream: u32) -> Option<Arc<str>> {
        self.streams.get(&stream).map(|state| Arc::clone(&state.service))
    }

    /// The other side says in its HELLO that it tells what it offers.
    pub(in super::super) fn expect_offers(&mut self) {
        self.offers.theirs.get_or_insert_default();
    }

    /// Has the other side know that these services are there, and no others.
    pub(in super::super) fn offer_all(&mut self, services: HashSet<Arc<str>>, wakes: &mut Wakes) {
        let offers = &mut self.offers;
        offers.due = services.symmetric_difference(&offers.told).cloned().collect();
        offers.wanted = services;
        if !offers.due.is_empty() {
            self.wake_task(wakes);
        }
    }

    /// Has the other side know whether a service is there.
    pub(in super::super) fn offer(&mut self, service: &Arc<str>, is_offered: bool, wakes: &mut Wakes) {
        let has_changed = if is_offered {
            self.offers.wanted.insert(Arc::clone(service))
        } else {
            self.offers.wanted.remove(service)
        };
        if has_changed {
            self.offers.due.push_back(Arc::clone(service));
            self.wake_task(wakes);
        }
    }

    /// Whether the other side has a service, as far as it tells.
    pub(in super::super) fn is_offered(&self, service: &str) -> bool {
        self.offers.theirs.as_ref().is_none_or(|theirs| theirs.contains(service))
    }

    /// What this side offers, and the other one if it tells.
    pub(in super::super) fn offered(&self) -> (&HashSet<Arc<str>>, Option<&HashSet<Arc<str>>>) {
        (&self.offers.wanted, self.offers.theirs.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use qanat_wire::tunnel_frame::{Frame, Progress, decode};

    use super::{Mux, Offers, PORTION};
    use crate::tunnel::mux::Wakes;

    fn names(count: usize) -> HashSet<Arc<str>> {
        (0..count).map(|number| format!("service-{number:0100}").into()).collect()
    }

    /// Sends all that is due from one to the other; returns the portions.
    fn exchange(from: &mut Offers, to: &mut Offers) -> Vec<usize> {
        let mut portions = Vec::new();
        loop {
            let mut out = Vec::new();
            from.send(&mut out);
            if out.is_empty() {
                return portions;
            }
            portions.push(out.len());
            let mut rest = out.as_slice();
            while let Progress::Complete { frame, consumed, .. } = decode(rest).unwrap() {
                match frame {
                    Frame::Offer(name) => to.receive(name, true),
                    Frame::Withdraw(name) => to.receive(name, false),
                    other => panic!("{other:?}"),
                }
                rest = &rest[consumed..];
            }
        }
    }

    #[test]
    fn many_offers_go_out_in_portions_and_only_changes_after_that() {
        let (mut here, mut there) = (Mux::new(true, 0), Mux::new(false, 0));
        there.expect_offers();
        here.offer_all(names(5000), &mut Wakes::new());
        let portions = exchange(&mut here.offers, &mut there.offers);
        assert!(portions.len() > 10);
        assert!(portions.iter().all(|portion| *portion < PORTION + 1024));
        assert_eq!(there.offered().1, Some(&names(5000)));
        here.offer_all(names(5001), &mut Wakes::new());
        assert_eq!(exchange(&mut here.offers, &mut there.offers).iter().sum::<usize>(), 8 + 108);
        here.offer_all(names(1), &mut Wakes::new());
        exchange(&mut here.offers, &mut there.offers);
        assert_eq!(there.offered().1, Some(&names(1)));
    }

    #[test]
    fn what_was_taken_back_before_it_was_told_is_not_told() {
        let (mut here, mut there) = (Mux::new(true, 0), Mux::new(false, 0));
        there.expect_offers();
        let web: Arc<str> = "web".into();
        here.offer(&web, true, &mut Wakes::new());
        here.offer(&web, false, &mut Wakes::new());
        assert!(exchange(&mut here.offers, &mut there.offers).is_empty());
        here.offer(&web, true, &mut Wakes::new());
        exchange(&mut here.offers, &mut there.offers);
        assert!(there.is_offered("web"));
        assert!(!there.is_offered("mail"));
    }

    #[test]
    fn whoever_does_not_tell_may_have_anything() {
        let mut there = Mux::new(false, 0);
        there.offers.receive("web", true);
        assert!(there.is_offered("mail"));
        assert_eq!(there.offered().1, None);
    }
}
