//! Tables of rules in a change: the tables first, then rules that go, then those that come.

use std::sync::Arc;

use qanat_plan as spec;

use crate::error::ApplyError;
use crate::plan::Plan;
use crate::plan::link::LinkError;
use crate::rules::rule::Action;
use crate::rules::table::Table;

/// Makes the changes of tables and rules; the upstreams that they pass to are there already.
pub(super) fn change(next: &mut Plan, change: &spec::ChangeSet) -> Result<(), ApplyError> {
    for table in &change.put.rule_tables {
        let put = put_table(next, table);
        put.map_err(|error| error.of("rule_tables", &table.name, &table.origin))?;
    }
    for id in &change.remove.rules {
        if let Some((table, name)) = id.split_once('/')
            && let Some(table) = next.rules.get_mut(table)
        {
            Arc::make_mut(table).remove(name);
        }
    }
    for rule in &change.put.rules {
        put_rule(next, rule).map_err(|error| error.of("rules", &rule.id, &rule.origin))?;
    }
    Ok(())
}

/// Adds a table without rules, or changes the default of one.
fn put_table(next: &mut Plan, table: &spec::RuleTable) -> Result<(), LinkError> {
    check_action(next, "default", &table.default)?;
    match next.rules.get_mut(table.name.as_str()) {
        Some(known) => Arc::make_mut(known).default = Action::link(&table.default),
        None => drop(next.rules.insert(table.name.as_str().into(), Arc::new(Table::link(table)))),
    }
    Ok(())
}

fn put_rule(next: &mut Plan, rule: &spec::Rule) -> Result<(), LinkError> {
    check_action(next, "action", &rule.action)?;
    let table = rule.id.split_once('/').and_then(|(table, _name)| next.rules.get_mut(table));
    let table = table.ok_or_else(|| LinkError::new("id", format!("no table for rule \"{}\"", rule.id)))?;
    Arc::make_mut(table).put(rule)
}

fn check_action(plan: &Plan, field: &str, action: &spec::RuleAction) -> Result<(), LinkError> {
    match action {
        spec::RuleAction::Pass { upstream } if !plan.upstreams.contains_key(upstream.as_str()) => {
            Err(LinkError::new(field, format!("no upstream \"{upstream}\"")))
        }
        _ => Ok(()),
    }
}
