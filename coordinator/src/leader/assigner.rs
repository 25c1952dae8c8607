//! Tells agents what their hosts are to their groups, whenever that has changed or a session is new.
//!
//! Apart because an assignment is no order: it follows from the state whether or not a run is open. It is sent by the dispatcher's own
//! loop, before the orders that follow from the same state, so that nothing is started on a host that still thinks it is a standby.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use baton_engine::{assign, state};
use baton_log::Log;
use baton_model::{
    assignment::{Assignment, Part},
    fence::Fence,
    ids::{Epoch, GroupName, HostName},
};
use baton_proto::v1::to_agent;
use baton_wire::assignment::{Assigning, assign as message};

use super::Lessor;
use crate::{
    definitions,
    replica::Replica,
    sessions::{SessionId, Sessions},
};

/// Memory of one reign.
#[derive(Default)]
pub struct Assigner {
    /// What each group's hosts are told, with what it was made from.
    made: BTreeMap<GroupName, Made>,
    /// Hosts, and the groups that tell them something.
    groups: BTreeMap<HostName, BTreeSet<GroupName>>,
    /// What a host's session was told; another session is told anew.
    told: HashMap<HostName, Told>,
    /// Hosts whose assignments have changed.
    changed: BTreeSet<HostName>,
}

struct Made {
    revision: u64,
    epoch: Epoch,
    yielding: bool,
    hosts: BTreeMap<HostName, Assignment>,
}

struct Told {
    session: SessionId,
    assignments: Vec<Assignment>,
}

impl Assigner {
    /// Makes anew what has changed in the state. Groups are read beside its lock: entries wait for nobody's parsing. Answers the index
    /// up to which it has looked.
    pub fn look(&mut self, log: &Log<Replica>) -> u64 {
        let (changed, gone, index) = log.with(|replica| {
            let groups = &replica.state.groups;
            let gone: Vec<GroupName> = self.made.keys().filter(|name| !groups.contains_key(*name)).cloned().collect();
            let changed: Vec<(GroupName, state::Group, bool)> = groups
                .iter()
                .filter_map(|(name, group)| {
                    let yielding = assign::yielding(&replica.state, name);
                    let now = (group.revision, group.epoch, yielding);
                    let known = self.made.get(name).map(|known| (known.revision, known.epoch, known.yielding));
                    (known != Some(now)).then(|| (name.clone(), group.clone(), yielding))
                })
                .collect();
            (changed, gone, replica.state.index)
        });
        for name in gone {
            self.replace(&name, None);
        }
        for (name, group, yielding) in changed {
            let hosts = match definitions::group_of(&group) {
                Ok(parsed) => {
                    let situation = definitions::situation_of(&group);
                    let part = |member: Option<&_>| assign::part(&group, yielding, member);
                    baton_planner::assign::assignments(&parsed, &situation, part)
                }
                // One that is no longer understood assigns nothing new: its hosts go by what they were told last.
                Err(fault) => {
                    tracing::warn!(group = %name, %fault, "its hosts are told nothing new");
                    self.made.get(&name).map(|known| known.hosts.clone()).unwrap_or_default()
                }
            };
            let (revision, epoch) = (group.revision, group.epoch);
            self.replace(&name, Some(Made { revision, epoch, yielding, hosts }));
        }
        index
    }

    fn replace(&mut self, name: &GroupName, made: Option<Made>) {
        let before = self.made.remove(name);
        let old: BTreeSet<HostName> = before.iter().flat_map(|made| made.hosts.keys().cloned()).collect();
        let new: BTreeSet<HostName> = made.iter().flat_map(|made| made.hosts.keys().cloned()).collect();
        for host in old.difference(&new) {
            if let Some(groups) = self.groups.get_mut(host) {
                groups.remove(name);
            }
        }
        for host in &new {
            self.groups.entry(host.clone()).or_default().insert(name.clone());
        }
        self.changed.extend(old.union(&new).cloned());
        if let Some(made) = made {
            self.made.insert(name.clone(), made);
        }
    }

    /// A session is new, and has acknowledged the reign: it is told everything.
    pub fn greet(&mut self, host: &HostName) {
        self.changed.insert(host.clone());
    }

    /// Sends what has changed to the hosts whose session has acknowledged the reign.
    pub fn send(
        &mut self,
        fence: Fence,
        acknowledged: impl Fn(&HostName) -> Option<SessionId>,
        sessions: &Sessions,
        lessor: &Lessor,
    ) {
        for host in std::mem::take(&mut self.changed) {
            // Without a session it hears of it when it comes.
            let Some(session) = acknowledged(&host) else { continue };
            let assignments: Vec<Assignment> = (self.groups.get(&host).into_iter().flatten())
                .filter_map(|group| self.made.get(group)?.hosts.get(&host).cloned())
                .collect();
            let told = self.told.get(&host).filter(|told| told.session == session);
            if told.is_some_and(|told| told.assignments == assignments) {
                continue;
            }
            // A primary may serve for a moment before its first renewal: that counts as promised before it is said.
            for assignment in assignments.iter().filter(|assignment| assignment.part == Part::Primary) {
                if let Some(lease) = &assignment.lease {
                    lessor.promise(&assignment.group, &host, lease);
                }
            }
            let indexed = assignments.iter().map(|one| Assignment { index: fence.index, ..one.clone() }).collect();
            let assigning = Assigning { request: sessions.next_request(), fence, assignments: indexed };
            if sessions.send(&host, session, to_agent::Message::Assign(message(&assigning))) {
                self.told.insert(host, Told { session, assignments });
            }
        }
    }
}
