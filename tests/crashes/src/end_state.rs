//! What the outside world says when a run is over: facts by name, comparable, with a difference that a person can read.
//!
//! Apart because this alone decides whether a cell is green. It must never hold what Baton's own records say of a run, and nothing
//! is loosened but by a [`Loose`], which says why.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use serde::{Deserialize, Serialize};

/// Facts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndState(BTreeMap<String, String>);

/// What may differ where a database died, and why that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loose {
    /// The beginning of the facts' names.
    pub facts: &'static str,
    pub rule: Rule,
    pub because: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A count that may be higher, and not lower.
    AtLeast,
    /// A count that may be higher by as much as is noted as this, and not lower.
    MoreBy(&'static str),
    /// Is noted for another rule, and not compared.
    Noted,
    /// The undisturbed run's, or one of these.
    Or(&'static [&'static str]),
    /// Where the undisturbed run's is the one, the other.
    Instead { of: &'static str, is: &'static str },
}

impl Loose {
    fn allows(&self, wanted: &str, found: &str, state: &EndState) -> bool {
        let more = |at_most: u64| match (wanted.parse::<u64>(), found.parse::<u64>()) {
            (Ok(wanted), Ok(found)) => found >= wanted && found - wanted <= at_most,
            _ => false,
        };
        match self.rule {
            Rule::AtLeast => more(u64::MAX),
            Rule::MoreBy(fact) => more(state.get(fact).and_then(|by| by.parse().ok()).unwrap_or(0)),
            Rule::Noted => true,
            Rule::Or(others) => others.contains(&found),
            Rule::Instead { of, is } => wanted == of && found == is,
        }
    }
}

impl EndState {
    /// # Panics
    /// When a fact is noted twice: one of them would be lost.
    pub fn note(&mut self, fact: impl Into<String>, value: impl Display) {
        let (fact, value) = (fact.into(), value.to_string());
        if let Some(earlier) = self.0.insert(fact.clone(), value) {
            panic!("the fact {fact:?} was noted already: {earlier}");
        }
    }

    /// How often something happened, for each that happened at all.
    pub fn count(&mut self, names: impl IntoIterator<Item = String>) {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
        counts.into_iter().for_each(|(name, count)| self.note(name, count));
    }

    pub fn get(&self, fact: &str) -> Option<&str> {
        self.0.get(fact).map(String::as_str)
    }

    pub fn facts(&self) -> usize {
        self.0.len()
    }

    /// Where this is not as `wanted`, a line each. What never happened counts as 0 to a rule on counts, and to nothing else.
    pub fn differences(&self, wanted: &Self, loose: &[Loose]) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.keys().chain(wanted.0.keys()).collect();
        let differs = |name: &&String| {
            let (wanted, found) = (wanted.0.get(*name), self.0.get(*name));
            let or_none = |value: Option<&String>| value.map_or("0", String::as_str).to_owned();
            let allowed = loose
                .iter()
                .filter(|one| name.starts_with(one.facts))
                .any(|one| one.allows(&or_none(wanted), &or_none(found), self));
            wanted != found && !allowed
        };
        let told = |value: Option<&String>| value.map_or("not there".to_owned(), |value| format!("{value:?}"));
        names
            .into_iter()
            .filter(differs)
            .map(|name| format!("{name}: {}, undisturbed {}", told(self.0.get(name)), told(wanted.0.get(name))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(facts: &[(&str, &str)]) -> EndState {
        let mut state = EndState::default();
        facts.iter().for_each(|(fact, value)| state.note(*fact, value));
        state
    }

    #[test]
    fn a_difference_names_the_fact_and_both_values() {
        let wanted = state(&[("role", "db2"), ("starts of POM on pom1", "1")]);
        assert_eq!(wanted.differences(&wanted, &[]), [""; 0]);
        let found = state(&[("role", "db1"), ("stops of POM on pom1", "1")]);
        assert_eq!(
            found.differences(&wanted, &[]),
            [
                "role: \"db1\", undisturbed \"db2\"",
                "starts of POM on pom1: not there, undisturbed \"1\"",
                "stops of POM on pom1: \"1\", undisturbed not there"
            ]
        );
    }

    #[test]
    fn a_rule_loosens_its_own_facts_in_its_own_way_and_no_other() {
        let wanted = state(&[("FAILOVER sent", "1"), ("paused", "yes"), ("starts", "1")]);
        let loose = [
            Loose { facts: "FAILOVER", rule: Rule::AtLeast, because: "a statement that died is sent again" },
            Loose {
                facts: "restores",
                rule: Rule::Instead { of: "DL", is: "D" },
                because: "a log that holds nothing is not restored",
            },
            Loose { facts: "paused", rule: Rule::Or(&["no"]), because: "a dead primary pauses nothing" },
        ];
        let judged = |facts: &[(&str, &str)]| state(facts).differences(&wanted, &loose).len();
        assert_eq!(judged(&[("FAILOVER sent", "3"), ("paused", "no"), ("starts", "1")]), 0);
        assert_eq!(judged(&[("FAILOVER sent", "0"), ("paused", "yes"), ("starts", "1")]), 1);
        assert_eq!(judged(&[("paused", "yes"), ("starts", "1")]), 1, "never sent");
        assert_eq!(judged(&[("FAILOVER sent", "1"), ("paused", "perhaps"), ("starts", "1")]), 1);
        assert_eq!(judged(&[("FAILOVER sent", "1"), ("paused", "yes"), ("starts", "2")]), 1);
        assert_eq!(
            judged(&[("FAILOVER sent", "1"), ("FAILOVER sent to db3", "1"), ("paused", "yes"), ("starts", "1")]),
            0
        );
        let loose_stops = [
            Loose { facts: "stops", rule: Rule::MoreBy("by leases"), because: "each was a lease that ended" },
            Loose { facts: "by leases", rule: Rule::Noted, because: "of the other" },
        ];
        let stops = |stops, leases| state(&[("stops", stops), ("by leases", leases)]);
        let fits = |found: EndState| found.differences(&state(&[("stops", "1")]), &loose_stops).is_empty();
        assert!(fits(stops("1", "0")) && fits(stops("1", "2")) && fits(stops("3", "2")));
        assert!(!fits(stops("0", "2")) && !fits(stops("4", "2")) && !fits(state(&[("stops", "2")])));
        let fine = |of, is| state(&[("restores", is)]).differences(&state(&[("restores", of)]), &loose).is_empty();
        assert!(fine("DL", "D") && !fine("DL", "L") && !fine("L", "D") && !fine("", "D"));
    }
}
