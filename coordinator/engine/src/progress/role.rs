//! What steps do to the roles of a group: the transfer, and who is out of step or back.
//!
//! Apart because nothing else may change a primary or a standing in a run. It must never change a role half: what cannot be
//! said or done is found out before anything changes.

use std::collections::BTreeSet;

use baton_model::{
    author::Author,
    expression,
    ids::{Epoch, MemberName},
    plan::{Sentence, Step},
};
use serde_json::Value;

use super::scope;
use crate::state::{BECAUSE_BYTES_MAX, Run, Standing, State, run::Verdict};

/// The point of no return: the only place that changes a primary.
pub(super) fn transfer(
    state: &mut State,
    run: &mut Run,
    step: &Step,
    detach_old: bool,
    because: Option<&Sentence>,
    author: &Author,
) -> Verdict {
    // Before anything changes: what cannot be said must not stop half way.
    let because = match because.map(|sentence| said(run, step, sentence)).transpose() {
        Ok(because) => because.unwrap_or_default(),
        Err(why) => return Verdict::Failed { why },
    };
    let Some(new) = run.plan.new.clone() else {
        return Verdict::Failed { why: "the plan names no target for the role".to_owned() };
    };
    let Some(group) = state.groups.get_mut(&run.plan.group) else {
        return Verdict::Failed { why: format!("group {} is gone", run.plan.group) };
    };
    if group.epoch != run.plan.epoch || group.primary != run.plan.old {
        return Verdict::Failed {
            why: format!(
                "the role moved meanwhile: {} is primary in epoch {}, the plan said {} in {}",
                group.primary, group.epoch, run.plan.old, run.plan.epoch
            ),
        };
    }
    for (member, standing) in &group.standings {
        let Standing::Detached { by, because, .. } = standing else { continue };
        if *by == run.id {
            if *member == new {
                return Verdict::Failed { why: format!("this run has detached {new}: {because}") };
            }
            continue;
        }
        // Whoever the target is: the start let it pass for a step that says that it has rejoined.
        if !run.plan.overrides.contains_key("detached") {
            let why =
                format!("{member} is detached since {by} and has not rejoined: the step that says so was left out");
            return Verdict::Failed { why };
        }
    }
    let old = std::mem::replace(&mut group.primary, new.clone());
    group.epoch = Epoch(group.epoch.0 + 1);
    group.primary_since = author.when;
    group.revision += 1;
    group.standings.remove(&new);
    group.lease_before = None;
    if detach_old {
        group.standings.insert(old.clone(), Standing::Detached { by: run.id.clone(), since: author.when, because });
    }
    let note = format!("{new} is primary of {} in epoch {}, after {old}", run.plan.group, group.epoch);
    run.transferred = true;
    run.note(author, note.clone());
    Verdict::Done { note, by: None }
}

pub(super) fn rejoin(state: &mut State, run: &mut Run, member: &MemberName) -> Verdict {
    let Some(group) = state.groups.get_mut(&run.plan.group) else {
        return Verdict::Failed { why: format!("group {} is gone", run.plan.group) };
    };
    if *member == group.primary {
        return Verdict::Failed { why: format!("{member} is primary; only another member can rejoin") };
    }
    group.standings.remove(member);
    group.revision += 1;
    Verdict::Done { note: format!("{member} is a standby again"), by: None }
}

/// The member is out of step from now on. One that was declared lost stays so: that says more.
pub(super) fn detach(
    state: &mut State,
    run: &mut Run,
    step: &Step,
    member: &MemberName,
    because: &Sentence,
    author: &Author,
) -> Verdict {
    let because = match said(run, step, because) {
        Ok(because) => because,
        Err(why) => return Verdict::Failed { why },
    };
    let Some(group) = state.groups.get_mut(&run.plan.group) else {
        return Verdict::Failed { why: format!("group {} is gone", run.plan.group) };
    };
    if *member == group.primary || !group.definition.members.contains(member) {
        return Verdict::Failed {
            why: format!("{member} is primary or no member; only another member can be detached"),
        };
    }
    if let Some(Standing::Lost { why, .. }) = group.standings.get(member) {
        return Verdict::Done { note: format!("{member} was declared lost before: {why}"), by: None };
    }
    let note = format!("{because}: {member} is detached until it has rejoined");
    group.standings.insert(member.clone(), Standing::Detached { by: run.id.clone(), since: author.when, because });
    group.revision += 1;
    run.note(author, note.clone());
    Verdict::Done { note, by: None }
}

/// The group may fail over by itself again.
pub(super) fn rearm(state: &mut State, run: &mut Run, author: &Author) -> Verdict {
    let Some(group) = state.groups.get_mut(&run.plan.group) else {
        return Verdict::Failed { why: format!("group {} is gone", run.plan.group) };
    };
    let note = match group.automatic.limited.take() {
        Some(limited) => format!("the group is no longer limited by {}", limited.by),
        None => "the group was not limited".to_owned(),
    };
    run.note(author, note.clone());
    Verdict::Done { note, by: None }
}

/// A sentence with what earlier steps registered filled in, on one line and no longer than the state may hold.
fn said(run: &Run, step: &Step, sentence: &Sentence) -> Result<String, String> {
    let mut text = sentence.text.clone();
    if sentence.deferred {
        let rendered = expression::render(&Value::String(text), &scope(run, step), &BTreeSet::new())
            .map_err(|error| format!("because: {error}"))?;
        text = match rendered.value {
            Value::String(text) => text,
            other => other.to_string(),
        };
    }
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.len() > BECAUSE_BYTES_MAX {
        let end = (0..=BECAUSE_BYTES_MAX - "…".len()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    Ok(text)
}
