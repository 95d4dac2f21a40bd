//! What holds the streams of a carrier back: the limits that they share, and how far their windows may grow.

use std::sync::Arc;
use std::task::Waker;

use super::budget::{Budget, Windows};
use super::gate::{CarrierRates, ServiceRates};
use super::lines::{Ask, Lines, Way};
use super::state::State;
use super::{Mux, Wakes};
use crate::clock::Instant;

/// Windows of a tunnel, or of a node that says nothing else, together.
const UNLIMITED: u64 = u64::MAX;

/// The limits of a carrier.
pub(super) struct Limits {
    rates: CarrierRates,
    pub(super) lines: Lines,
    pub(super) windows: Windows,
    /// How often a stream has had to wait in a line.
    pub(super) held: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let budget = || Arc::new(Budget::new(UNLIMITED));
        Self {
            rates: CarrierRates::default(),
            lines: Lines::default(),
            windows: Windows::new(budget(), budget()),
            held: 0,
        }
    }
}

impl Limits {
    /// How many of the bytes that are asked for may go now. None if the stream waits from now on.
    pub(super) fn pass(&mut self, ask: Ask, state: &mut State, now: Instant) -> Option<usize> {
        let waited = self.lines.len();
        let passed = state.gates.pass(ask, &self.rates, &mut self.lines, now);
        self.held += u64::from(self.lines.len() > waited);
        passed
    }

    /// Whether nothing limits what a stream sends.
    pub(super) fn is_free(&self, state: &State) -> bool {
        state.gates.is_free(Way::Send, &self.rates)
    }
}

impl Mux {
    /// The carrier belongs to somebody, before it has streams.
    pub(in super::super) fn belong(&mut self, rates: CarrierRates, budgets: (Arc<Budget>, Arc<Budget>)) {
        self.limits.rates = rates;
        self.limits.windows = Windows::new(budgets.0, budgets.1);
    }

    /// A stream is one of this service.
    pub(in super::super) fn limit(&mut self, stream: u32, service: Arc<ServiceRates>) {
        if let Some(state) = self.streams.get_mut(&stream) {
            state.gates.belong(service);
        }
    }

    /// When limits let somebody go on: by then this has to be called again. Those who may go on now do. The task is
    /// woken if that moment comes nearer.
    pub(in super::super) fn poll_due(
        &mut self,
        task: &Waker,
        now: Instant,
        wakes: &mut Wakes,
    ) -> Option<Instant> {
        self.let_go(now, wakes);
        if !self.alarm.as_ref().is_some_and(|alarm| alarm.will_wake(task)) {
            self.alarm = Some(task.clone());
        }
        self.limits.lines.due()
    }

    /// Rates have changed: whoever waits is looked at again.
    pub(in super::super) fn review_limits(&mut self, now: Instant, wakes: &mut Wakes) {
        if self.limits.lines.len() > 0 {
            self.streams.values_mut().for_each(|state| state.gates.follow(now));
            self.limits.lines.review(now);
            wakes.extend(self.alarm.take());
        }
    }

    /// Lets those go on whose time has come.
    pub(super) fn let_go(&mut self, now: Instant, wakes: &mut Wakes) {
        while let Some((ask, grant)) = self.limits.lines.next(now) {
            let Some(state) = self.streams.get_mut(&ask.stream) else { continue };
            state.gates.go_on(ask.way, grant);
            match ask.way {
                Way::Send => self.make_ready(ask.stream, wakes),
                Way::Receive => wakes.extend(state.inbound.reading.take()),
            }
        }
    }
}
