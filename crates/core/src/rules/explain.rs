//! Which rule would decide a session that might come, and why those before it do not.

use qanat_plan::{RuleAction, RuleQuery, RuleVerdict};

use crate::rules::evidence::{Evidence, Hello, Names};
use crate::rules::rule::Action;
use crate::rules::table::{Decision, Table};

/// How many rules that were passed over are told.
const MOST_TOLD: usize = 100;

/// Asks a table about a session.
pub fn explain(table: &Table, query: &RuleQuery) -> RuleVerdict {
    let waiting = evidence(query, false);
    let evidence = evidence(query, true);
    let decided = match table.decide(&evidence) {
        Decision::Rule(rule) => Some(rule),
        Decision::Default | Decision::NeedsMore => None,
    };
    let mut before: Vec<_> = table.rules.values().collect();
    before.retain(|rule| decided.is_none_or(|decided| rule.order < decided.order));
    before.sort_by(|one, other| one.order.cmp(&other.order));
    let passed_over = before.into_iter().take(MOST_TOLD).map(|rule| {
        let condition = rule.denied_by(&evidence).unwrap_or_default();
        (rule.order.name.to_string(), condition.to_owned())
    });
    RuleVerdict {
        rule: decided.map(|rule| rule.order.name.to_string()),
        action: describe(decided.map_or(&table.default, |rule| &rule.action)),
        waits: matches!(table.decide(&waiting), Decision::NeedsMore),
        passed_over: passed_over.collect(),
    }
}

fn evidence(query: &RuleQuery, ended: bool) -> Evidence<'_> {
    let names = query.sni.is_some() || !query.alpn.is_empty();
    let hello = if names || query.tls == Some(true) {
        let protocols = query.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        Hello::Seen(Names::new(query.sni.as_deref().unwrap_or_default(), protocols))
    } else if query.tls == Some(false) {
        Hello::Absent
    } else {
        Hello::read(&query.first_bytes, ended)
    };
    let source = query.source.parse().ok().map(|ip: std::net::IpAddr| ip.to_canonical());
    Evidence { source, port: query.port, bytes: &query.first_bytes, hello, ended }
}

fn describe(action: &Action) -> RuleAction {
    match action {
        Action::Pass(upstream) => RuleAction::Pass { upstream: upstream.to_string() },
        Action::Reject(status) => RuleAction::Reject { status: *status },
    }
}
