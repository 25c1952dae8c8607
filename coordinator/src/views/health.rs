//! Components, leases and automatic failover as they are shown: what agents on the line say, against what should be.

use std::collections::{BTreeMap, BTreeSet};

use baton_engine::{assign, state};
use baton_model::{
    assignment::Health,
    group::{Automatic, Condition, Group, Mode},
    ids::{ComponentName, GroupName, HostName, MemberName},
    time::Span,
    view::{AlertView, AutomaticView, ComponentView, JudgedView, LeaseView, LimitedView},
};

use crate::sessions::Sessions;

/// Alerts shown; the log has all.
const ALERTS_SHOWN: usize = 10;

pub fn components(name: &GroupName, definition: &Group, sessions: &Sessions) -> Vec<ComponentView> {
    let seen = sessions.seen();
    let mut views = Vec::new();
    for (component, defined) in &definition.components {
        for host in definition.hosts_with_role(&defined.on) {
            let word = seen.get(host).into_iter().flatten();
            let word = word.into_iter().find(|seen| seen.group == *name && seen.component == *component);
            views.push(ComponentView {
                component: component.clone(),
                host: host.clone(),
                member: definition.member_of(host).cloned(),
                exclusive: defined.exclusive,
                health: word.map(|seen| seen.health),
                since: word.map(|seen| seen.since),
                at: word.map(|seen| seen.at),
                what: word.map_or(String::new(), |seen| seen.what.clone()),
            });
        }
    }
    views
}

/// What nobody may overlook: something exclusive runs on two members, or where the role is not.
pub fn dual_active(components: &[ComponentView], primary: &MemberName) -> Vec<String> {
    let mut running: BTreeMap<&ComponentName, BTreeSet<(&MemberName, &HostName)>> = BTreeMap::new();
    for view in components.iter().filter(|view| view.exclusive) {
        let runs = matches!(view.health, Some(Health::Healthy | Health::Intruding));
        if let Some(member) = view.member.as_ref().filter(|_| runs) {
            running.entry(&view.component).or_default().insert((member, &view.host));
        }
    }
    let mut found = Vec::new();
    for (component, places) in running {
        let members: BTreeSet<&MemberName> = places.iter().map(|(member, _)| *member).collect();
        if members.iter().all(|member| *member == primary) {
            continue;
        }
        let told: Vec<String> = places.iter().map(|(member, host)| format!("{host} ({member})")).collect();
        found.push(match members.len() {
            1 => format!("{component} runs on {}, and {primary} is primary", told.join(", ")),
            _ => format!("{component} runs on {} at once; {primary} is primary", told.join(" and ")),
        });
    }
    found
}

pub fn lease(name: &GroupName, group: &state::Group, sessions: &Sessions) -> Option<LeaseView> {
    let rule = group.definition.lease.as_ref()?;
    let left = |host: &HostName| {
        let (tenure, ago) = sessions.tenure(host, name)?;
        let left = tenure.lease_left.as_millis().saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
        (left > 0 && tenure.epoch == group.epoch).then_some(Span(left))
    };
    let holders = assign::holders(group).map(|host| (host.clone(), left(host))).collect();
    Some(LeaseView { lasts: rule.lease.lasts, stop_within: rule.lease.stop_within, holders })
}

pub fn automatic(group: &state::Group, definition: &Group) -> Option<AutomaticView> {
    let remembered = &group.automatic;
    let (mode, what) = match &definition.automatic {
        None if remembered.is_default() => return None,
        None => ("off".to_owned(), String::new()),
        Some(Automatic::ManualOnly(why)) => ("manual only".to_owned(), why.clone()),
        Some(Automatic::Policy(policy)) => {
            let mode = match policy.mode {
                Mode::Off => "off",
                Mode::Observe => "observe",
                Mode::On => "on",
            };
            let condition = told(&policy.condition);
            (mode.to_owned(), format!("{} when {condition} for {}", policy.runbook, policy.holds_for))
        }
    };
    Some(AutomaticView {
        mode,
        what,
        paused: remembered.paused.clone(),
        limited: remembered.limited.as_ref().map(|limited| LimitedView {
            by: limited.by.clone(),
            since: limited.since,
            why: limited.why.clone(),
            synchronization: "off".to_owned(),
        }),
        judged: remembered.judged.iter().map(|one| JudgedView { at: one.at, what: one.what.clone() }).collect(),
    })
}

/// `daemon or rest failed, or all of agent did`.
fn told(condition: &Condition) -> String {
    let names = |list: &[ComponentName], word: &str| {
        list.iter().map(ComponentName::as_str).collect::<Vec<_>>().join(&format!(" {word} "))
    };
    match (condition.any.as_slice(), condition.all.as_slice()) {
        (any, []) => format!("{} has failed", names(any, "or")),
        ([], all) => format!("all of {} have failed", names(all, "and")),
        (any, all) => format!("{} has failed, or all of {} have,", names(any, "or"), names(all, "and")),
    }
}

pub fn alerts(group: &state::Group) -> Vec<AlertView> {
    let latest = &group.alerts.latest;
    let shown = latest.iter().skip(latest.len().saturating_sub(ALERTS_SHOWN));
    shown
        .map(|alert| AlertView {
            host: alert.host.clone(),
            at: alert.deed.at,
            what: alert.deed.what.clone(),
            failed: alert.deed.failed,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(component: &str, host: &str, member: &str, health: Health) -> ComponentView {
        ComponentView {
            component: component.parse().expect("a name"),
            host: host.parse().expect("a name"),
            member: Some(member.parse().expect("a name")),
            exclusive: true,
            health: Some(health),
            since: None,
            at: None,
            what: String::new(),
        }
    }

    #[test]
    fn what_runs_twice_or_where_the_role_is_not_is_found() {
        let primary: MemberName = "a".parse().expect("a name");
        let found = |views: &[ComponentView]| dual_active(views, &primary).join("; ");
        let good = [view("daemon", "dm1", "a", Health::Healthy), view("daemon", "dm2", "b", Health::Stopped)];
        assert_eq!(found(&good), "");
        let twice = [view("daemon", "dm1", "a", Health::Healthy), view("daemon", "dm2", "b", Health::Intruding)];
        assert_eq!(found(&twice), "daemon runs on dm1 (a) and dm2 (b) at once; a is primary");
        assert_eq!(found(&twice[1..]), "daemon runs on dm2 (b), and a is primary");
        let shared = ComponentView { exclusive: false, ..view("repository", "dm2", "b", Health::Healthy) };
        assert_eq!(found(&[shared]), "");
    }
}
