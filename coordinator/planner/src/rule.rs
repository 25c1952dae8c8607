//! A runbook's own rules, held against a request. Whoever is refused reads the runbook's sentence and the values that were seen.

use baton_model::{
    expression::{Expression, Scope, render},
    outcome::Fault,
    runbook::{Rule, Runbook},
};
use serde_json::Value;

use crate::request::Request;

/// The longest value that a refusal shows.
const SEEN_CHARS_MAX: usize = 120;

/// Why a rule does not hold: the runbook's sentence. `None` where it holds.
pub(crate) fn broken(rule: &Rule, scope: &Scope) -> Option<String> {
    match Expression::parse(&rule.expect).and_then(|expression| expression.holds(scope)) {
        Ok(true) => None,
        Ok(false) => Some(sentence(rule, scope)),
        Err(error) => Some(format!("the rule in line {} has no answer: {error}", rule.line)),
    }
}

/// `require`: everything that does not hold, at once.
pub(crate) fn required(runbook: &Runbook, request: &Request, scope: &Scope) -> Result<(), Fault> {
    let mut scope = scope.clone();
    if let Some(members) = scope.get("group").and_then(|group| group.get("members")).cloned() {
        scope.insert("members".to_owned(), members);
    }
    let rules = runbook.require.iter().filter(|rule| !overridden(rule, request));
    let failing: Vec<(&Rule, String)> = rules.filter_map(|rule| Some((rule, broken(rule, &scope)?))).collect();
    if failing.is_empty() {
        return Ok(());
    }
    let told: Vec<String> =
        failing.iter().map(|(rule, why)| format!("{why} ({})", with_values(rule, &scope))).collect();
    let guards: Vec<&str> = failing.iter().filter_map(|(rule, _)| rule.guard.as_deref()).collect();
    Err(Fault::new(
        "BTN-0139",
        format!("runbook {} requires what is not so: {}.", runbook.name, told.join("; ")),
        match guards.len() == failing.len() {
            true => format!("Ask for something else, or {}.", override_words(&guards)),
            false => "Ask for something else; this cannot be overridden.".to_owned(),
        },
    ))
}

/// The operator has overridden it for this run.
pub(crate) fn overridden(rule: &Rule, request: &Request) -> bool {
    rule.guard.as_ref().is_some_and(|guard| request.overrides.contains_key(guard))
}

/// `override with --override a=REASON --override b=REASON`.
pub(crate) fn override_words(guards: &[&str]) -> String {
    let mut named: Vec<String> = guards.iter().map(|guard| format!("--override {guard}=REASON")).collect();
    named.sort();
    named.dedup();
    format!("override with {}", named.join(" "))
}

/// What the runbook says where the rule does not hold; where that cannot be said (a member has no site), the rule itself.
fn sentence(rule: &Rule, scope: &Scope) -> String {
    match render(&Value::String(rule.because.clone()), scope, &Default::default()) {
        Ok(rendered) => match rendered.value {
            Value::String(text) => text,
            other => other.to_string(),
        },
        Err(_) => format!("it does not hold that {}", with_values(rule, scope)),
    }
}

/// `hosts[s].site == new.site; new.site is "east"`.
fn with_values(rule: &Rule, scope: &Scope) -> String {
    let Ok(expression) = Expression::parse(&rule.expect) else { return rule.expect.clone() };
    // A root alone is the whole group or all of its hosts.
    let paths = expression.paths().into_iter().filter(|path| path.len() > 1);
    let seen: Vec<String> = paths
        .filter_map(|path| {
            let path = path.join(".");
            let value = Expression::parse(&path).ok()?.evaluate(scope).ok()?.to_string();
            let short: String = value.chars().take(SEEN_CHARS_MAX).collect();
            let more = if short.len() < value.len() { "…" } else { "" };
            Some(format!("{path} is {short}{more}"))
        })
        .collect();
    if seen.is_empty() { rule.expect.clone() } else { format!("{}; {}", rule.expect, seen.join(", ")) }
}
