//! A group as it is shown: who is primary, what limits it, which hosts are on the line.

use baton_engine::state::{Group, Limited, Standing, State};
use baton_model::{
    ids::{GroupName, MemberName},
    outcome::Fault,
    time::Moment,
    view::{GroupView, HostView, MemberView, RunbookView},
};

use crate::{
    definitions,
    leader::reachability::Survey,
    sessions::Sessions,
    views::{health, run},
};

pub fn view(
    state: &State,
    name: &GroupName,
    group: &Group,
    survey: &Survey,
    sessions: &Sessions,
    now: Moment,
) -> Result<GroupView, Fault> {
    let definition = definitions::group_of(group)?;
    let host_view = |host: &baton_model::ids::HostName| HostView {
        name: host.clone(),
        address: definition.hosts.get(host).map(|host| host.address.clone()),
        groups: vec![name.clone()],
        reached_by: survey.reached_by(host),
        not_reached_by: survey.not_reached_by(host),
        version: sessions.hello_of(host).map(|hello| hello.version),
    };
    let members = definition
        .members
        .iter()
        .map(|(member_name, member)| {
            let mut hosts: Vec<_> = member.hosts.values().flat_map(|hosts| hosts.0.iter().cloned()).collect();
            hosts.sort();
            hosts.dedup();
            let standing = group.standings.get(member_name).filter(|_| *member_name != group.primary);
            let (because, since, by) = match standing {
                None => (String::new(), None, None),
                Some(Standing::Detached { by, since, because }) => (because.clone(), Some(*since), Some(by.clone())),
                Some(Standing::Lost { since, why }) => (why.clone(), Some(*since), None),
            };
            MemberView {
                name: member_name.clone(),
                site: definition.site_of(member_name).map(ToString::to_string),
                primary: *member_name == group.primary,
                standing: if *member_name == group.primary {
                    "primary".to_owned()
                } else {
                    standing.map_or("standby".to_owned(), |standing| word(standing).to_owned())
                },
                because,
                since,
                by,
                hosts: hosts.iter().map(host_view).collect(),
            }
        })
        .collect();
    let components = health::components(name, &definition, sessions);
    let limits = group.standings.iter().map(|(member, standing)| limit(member, standing));
    let limits = group.automatic.limited.iter().map(limited).chain(limits).collect();
    let mut runbooks = Vec::new();
    for runbook_name in group.definition.runbooks.keys() {
        let runbook = definitions::runbook_of(group, name.as_str(), runbook_name)?;
        runbooks.push(RunbookView { name: runbook_name.clone(), kind: runbook.kind, description: runbook.description });
    }
    Ok(GroupView {
        name: name.clone(),
        description: definition.description.clone(),
        primary: group.primary.clone(),
        epoch: group.epoch,
        primary_since: group.primary_since,
        revision: group.revision,
        members,
        open_run: state.open_run(name).map(|open| run::summary(open, now)),
        runbooks,
        limits,
        warnings: Vec::new(),
        dual_active: health::dual_active(&components, &group.primary),
        components,
        lease: health::lease(name, group, sessions),
        automatic: health::automatic(group, &definition),
        alerts: health::alerts(group),
    })
}

/// After a run that started by itself.
fn limited(limited: &Limited) -> String {
    format!(
        "it failed over by itself at {} ({}: {}); no further automatic failover, and synchronisation is off, until it is switched back or armed again",
        limited.since.utc(),
        limited.by,
        limited.why
    )
}

/// What keeps the role from moving freely, since when and by which run.
fn limit(member: &MemberName, standing: &Standing) -> String {
    match standing {
        Standing::Detached { by, since, because } => {
            let what = if because.is_empty() { String::new() } else { format!("{because}: ") };
            format!(
                "{what}{member} is detached since {} ({by}); it must rejoin before the role moves again",
                since.utc()
            )
        }
        Standing::Lost { why, since } => format!("{member} was declared lost at {}: {why}", since.utc()),
    }
}

/// A member's standing in a few words: what a plan says of a candidate that is out.
pub fn told(standing: &Standing) -> String {
    match standing {
        Standing::Detached { by, because, .. } if because.is_empty() => format!("detached since {by}"),
        Standing::Detached { by, because, .. } => format!("detached since {by} ({because})"),
        Standing::Lost { why, .. } => format!("declared lost ({why})"),
    }
}

/// One word for a member's standing.
pub fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Detached { .. } => "detached",
        Standing::Lost { .. } => "lost",
    }
}

/// Every host of every group, each once.
pub fn hosts(state: &State, survey: &Survey, sessions: &Sessions) -> Vec<HostView> {
    let mut hosts: std::collections::BTreeMap<_, HostView> = Default::default();
    let mut add = |host: &baton_model::ids::HostName, group: Option<&GroupName>, address: Option<String>| {
        let view = hosts.entry(host.clone()).or_insert_with(|| HostView {
            name: host.clone(),
            address: None,
            groups: Vec::new(),
            reached_by: survey.reached_by(host),
            not_reached_by: survey.not_reached_by(host),
            version: sessions.hello_of(host).map(|hello| hello.version),
        });
        view.groups.extend(group.cloned());
        view.address = view.address.take().or(address);
    };
    for (name, group) in &state.groups {
        let definition = definitions::group_of(group).ok();
        for host in &group.definition.hosts {
            let address = definition.as_ref().and_then(|group| group.hosts.get(host)).map(|host| host.address.clone());
            add(host, Some(name), address);
        }
    }
    // An agent of no group: new, or its group was removed.
    for host in survey.answers.values().flatten() {
        add(host, None, None);
    }
    hosts.into_values().collect()
}
