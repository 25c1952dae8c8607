//! Hands the leadership over where this leader alone does not reach a primary that lives by a lease.
//!
//! Apart because nothing else of a leader wishes to be none. Only a leader renews leases: a primary that it alone does not reach
//! would stop although all is well with it, and nobody would take over, since most coordinators reach it. It must never act on a
//! host that most do not reach, which is a failover's business, and never hand over to one that reaches less: then the leadership
//! could go round in a circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use baton_engine::assign;
use baton_log::Log;
use baton_model::ids::HostName;
use tokio_util::sync::CancellationToken;

use super::{Reachability, reachability::Survey};
use crate::{replica::Replica, sessions::Sessions};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Beyond a heartbeat's period: by then the others have lost a dead host, too.
const SLACK: Duration = Duration::from_millis(150);
/// After one that was tried.
const AGAIN: Duration = Duration::from_secs(5);

/// Owned by one task.
pub struct Successor {
    pub log: Log<Replica>,
    pub sessions: Sessions,
    pub reachability: Reachability,
    /// This coordinator's name.
    pub itself: String,
    /// Between two heartbeats of an agent.
    pub heartbeat: Duration,
}

impl Successor {
    /// Runs until `stop`. Looks while this node leads.
    pub async fn run(self, stop: CancellationToken) {
        let leadership = self.log.leadership();
        let mut missing: BTreeMap<HostName, Instant> = BTreeMap::new();
        let mut tried: Option<Instant> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if !leadership.borrow().ready {
                missing.clear();
                continue;
            }
            let holders = self.holders();
            let reached: BTreeSet<HostName> = self.sessions.hosts().into_iter().collect();
            missing.retain(|host, _| holders.contains(host) && !reached.contains(host));
            for host in holders.difference(&reached) {
                missing.entry(host.clone()).or_insert_with(Instant::now);
            }
            let ripe = missing.values().any(|since| since.elapsed() >= self.patience() + SLACK);
            if !ripe || tried.is_some_and(|at| at.elapsed() < AGAIN) {
                continue;
            }
            let survey = self.reachability.survey().await;
            if let Some(successor) = better_placed(&self.itself, &holders, &survey) {
                tried = Some(Instant::now());
                self.hand_over(&successor).await;
            }
        }
    }

    /// The others lose a dead host at about the same time as this one; a short lease leaves less to wait.
    fn patience(&self) -> Duration {
        let shortest = self.log.with(|replica| {
            let groups = replica.state.groups.values();
            groups.filter_map(|group| Some(group.definition.lease.as_ref()?.lease.lasts)).min()
        });
        shortest.map_or(self.heartbeat, |lasts| self.heartbeat.min(lasts.to_std() / 10))
    }

    /// The hosts that serve by a lease.
    fn holders(&self) -> BTreeSet<HostName> {
        self.log.with(|replica| replica.state.groups.values().flat_map(assign::holders).cloned().collect())
    }

    async fn hand_over(&self, to: &str) {
        let members = self.log.status().members;
        let Some(id) = members.iter().find(|(_, member)| member.node.name == to).map(|(id, _)| *id) else { return };
        tracing::warn!(
            to,
            "a primary with a lease is not reached from here, and is from there: the leadership is handed over"
        );
        if let Err(error) = self.log.transfer_leadership(Some(id)).await {
            tracing::warn!(%error, to, "the leadership was not handed over");
        }
    }
}

/// The coordinator that reaches every holder that this one reaches, and one more that most coordinators reach.
fn better_placed(itself: &str, holders: &BTreeSet<HostName>, survey: &Survey) -> Option<String> {
    let of = |hosts: &BTreeSet<HostName>| -> BTreeSet<HostName> { hosts.intersection(holders).cloned().collect() };
    let own = of(survey.answers.get(itself)?);
    let most_reach = |host: &HostName| survey.reached_by(host).len() > survey.coordinators / 2;
    let better = survey.answers.iter().filter_map(|(name, hosts)| {
        let theirs = of(hosts);
        let more = theirs.difference(&own).filter(|host| most_reach(host)).count();
        (theirs.is_superset(&own) && more > 0).then_some((more, name))
    });
    better.max_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(one.1))).map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> BTreeSet<HostName> {
        names.iter().map(|name| HostName::new(*name).expect("a host's name")).collect()
    }

    fn better(holders: &[&str], answers: &[(&str, &[&str])]) -> Option<String> {
        let answers = answers.iter().map(|(name, reached)| ((*name).to_owned(), hosts(reached))).collect();
        better_placed("c1", &hosts(holders), &Survey { answers, coordinators: 3, ..Survey::default() })
    }

    #[test]
    fn who_reaches_more_of_the_primaries_leads_and_nobody_else() {
        let db = ["db1"];
        assert_eq!(better(&db, &[("c1", &[]), ("c2", &["db1"]), ("c3", &["db1"])]).as_deref(), Some("c2"));
        assert_eq!(better(&db, &[("c1", &["db1"]), ("c2", &["db1"]), ("c3", &["db1"])]), None);
        // Most do not reach it: it is to be failed over.
        assert_eq!(better(&db, &[("c1", &[]), ("c2", &["db1"]), ("c3", &[])]), None);
        assert_eq!(better(&db, &[("c1", &[]), ("c2", &["db1"])]), None, "one voice of three");
        // No lease hangs on it.
        assert_eq!(better(&[], &[("c1", &[]), ("c2", &["db1"]), ("c3", &["db1"])]), None);
    }

    #[test]
    fn a_primary_that_is_reached_is_not_given_up_for_another() {
        let both = ["db1", "db2"];
        let crossed: &[(&str, &[&str])] = &[("c1", &["db1"]), ("c2", &["db2"]), ("c3", &["db2"])];
        assert_eq!(better(&both, crossed), None, "else the leadership went round in a circle");
        let wide: &[(&str, &[&str])] = &[("c1", &["db1"]), ("c2", &["db2"]), ("c3", &["db1", "db2"])];
        assert_eq!(better(&both, wide).as_deref(), Some("c3"));
    }
}
