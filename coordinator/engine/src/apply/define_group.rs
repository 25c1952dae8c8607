//! Define, change or remove a group. The first definition is epoch 1; later ones never move the role.

use std::collections::BTreeMap;

use baton_model::{
    ids::{Epoch, GroupName},
    outcome::Fault,
};

use crate::{
    command::{Answer, Definition, LeaseRule},
    state::{Group, REMOVED_MAX, Removed, State},
};

use super::{Context, no_group};

pub(super) fn define(
    state: &mut State,
    context: &Context<'_>,
    name: &GroupName,
    definition: &Definition,
) -> Result<Answer, Fault> {
    if !definition.members.contains(&definition.first_primary) {
        return Err(Fault::new(
            "BTN-0112",
            format!("group {name}: the primary {} is not one of its members.", definition.first_primary),
            "Name a member under \"primary\".",
        ));
    }
    let Some(group) = state.groups.get_mut(name) else {
        let primary = definition.first_primary.clone();
        let before = state.removed.remove(name);
        let revision = before.as_ref().map_or(1, |before| before.revision + 1);
        state.groups.insert(
            name.clone(),
            Group {
                definition: definition.clone(),
                revision,
                epoch: Epoch(before.as_ref().map_or(1, |before| before.epoch.0 + 1)),
                primary,
                primary_since: context.author.when,
                standings: BTreeMap::new(),
                facts: BTreeMap::new(),
                samples: BTreeMap::new(),
                open_run: None,
                last_run: before.map_or(0, |before| before.last_run),
                automatic: Default::default(),
                alerts: Default::default(),
                lease_before: None,
            },
        );
        return Ok(Answer::Defined { revision });
    };
    if group.definition == *definition {
        return Ok(Answer::Already);
    }
    if let Some(open) = &group.open_run {
        return Err(busy(name, open));
    }
    if !definition.members.contains(&group.primary) {
        return Err(Fault::new(
            "BTN-0113",
            format!("group {name}: the new definition has no member {}, which is primary now.", group.primary),
            "Move the role to another member first, or keep the member.",
        ));
    }
    group.lease_before = remembered(group.lease_before.take(), &group.definition, definition);
    group.definition = definition.clone();
    group.revision += 1;
    group.alerts.heard.retain(|host, _| definition.hosts.contains(host));
    group.standings.retain(|member, _| definition.members.contains(member));
    group.samples.retain(|_, hosts| {
        hosts.retain(|host, _| definition.hosts.contains(host));
        !hosts.is_empty()
    });
    Ok(Answer::Defined { revision: group.revision })
}

/// A file that shortens a lease, drops it, or takes hosts out of it shortens nothing that was promised before.
fn remembered(before: Option<LeaseRule>, old: &Definition, new: &Definition) -> Option<LeaseRule> {
    let Some(old) = old.lease.as_ref().filter(|rule| new.lease.as_ref() != Some(rule)) else { return before };
    let Some(mut before) = before else { return Some(old.clone()) };
    before.lease.lasts = before.lease.lasts.max(old.lease.lasts);
    before.lease.stop_within = before.lease.stop_within.max(old.lease.stop_within);
    for (member, hosts) in &old.holders {
        before.holders.entry(member.clone()).or_default().extend(hosts.iter().cloned());
    }
    Some(before)
}

pub(super) fn remove(state: &mut State, name: &GroupName) -> Result<Answer, Fault> {
    let group = state.groups.get(name).ok_or_else(|| no_group(name))?;
    if let Some(open) = &group.open_run {
        return Err(busy(name, open));
    }
    if state.removed.len() >= REMOVED_MAX {
        return Err(Fault::new(
            "BTN-0129",
            format!("{REMOVED_MAX} groups were removed already, and their names are remembered."),
            "Define a removed group again under its name instead of a new one.",
        ));
    }
    let left = Removed { epoch: group.epoch, revision: group.revision, last_run: group.last_run };
    state.groups.remove(name);
    state.removed.insert(name.clone(), left);
    state.runs.retain(|id, _| &id.group != name);
    Ok(Answer::Done)
}

pub(super) fn busy(group: &GroupName, open: &baton_model::ids::RunId) -> Fault {
    Fault::new(
        "BTN-0101",
        format!("group {group} is busy: run {open} is open."),
        format!("Watch it with \"baton watch {open}\"; if it is halted, resume or abort it."),
    )
}
