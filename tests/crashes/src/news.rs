//! Everything that accidents wait for, from the logs of all coordinators and agents.
//!
//! Apart from the logs themselves, because here is what lines mean. A line that is logged otherwise one day is no news any more; then
//! nobody is killed, and the cells are red for that.

use std::collections::BTreeMap;

use anyhow::Result;
use baton_lab::cluster::Cluster;

use crate::log::{Tail, Task};

/// Something happened just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A coordinator sends an order.
    Ordered { coordinator: usize, task: Task },
    /// The agent has on disk that the task's effect begins, or begins to look where that is all that it does.
    Begun(Task),
    /// The agent knows how the task ended. That is about to be on disk, and to be reported.
    Ended(Task),
    /// A coordinator has taken over.
    Leads(usize),
    /// A coordinator is there (again).
    Listens(usize),
    /// An agent obeys a leader (again), and goes on with what it had begun.
    Obeys(String),
}

/// All logs of an installation.
#[derive(Debug)]
pub struct Chronicle {
    coordinators: Vec<Tail>,
    agents: BTreeMap<String, Tail>,
}

impl Chronicle {
    /// From now on.
    pub fn of(cluster: &Cluster) -> Result<Self> {
        let coordinators = (0..cluster.coordinators()).map(|number| Tail::of(cluster.coordinator_log(number)));
        let agents = cluster.agents().into_iter().map(|host| {
            let log = cluster.agent_directory(&host).join("log");
            Ok((host, Tail::of(&log)?))
        });
        Ok(Self { coordinators: coordinators.collect::<Result<_>>()?, agents: agents.collect::<Result<_>>()? })
    }

    /// What happened since the last call. Between two logs there is no order.
    pub fn news(&mut self) -> Result<Vec<News>> {
        let mut news = Vec::new();
        for (number, log) in self.coordinators.iter_mut().enumerate() {
            news.extend(log.lines()?.iter().filter_map(|line| of_coordinator(number, line)));
        }
        for (host, log) in &mut self.agents {
            news.extend(log.lines()?.iter().filter_map(|line| of_agent(host, line)));
        }
        Ok(news)
    }
}

fn of_coordinator(number: usize, line: &str) -> Option<News> {
    if let Some(task) = line.split_once("ordered task=").and_then(|(_, task)| Task::parse(task)) {
        return Some(News::Ordered { coordinator: number, task });
    }
    if line.contains("this coordinator leads reign=") {
        return Some(News::Leads(number));
    }
    line.contains("listening address=").then_some(News::Listens(number))
}

fn of_agent(host: &str, line: &str) -> Option<News> {
    let task = |words: &str| line.split_once(words).and_then(|(_, task)| Task::parse(task));
    if let Some(task) = task("task begins task=") {
        return Some(News::Begun(task));
    }
    if let Some(task) = task("task ended task=") {
        return Some(News::Ended(task));
    }
    line.contains("reign acknowledged coordinator=").then(|| News::Obeys(host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_is_waited_for_is_understood() {
        let task = Task::parse("pom-1/3@pomdb2#1").unwrap();
        let of_agent = |line| of_agent("pomdb2", line);
        assert_eq!(of_agent("T  INFO baton_agent: task begins task=pom-1/3@pomdb2#1"), Some(News::Begun(task.clone())));
        let ended = "T  INFO baton_agent: task ended task=pom-1/3@pomdb2#1 outcome=\"changed\" summary=done";
        assert_eq!(of_agent(ended), Some(News::Ended(task.clone())));
        let obeys = "T  INFO baton_agent: reign acknowledged coordinator=\"c2\" reign=1.4";
        assert_eq!(of_agent(obeys), Some(News::Obeys("pomdb2".to_owned())));
        assert_eq!(of_agent("T  INFO baton_agent: agent started host=pomdb2"), None);
        assert_eq!(
            of_coordinator(1, "T  INFO ordered task=pom-1/3@pomdb2#1 fence=1.4.9"),
            Some(News::Ordered { coordinator: 1, task })
        );
        assert_eq!(of_coordinator(1, "T  INFO this coordinator leads reign=1.4"), Some(News::Leads(1)));
        assert_eq!(of_coordinator(1, "T  INFO listening address=127.0.0.1:7400 name=\"c2\""), Some(News::Listens(1)));
    }
}
