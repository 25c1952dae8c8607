//! Whether the old primary's hosts certainly serve no more: what a transfer of the role waits for, and what lets a step leave one out.
//!
//! Apart from the dispatcher because none of it is an order: it weighs what agents said against what was promised to them. Silence
//! proves something only of a host that was heard to go by its lease, and that was not last heard to run still.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use baton_engine::{
    assign,
    command::Command,
    due::{DueLease, DueOrder},
};
use baton_log::Log;
use baton_model::{
    ids::{Epoch, GroupName, HostName, RunId},
    time::Span,
};
use tokio::time::Instant;

use super::Lessor;
use crate::{replica::Replica, sessions::Sessions};

/// What was proposed and is not committed by then is proposed again.
const PROPOSE_AGAIN: Duration = Duration::from_secs(2);

/// Memory of one reign.
#[derive(Default)]
pub struct Holders {
    /// Ends of leases that were proposed, and when.
    ended: HashMap<(RunId, u64, HostName), Instant>,
    /// Holders that were recorded as such, and when that was proposed.
    held: HashMap<(GroupName, Epoch, HostName), Instant>,
    /// Hosts that were last heard, while a transfer waits for them, to run still what they must not: their silence proves nothing.
    unquiet: HashSet<(GroupName, u64, HostName)>,
}

/// What is looked at, by the leader of this term.
pub struct Sight<'a> {
    pub log: &'a Log<Replica>,
    pub sessions: &'a Sessions,
    pub lessor: &'a Lessor,
    pub term: u64,
}

impl Holders {
    /// What has ended of the leases that a transfer waits for, and what is waited for no longer.
    pub fn ends(&mut self, sight: &Sight<'_>, leases: &[DueLease]) -> Vec<Command> {
        let mut commands = Vec::new();
        for due in leases {
            let (run, step, index) = (&due.run, &due.step, due.index);
            let mut waits = Vec::new();
            for host in &due.hosts {
                match self.ended(sight, &run.group, host, index) {
                    Ok(how) if is_due(&mut self.ended, (run.clone(), index, host.clone())) => {
                        commands.push(Command::EndLease {
                            run: run.clone(),
                            step: step.clone(),
                            index,
                            host: host.clone(),
                            how,
                        })
                    }
                    Ok(_) => {}
                    Err(why_not) => waits.push(format!("{host}: {why_not}")),
                }
            }
            if due.give_up && !waits.is_empty() {
                let why = format!("the old primary may still serve: {}", waits.join("; "));
                commands.push(Command::GiveUpLease { run: run.clone(), step: step.clone(), index, why });
            }
        }
        commands
    }

    /// Records whose agents go by a lease: only of these does silence say later that it has run out.
    pub fn holding(&mut self, sight: &Sight<'_>) -> Vec<Command> {
        let wanted: Vec<(GroupName, Epoch, HostName)> = sight.log.with(|replica| {
            let groups = replica.state.groups.iter().filter(|(_, group)| group.definition.lease.is_some());
            groups
                .flat_map(|(name, group)| {
                    let missing = assign::holders(group).filter(|host| !group.holding.contains(*host));
                    missing.map(|host| (name.clone(), group.epoch, host.clone())).collect::<Vec<_>>()
                })
                .collect()
        });
        let held = wanted.into_iter().filter(|(group, epoch, host)| {
            let tenure = sight.sessions.tenure(host, group);
            tenure.is_some_and(|(tenure, _)| tenure.epoch == *epoch && tenure.lease_left.0 > 0)
        });
        let due = held.filter(|key| is_due(&mut self.held, key.clone()));
        due.map(|(group, epoch, host)| Command::RecordHolding { group, host, epoch }).collect()
    }

    /// How a host's lease has ended, or why nobody can say that it has.
    fn ended(&mut self, sight: &Sight<'_>, group: &GroupName, host: &HostName, index: u64) -> Result<String, String> {
        let key = (group.clone(), index, host.clone());
        if sight.sessions.session_of(host).is_none() {
            if self.unquiet.contains(&key) {
                return Err("out of reach, and it ran still when it was heard last".to_owned());
            }
            let held = sight.log.with(|replica| {
                let group = replica.state.groups.get(group);
                group.is_some_and(|group| group.holding.contains(host))
            });
            if !held {
                return Err("out of reach, and its agent was never heard to go by the lease".to_owned());
            }
            return match sight.lessor.surely_over(sight.term, group, host) {
                Ok(ago) => Ok(format!(
                    "it is out of the leader's reach, and {ago} ago everything that was promised to it had run out"
                )),
                Err(left) => Err(format!("out of reach, and it may serve for {left} more")),
            };
        }
        let tenure = sight.sessions.tenure(host, group);
        match &tenure {
            Some((tenure, _)) if tenure.index >= index && !tenure.quiet => drop(self.unquiet.insert(key)),
            _ => drop(self.unquiet.remove(&key)),
        }
        match tenure {
            Some((tenure, _)) if tenure.quiet && tenure.index >= index => {
                Ok("its agent has let go of it and saw everything exclusive stopped".to_owned())
            }
            Some((tenure, _)) if tenure.index < index => Err("it has not acknowledged that it must yield".to_owned()),
            Some(_) => Err("its agent does not see everything exclusive stopped".to_owned()),
            None => Err("its agent says nothing of this group".to_owned()),
        }
    }
}

/// Whether it was not proposed lately; from now on it was.
fn is_due<K: std::hash::Hash + Eq>(proposed: &mut HashMap<K, Instant>, key: K) -> bool {
    if proposed.get(&key).is_some_and(|at| at.elapsed() < PROPOSE_AGAIN) {
        return false;
    }
    proposed.insert(key, Instant::now());
    true
}

/// What a host that is out of reach could still do of an order's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It holds no lease that anybody waits for.
    SaysNothing,
    /// Its lease may be alive.
    MayServe,
    /// Everything that was promised to it has run out, so long ago.
    Over(Span),
}

/// What the silence of an order's host says.
pub fn silence(sight: &Sight<'_>, order: &DueOrder) -> Silence {
    let (group, host) = (&order.task.run.group, &order.task.host);
    let awaited = sight.log.with(|replica| {
        let state = &replica.state;
        let holds = state.groups.get(group).is_some_and(|group| assign::holders(group).any(|holder| holder == host));
        // An operator's word, for this one run.
        let overridden = state.runs.get(&order.task.run).is_some_and(|run| run.overridden("lease").is_some());
        holds && !overridden
    });
    match sight.lessor.surely_over(sight.term, group, host) {
        _ if !awaited => Silence::SaysNothing,
        Ok(ago) => Silence::Over(ago),
        Err(_) => Silence::MayServe,
    }
}

/// An agent of a host with a lease begins nothing once that is over, and ends what it has begun by the task's own timeout.
pub fn is_at_work_no_more(sight: &Sight<'_>, order: &DueOrder) -> bool {
    let (group, host) = (&order.task.run.group, &order.task.host);
    let lease = sight.log.with(|replica| {
        let group = replica.state.groups.get(group)?;
        let holds = assign::holders(group).any(|holder| holder == host);
        group.definition.lease.as_ref().filter(|_| holds).map(|rule| rule.lease)
    });
    let (Some(lease), Ok(ago)) = (lease, sight.lessor.surely_over(sight.term, group, host)) else { return false };
    // What could be begun last was begun before the lease itself ended, and that is some time before it is called over.
    ago.0 + lease.surely_over().0 >= lease.lasts.0 + order.timeout.0
}
