//! Rules of an index that the same key finds, in order; those that ask for first bytes also by these.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::rules::evidence::Evidence;
use crate::rules::rule::{Answer, Order, Rule, Settled};

/// The first rule found so far that does not deny a session, and whether it admits it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Best<'a> {
    found: Option<(&'a Arc<Rule>, Answer)>,
}

impl<'a> Best<'a> {
    /// The rule and its answer.
    pub(super) fn found(self) -> Option<(&'a Arc<Rule>, Answer)> {
        self.found
    }

    /// Whether a rule was found that comes no later than `order`.
    pub(super) fn precedes(&self, order: &Order) -> bool {
        self.found.is_some_and(|(rule, _)| rule.order <= *order)
    }

    /// Asks a rule, if it comes before what was found.
    fn ask(&mut self, entry: &'a Entry, evidence: &Evidence<'_>) {
        if self.precedes(&entry.rule.order) {
            return;
        }
        let answer = entry.rule.judge(evidence, entry.settled);
        if answer != Answer::No {
            self.found = Some((&entry.rule, answer));
        }
    }

    /// Asks rules that come in order, until one does not deny the session.
    fn ask_in_order(&mut self, entries: impl Iterator<Item = &'a Entry>, evidence: &Evidence<'_>) {
        for entry in entries {
            self.ask(entry, evidence);
            if self.precedes(&entry.rule.order) {
                return;
            }
        }
    }
}

/// Rules that the same key finds.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    /// Those that do not ask for first bytes, in order.
    plain: Vec<Entry>,
    /// Those that do, in order.
    asking: Vec<Entry>,
    /// The same by what they ask for, and then in order.
    patterns: Vec<(Arc<[u8]>, Entry)>,
    /// Lengths of the patterns, each with how many have it.
    lengths: SmallVec<[(usize, u32); 2]>,
}

#[derive(Clone, Debug)]
struct Entry {
    rule: Arc<Rule>,
    settled: Settled,
}

impl Bucket {
    /// Whether no rule is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.asking.is_empty()
    }

    /// Adds a rule.
    pub(super) fn insert(&mut self, rule: &Arc<Rule>, settled: Settled) {
        let entry = Entry { rule: Arc::clone(rule), settled };
        let list = if rule.starts_with.is_empty() { &mut self.plain } else { &mut self.asking };
        let at = list.partition_point(|other| other.rule.order < rule.order);
        // Two places of one rule may be the same one.
        if list.get(at).is_some_and(|other| other.rule.order == rule.order) {
            return;
        }
        list.insert(at, entry.clone());
        for pattern in &rule.starts_with {
            let key = (&**pattern, &rule.order);
            let at = self.patterns.partition_point(|(text, entry)| (&**text, &entry.rule.order) < key);
            self.patterns.insert(at, (Arc::clone(pattern), entry.clone()));
            self.count(pattern.len());
        }
    }

    /// Removes a rule.
    pub(super) fn remove(&mut self, rule: &Rule) {
        self.plain.retain(|entry| entry.rule.order != rule.order);
        if rule.starts_with.is_empty() || !self.asking.iter().any(|entry| entry.rule.order == rule.order) {
            return;
        }
        self.asking.retain(|entry| entry.rule.order != rule.order);
        self.patterns.retain(|(_, entry)| entry.rule.order != rule.order);
        for pattern in &rule.starts_with {
            self.lengths.iter_mut().filter(|(length, _)| *length == pattern.len()).for_each(|(_, n)| *n -= 1);
        }
        self.lengths.retain(|(_, count)| *count > 0);
    }

    /// Takes into `best` the first rule that does not deny the session, if it comes before.
    pub(super) fn search<'a>(&'a self, evidence: &Evidence<'_>, best: &mut Best<'a>) {
        best.ask_in_order(self.plain.iter(), evidence);
        if self.asking.is_empty() {
            return;
        }
        let bytes = evidence.bytes;
        if bytes.is_empty() {
            if !evidence.ended {
                best.ask_in_order(self.asking.iter(), evidence);
            }
            return;
        }
        for (length, _) in &self.lengths {
            if let Some(prefix) = bytes.get(..*length) {
                let from = self.patterns.partition_point(|(text, _)| **text < *prefix);
                let same = self.patterns.iter().skip(from).take_while(|(text, _)| **text == *prefix);
                best.ask_in_order(same.map(|(_, entry)| entry), evidence);
            }
        }
        if !evidence.ended {
            // What may still become a match follows right behind the bytes so far.
            let from = self.patterns.partition_point(|(text, _)| **text <= *bytes);
            let longer = self.patterns.iter().skip(from).take_while(|(text, _)| text.starts_with(bytes));
            longer.for_each(|(_, entry)| best.ask(entry, evidence));
        }
    }

    fn count(&mut self, length: usize) {
        match self.lengths.iter_mut().find(|(known, _)| *known == length) {
            Some((_, count)) => *count += 1,
            None => self.lengths.push((length, 1)),
        }
    }
}
