//! What an agent of Baton says in its log of what it stops on its own account.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

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

    /// What it has begun to stop, and has not said to be stopped, since it was started last.
    pub fn being_stopped(&self, group: &str) -> Vec<&str> {
        let since = self.0.rfind("agent started host=").map_or(&self.0[..], |at| &self.0[at..]);
        let begins = format!("a component is stopped group={group} component=");
        let begun = since.lines().filter_map(|line| line.split_once(&begins)?.1.split_whitespace().next());
        begun.filter(|component| !since.contains(&format!("account: stopped {component}: "))).collect()
    }

    /// Whether it says that it has stopped a service because its lease was over.
    pub fn was_stopped(&self, group: &str, service: &str) -> bool {
        let (lease, act) = (format!("the lease of {group} in epoch "), format!("(stopped {service} in "));
        self.0.lines().any(|line| line.contains(&lease) && line.contains(&act))
    }
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
        assert_eq!(Said(log.clone()).being_stopped("dm"), ["daemon"]);
        assert_eq!(Said([&log, &ends("daemon")[..]].concat()).being_stopped("dm"), [""; 0]);
        assert_eq!(Said([&log, start, &begins("sync")].concat()).being_stopped("dm"), ["sync"]);
    }
}
