//! A table of rules: which one decides a session, or whether more of its bytes are needed to say.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use imbl::HashMap;
use qanat_plan as spec;

use crate::plan::link::LinkError;
use crate::rules::bucket::Best;
use crate::rules::evidence::{Evidence, Hello};
use crate::rules::index::{By, Index};
use crate::rules::rule::{Action, Answer, Rule};

/// A table of rules.
#[derive(Clone)]
pub struct Table {
    /// What happens to a session that no rule matches.
    pub default: Action,
    /// Sessions that no rule matched.
    pub unmatched: Arc<AtomicU64>,
    /// By name.
    pub rules: HashMap<Arc<str>, Arc<Rule>>,
    every: Index,
    /// Those that ask for a `ClientHello`: until it is known they cannot be found by its names.
    asking: Index,
}

/// What is decided about a session.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'a> {
    /// This rule matches, and none before it can.
    Rule(&'a Arc<Rule>),
    /// No rule matches.
    Default,
    /// A rule may match that comes before all others which do.
    NeedsMore,
}

impl Table {
    /// A table without rules.
    pub fn link(table: &spec::RuleTable) -> Self {
        Self {
            default: Action::link(&table.default),
            unmatched: Arc::default(),
            rules: HashMap::new(),
            every: Index::new(By::Everything),
            asking: Index::new(By::Addresses),
        }
    }

    /// Adds a rule, or replaces the one of its name and keeps its count.
    ///
    /// # Errors
    /// The field that cannot be read.
    pub fn put(&mut self, rule: &spec::Rule) -> Result<(), LinkError> {
        let name = rule.id.split_once('/').map_or(rule.id.as_str(), |(_table, name)| name);
        let known = self.rules.get(name).map(|known| Arc::clone(&known.decided));
        let linked = Arc::new(Rule::link(rule, known.unwrap_or_default())?);
        self.remove(name);
        self.every.insert(&linked);
        if linked.needs_hello() {
            self.asking.insert(&linked);
        }
        self.rules.insert(Arc::clone(&linked.order.name), linked);
        Ok(())
    }

    /// Removes a rule, if it is there.
    pub fn remove(&mut self, name: &str) {
        let Some(rule) = self.rules.remove(name) else { return };
        self.every.remove(&rule);
        if rule.needs_hello() {
            self.asking.remove(&rule);
        }
    }

    /// Whether any rule needs a `ClientHello`, which is then worth looking for.
    pub fn needs_hello(&self) -> bool {
        !self.asking.is_empty()
    }

    /// The first rule that matches, unless one before it may match once more is known.
    pub fn decide(&self, evidence: &Evidence<'_>) -> Decision<'_> {
        let mut best = Best::default();
        self.every.search(evidence, &mut best);
        if evidence.hello == Hello::Unknown {
            self.asking.search(evidence, &mut best);
        }
        match best.found() {
            Some((rule, Answer::Yes)) => Decision::Rule(rule),
            Some(_) => Decision::NeedsMore,
            None => Decision::Default,
        }
    }
}
