//! Finds the rules that can match a session without asking all: rules of one shape (prefix length of the network, port
//! or none, labels of the name) lie in a hash map by what such a rule says, so that one look per shape is enough.
//!
//! This is tuple space search, with shapes whose best rule comes too late passed over. Maps are persistent: a change
//! costs what changes.

use std::net::IpAddr;
use std::sync::Arc;

use imbl::{HashMap, OrdSet};

use crate::plan::network::Network;
use crate::rules::bucket::{Best, Bucket};
use crate::rules::evidence::{Evidence, Hello};
use crate::rules::rule::{Name, Order, Rule, Settled};

/// Conditions that a rule is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Client, port and name.
    Everything,
    /// Client and port: what is known before the client has said anything.
    Addresses,
}

/// Rules by shape.
#[derive(Clone)]
pub(super) struct Index {
    by: By,
    spaces: Vec<Space>,
}

/// Rules of one shape.
#[derive(Clone)]
struct Space {
    shape: Shape,
    orders: OrdSet<Order>,
    buckets: HashMap<Key, Arc<Bucket>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    source: SourceShape,
    port: bool,
    name: NameShape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceShape {
    Any,
    Unix,
    V4(u32),
    V6(u128),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameShape {
    Any,
    Exact,
    /// So many labels at the end, and more before.
    Leading(usize),
    /// So many labels at the beginning, and more behind.
    Trailing(usize),
}

/// What rules of a shape say, each part empty where the shape does not ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Key {
    source: u128,
    port: u16,
    name: String,
}

impl Index {
    /// An empty index.
    pub(super) fn new(by: By) -> Self {
        Self { by, spaces: Vec::new() }
    }

    /// Whether no rule is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.spaces.is_empty()
    }

    /// Adds a rule.
    pub(super) fn insert(&mut self, rule: &Arc<Rule>) {
        let (places, settled) = places(rule, self.by);
        for (shape, key) in places {
            let space = self.space(shape);
            space.orders.insert(rule.order.clone());
            Arc::make_mut(space.buckets.entry(key).or_default()).insert(rule, settled);
        }
        self.sort();
    }

    /// Removes a rule that was added.
    pub(super) fn remove(&mut self, rule: &Rule) {
        let (places, _) = places(rule, self.by);
        for (shape, key) in places {
            let space = self.space(shape);
            space.orders.remove(&rule.order);
            if let Some(bucket) = space.buckets.get_mut(&key) {
                let bucket = Arc::make_mut(bucket);
                bucket.remove(rule);
                if bucket.is_empty() {
                    space.buckets.remove(&key);
                }
            }
        }
        self.spaces.retain(|space| !space.orders.is_empty());
        self.sort();
    }

    /// Takes into `best` the first rule that does not deny the session, if it comes before.
    pub(super) fn search<'a>(&'a self, evidence: &Evidence<'_>, best: &mut Best<'a>) {
        let mut key = Key::default();
        for space in &self.spaces {
            if space.orders.get_min().is_some_and(|first| best.precedes(first)) {
                // Sorted: all that follow come later still.
                break;
            }
            if space.shape.read(evidence, &mut key)
                && let Some(bucket) = space.buckets.get(&key)
            {
                bucket.search(evidence, best);
            }
        }
    }

    fn space(&mut self, shape: Shape) -> &mut Space {
        let at = self.spaces.iter().position(|space| space.shape == shape).unwrap_or_else(|| {
            self.spaces.push(Space { shape, orders: OrdSet::new(), buckets: HashMap::new() });
            self.spaces.len() - 1
        });
        &mut self.spaces[at]
    }

    fn sort(&mut self) {
        if !self.spaces.is_sorted_by(|one, next| one.orders.get_min() <= next.orders.get_min()) {
            self.spaces.sort_by(|one, next| one.orders.get_min().cmp(&next.orders.get_min()));
        }
    }
}

impl Shape {
    /// Makes the key under which rules of this shape admit a session; false if none can.
    fn read(self, evidence: &Evidence<'_>, key: &mut Key) -> bool {
        let source = match (self.source, evidence.source) {
            (SourceShape::Any, _) | (SourceShape::Unix, None) => Some(0),
            (SourceShape::V4(mask), Some(IpAddr::V4(ip))) => Some(u128::from(ip.to_bits() & mask)),
            (SourceShape::V6(mask), Some(IpAddr::V6(ip))) => Some(ip.to_bits() & mask),
            _ => None,
        };
        let port = if self.port { evidence.port } else { Some(0) };
        let name = match (self.name, &evidence.hello) {
            (NameShape::Any, _) => Some(""),
            (shape, Hello::Seen(names)) => shape.part(&names.server),
            _ => None,
        };
        let (Some(source), Some(port), Some(name)) = (source, port, name) else { return false };
        key.source = source;
        key.port = port;
        key.name.clear();
        key.name.push_str(name);
        true
    }
}

impl NameShape {
    /// The part of a name that rules of this shape speak of.
    fn part(self, server: &str) -> Option<&str> {
        match self {
            Self::Any => Some(""),
            Self::Exact => Some(server).filter(|server| !server.is_empty()),
            Self::Leading(labels) => {
                server.rmatch_indices('.').nth(labels - 1).and_then(|(at, _)| server.get(at + 1..))
            }
            Self::Trailing(labels) => {
                server.match_indices('.').nth(labels - 1).and_then(|(at, _)| server.get(..at))
            }
        }
    }
}

/// Where a rule belongs, and which conditions hold for whoever finds it there. Each combination of alternatives has a
/// place; a rule that has too many of them is asked about some of its conditions instead.
fn places(rule: &Rule, by: By) -> (Vec<(Shape, Key)>, Settled) {
    let most = 64 + 4 * (rule.names.len() + rule.source.len() + rule.port.len());
    let names: Vec<_> = rule.names.iter().filter_map(shape_of_name).collect();
    let mut count = 1;
    let mut takes = |alternatives: usize, possible: bool| {
        let taken = possible && alternatives > 0 && count * alternatives <= most;
        count *= if taken { alternatives } else { 1 };
        taken
    };
    let settled = Settled {
        name: takes(names.len(), by == By::Everything && names.len() == rule.names.len()),
        source: takes(rule.source.len(), true),
        port: takes(rule.port.len(), rule.port.iter().all(|range| range.first == range.last)),
    };
    let any_name = [(NameShape::Any, String::new())];
    let any_source = [(SourceShape::Any, 0)];
    let sources: Vec<_> = rule.source.iter().map(shape_of_network).collect();
    let names = if settled.name { names.as_slice() } else { &any_name };
    let sources = if settled.source { sources.as_slice() } else { &any_source };
    let ports: Vec<_> = rule.port.iter().map(|range| range.first).collect();
    let ports = if settled.port { ports.as_slice() } else { &[0] };
    let mut places = Vec::with_capacity(count);
    for (name_shape, name) in names {
        for (source_shape, source) in sources {
            for port in ports {
                let shape = Shape { source: *source_shape, port: settled.port, name: *name_shape };
                places.push((shape, Key { source: *source, port: *port, name: name.clone() }));
            }
        }
    }
    (places, settled)
}

fn shape_of_network(network: &Network) -> (SourceShape, u128) {
    match *network {
        Network::All => (SourceShape::Any, 0),
        Network::Unix => (SourceShape::Unix, 0),
        Network::V4 { address, mask } => (SourceShape::V4(mask), address.into()),
        Network::V6 { address, mask } => (SourceShape::V6(mask), address),
    }
}

fn shape_of_name(name: &Name) -> Option<(NameShape, String)> {
    let labels = |text: &str| text.matches('.').count() + 1;
    match name {
        Name::Exact(text) => Some((NameShape::Exact, text.to_string())),
        Name::Leading(text) => Some((NameShape::Leading(labels(text)), text.to_string())),
        Name::Trailing(text) => Some((NameShape::Trailing(labels(text)), text.to_string())),
        Name::Pattern(_) => None,
    }
}
