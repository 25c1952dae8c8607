//! What each of a group's hosts is told of it: who it is, what it watches, how it stops what must not run. Pure, like every plan.

use std::collections::{BTreeMap, BTreeSet};

use baton_model::{
    action::Action,
    assignment::{Assignment, Part, Stop, Watched},
    expression::Scope,
    group::{Component, ComponentProbe, Group},
    ids::{ComponentName, HostName, MemberName},
    outcome::Fault,
};

use crate::{Situation, sample::resolve, scope};

/// One assignment for each host of the group. `part` says what a host of that member is; `index` is filled in by who sends it.
pub fn assignments(
    group: &Group,
    situation: &Situation,
    part: impl Fn(Option<&MemberName>) -> Part,
) -> BTreeMap<HostName, Assignment> {
    let base = scope::of_group(group, situation, group.vars.clone().into_iter().collect());
    group
        .all_hosts()
        .map(|host| {
            let member = group.member_of(host);
            let mut scope = base.clone();
            scope.insert("host".to_owned(), scope::host(group, host));
            let here = group.components.iter().filter(|(_, one)| group.hosts_with_role(&one.on).contains(&host));
            let assignment = Assignment {
                group: group.name.clone(),
                epoch: situation.epoch,
                index: 0,
                member: member.cloned(),
                part: part(member),
                lease: group.lease,
                components: here.map(|(name, component)| watched(group, name, component, &scope)).collect(),
            };
            (host.clone(), assignment)
        })
        .collect()
}

fn watched(group: &Group, name: &ComponentName, component: &Component, scope: &Scope) -> Watched {
    let probe = resolve(group, &component.probe, scope)
        .and_then(|probe| serde_json::from_value::<ComponentProbe>(probe).map_err(|error| error.to_string()))
        .map_err(|why| {
            let message = format!("component {name} of group {} cannot be probed here: {why}.", group.name);
            Fault::new("BTN-0175", message, "Mend the group file and apply it again.")
        });
    let stop = component.stop_action().filter(|_| component.exclusive).and_then(|(action, params)| {
        let params = resolve(group, &params, scope).ok()?;
        Action::parse(&action, &params).ok()?;
        Some(Stop { action, params })
    });
    Watched {
        component: name.clone(),
        probe,
        every: component.every,
        timeout: component.timeout,
        checks: component.checks,
        exclusive: component.exclusive,
        stop,
    }
}

/// What would stop something exclusive, and cannot be resolved: the agent could not keep its promise.
pub fn unstoppable(group: &Group, situation: &Situation) -> Vec<String> {
    let all = assignments(group, situation, |_| Part::Shared);
    let mut found = BTreeSet::new();
    for (host, assignment) in &all {
        for watched in assignment.components.iter().filter(|watched| watched.exclusive && watched.stop.is_none()) {
            found.insert(format!("what stops {} on {host} has no value there", watched.component));
        }
    }
    found.into_iter().collect()
}

/// Each member's hosts with exclusive components: those whose lease must have ended before the role leaves it.
pub fn holders(group: &Group) -> BTreeMap<MemberName, BTreeSet<HostName>> {
    let exclusive: Vec<&Component> = group.components.values().filter(|component| component.exclusive).collect();
    group
        .members
        .keys()
        .map(|member| {
            let hosts = exclusive.iter().flat_map(|component| group.hosts_of(member, &component.on)).cloned();
            (member.clone(), hosts.collect())
        })
        .collect()
}

/// Where each component is on a member's hosts.
pub fn hosts_of_components(group: &Group, member: &MemberName) -> BTreeMap<ComponentName, Vec<HostName>> {
    group
        .components
        .iter()
        .map(|(name, component)| {
            let of_member = group.hosts_of(member, &component.on);
            // A shared role's component says something of every member.
            let hosts = match of_member {
                [] => group.roles.get(&component.on).map_or(Vec::new(), |hosts| hosts.0.clone()),
                own => own.to_vec(),
            };
            (name.clone(), hosts)
        })
        .collect()
}
