//! What an agent of Baton says in its log of what it stops on its own account.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};

use crate::log::Task;

/// A log from some place on.
pub struct Said(String);

impl Said {
    /// `from`: how long the log was before.
    pub fn read(path: &Path, from: usize) -> Result<Self> {
        let said = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let since = said.get(from..).with_context(|| format!("{} is shorter than it was", path.display()))?;
        Ok(Self(since.to_owned()))
    }

    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// What it has begun to stop, and has not said to be stopped or left alone, since it was started last.
    pub fn being_stopped(&self, group: &str) -> BTreeSet<&str> {
        let since = self.0.rfind("agent started host=").map_or(&self.0[..], |at| &self.0[at..]);
        let begins = format!("a component is stopped group={group} component=");
        let begun = since.lines().filter_map(|line| line.split_once(&begins)?.1.split_whitespace().next());
        let ends = |component: &str| {
            ["stopped {}: ", "does not stop {} any more", "does not watch {} any more"]
                .map(|end| format!("account: {}", end.replace("{}", component)))
        };
        begun
            .filter(|component| {
                let last = |words: &str| since.rfind(words);
                let begun = last(&format!("{begins}{component} "));
                ends(component).iter().all(|end| last(end) < begun)
            })
            .collect()
    }

    /// Whether a task had ended before the agent was started the next time after it began.
    pub fn was_over(&self, task: &Task) -> bool {
        let Some(at) = self.0.rfind(&format!("task begins task={task}\n")) else { return false };
        let life = self.0[at..].split("agent started host=").next().unwrap_or_default();
        life.contains(&format!("task ended task={task} "))
    }

    /// How often it began to stop a component because its lease was over.
    pub fn lease_stops(&self, group: &str, component: &str) -> usize {
        self.0.matches(&begins(group, component)).count()
    }

    /// Whether it has stopped a component, or begun to, because its lease was over, since a task of this step ended here last: that
    /// one has looked, and has seen what was not stopped yet.
    pub fn was_stopped_after(&self, group: &str, component: &str, run: &str, step: &str) -> bool {
        let stopped = format!("account: stopped {component}: the lease of {group} in epoch ");
        let stops = self.0.rfind(&begins(group, component)).max(self.0.rfind(&stopped));
        stops > self.0.rfind(&format!("task ended task={run}/{step}@"))
    }
}

fn begins(group: &str, component: &str) -> String {
    format!("a component is stopped group={group} component={component} reason=\"the lease of ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_stops_is_open_until_it_says_so_and_as_long_as_it_lives() {
        let begins = |component: &str| {
            format!(
                "WARN baton_agent::guard::account: a component is stopped group=dm component={component} reason=\"the lease\"\n"
            )
        };
        let ends = |component: &str| {
            format!(
                "WARN baton_agent::guard::account: stopped {component}: the lease of dm in epoch 1 was over group=dm\n"
            )
        };
        let start = "INFO baton_agent: agent started host=dm1 coordinators=3\n";
        let log = [start, &begins("rest"), &begins("daemon"), &ends("rest")].concat();
        assert_eq!(Said(log.clone()).being_stopped("dm"), BTreeSet::from(["daemon"]));
        assert_eq!(Said([&log, &ends("daemon")[..]].concat()).being_stopped("dm"), BTreeSet::new());
        assert_eq!(Said([&log, start, &begins("sync")].concat()).being_stopped("dm"), BTreeSet::from(["sync"]));
        let again =
            "INFO baton_agent::guard::account: does not stop daemon any more, since it may run again: the lease\n";
        assert_eq!(Said([&log, again].concat()).being_stopped("dm"), BTreeSet::new());
        assert_eq!(Said([&log, again, &begins("daemon")].concat()).being_stopped("dm"), BTreeSet::from(["daemon"]));
    }

    #[test]
    fn a_task_was_over_where_the_agent_that_began_it_says_so() {
        let task = Task::parse("dm-2/5@dm1#1").unwrap();
        let (begins, ended, start) = (
            "INFO baton_agent::executor: task begins task=dm-2/5@dm1#1\n",
            "INFO baton_agent::executor: task ended task=dm-2/5@dm1#1 outcome=\"changed\" summary=done\n",
            "INFO baton_agent: agent started host=dm1 coordinators=3\n",
        );
        let over = |log: &[&str]| Said(log.concat()).was_over(&task);
        assert!(over(&[start, begins, ended]) && over(&[start, begins, ended, start]));
        assert!(!over(&[start, begins]) && !over(&[start, begins, start, ended]) && !over(&[start, begins, start]));
    }

    #[test]
    fn what_was_stopped_after_the_step_that_looks_is_told_from_what_it_saw_to() {
        let begins =
            "WARN a component is stopped group=dm component=rest reason=\"the lease of dm in epoch 1 was over\"\n";
        let stopped =
            "WARN baton_agent::guard::account: stopped rest: the lease of dm in epoch 1 was over (stopped dmrest)\n";
        let looked =
            "INFO baton_agent::executor: task ended task=dm-2/15@dm1#1 outcome=\"unchanged\" summary=it runs\n";
        let after = |log: &[&str]| Said(log.concat()).was_stopped_after("dm", "rest", "dm-2", "15");
        assert!(after(&[begins, stopped]) && after(&[looked, begins]) && after(&[begins, looked, stopped]));
        assert!(!after(&[begins, stopped, looked]) && !after(&[looked]) && !after(&[]));
        assert_eq!(Said([begins, stopped, looked, begins].concat()).lease_stops("dm", "rest"), 2);
    }
}
