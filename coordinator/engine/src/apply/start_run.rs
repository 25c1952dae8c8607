//! Start a run. What was shown is what runs: a plan whose group, runbook or epoch moved is refused with the difference.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use baton_model::{
    action,
    bill::Acceptance,
    digest::Digest,
    ids::RunId,
    outcome::Fault,
    plan::{Kind, Plan, Step, Work},
};

use crate::{
    command::Answer,
    progress,
    state::{Phase, Run, Standing, State, StepState, TaskState, TaskStatus, run::is_undo},
};

use super::{Context, close, confirm_cause::within, define_group::busy, no_group};

mod automatic;

/// What goes with a plan.
pub(super) struct Said<'a> {
    pub acceptance: Option<&'a Acceptance>,
    /// Why it starts by itself.
    pub cause: Option<&'a str>,
}

pub(super) fn start(
    state: &mut State,
    context: &Context<'_>,
    plan: &Plan,
    digest: &Digest,
    said: &Said<'_>,
) -> Result<Answer, Fault> {
    let group = state.groups.get(&plan.group).ok_or_else(|| no_group(&plan.group))?;
    if let Some(open) = &group.open_run {
        return Err(busy(&plan.group, open));
    }
    let again = format!("Run \"baton plan {} {}\" again and start what it shows.", plan.group, plan.runbook);
    let moved = |what: String| Err(Fault::new("BTN-0102", format!("the plan is out of date: {what}."), again.clone()));
    if plan.digest() != *digest {
        return moved(format!("its digest is {}, the one shown was {}", plan.digest().short(), digest.short()));
    }
    if plan.epoch != group.epoch || plan.old != group.primary {
        return moved(format!(
            "made when {} was primary in epoch {}, now {} is, in epoch {}",
            plan.old, plan.epoch, group.primary, group.epoch
        ));
    }
    if plan.group_revision != group.revision {
        return moved(format!(
            "made at revision {} of group {}, now {}",
            plan.group_revision, plan.group, group.revision
        ));
    }
    match group.definition.runbooks.get(&plan.runbook).map(|source| source.digest()) {
        Some(now) if now == plan.runbook_digest => {}
        Some(now) => {
            return moved(format!(
                "made from runbook {} with digest {}, now {}",
                plan.runbook,
                plan.runbook_digest.short(),
                now.short()
            ));
        }
        None => return moved(format!("group {} no longer has a runbook {}", plan.group, plan.runbook)),
    }
    well_formed(plan)?;
    let accepted_loss = plan.loses_data.then(|| accepted(plan, said.acceptance)).transpose()?.cloned();
    if plan.transfer_stage().is_some() {
        role_may_move(state, plan)?;
    }
    if said.cause.is_some() {
        automatic::may_start(state, context, plan)?;
    }
    let group = state.groups.get_mut(&plan.group).ok_or_else(|| no_group(&plan.group))?;
    group.last_run += 1;
    let id = RunId { group: plan.group.clone(), number: group.last_run };
    group.open_run = Some(id.clone());
    let mut run = Run {
        id: id.clone(),
        plan: Arc::new(plan.clone()),
        digest: digest.clone(),
        phase: if said.cause.is_some() { Phase::Checking } else { Phase::Running },
        started: context.author.clone(),
        ended: None,
        stage: 0,
        stage_begun: false,
        steps: plan.steps().map(|step| (step.id.clone(), open_step(step))).collect(),
        overrides: BTreeMap::new(),
        registered: BTreeMap::new(),
        transferred: false,
        cause: said.cause.map(within),
        accepted_loss,
        undo: None,
        mark: context.index,
        history: VecDeque::new(),
    };
    run.note(context.author, format!("started {} of {} ({})", plan.runbook, plan.group, digest.short()));
    if let Some(cause) = run.cause.clone() {
        run.note(context.author, format!("it started by itself: {cause}"));
    }
    if let Some(Acceptance { typed, bill }) = run.accepted_loss.clone() {
        run.note(context.author, format!("accepted the loss of data by typing {typed:?}: {}", bill.verdict()));
    }
    progress::advance(state, &mut run, context.author, context.index);
    let over = run.phase.is_over();
    state.runs.insert(id.clone(), run);
    if over {
        close(state, &id);
    }
    Ok(Answer::Started { run: id })
}

/// What can lose data starts on an operator's word alone, and that names the group.
fn accepted<'a>(plan: &Plan, acceptance: Option<&'a Acceptance>) -> Result<&'a Acceptance, Fault> {
    let remedy = format!("Give --accept-data-loss={} once you have read the bill.", plan.group);
    match acceptance {
        None => Err(Fault::new(
            "BTN-0170",
            format!("runbook {} of {} can lose data, and nobody has accepted that.", plan.runbook, plan.group),
            remedy,
        )),
        Some(acceptance) if acceptance.typed != plan.group.as_str() => Err(Fault::new(
            "BTN-0171",
            format!(
                "the loss of data is not accepted: {:?} was typed, not {:?}.",
                acceptance.typed,
                plan.group.as_str()
            ),
            remedy,
        )),
        Some(acceptance) => Ok(acceptance),
    }
}

/// What the planner never makes, and the engine could not carry out: it would share a state, or never end.
fn well_formed(plan: &Plan) -> Result<(), Fault> {
    let wrong = |what: String| {
        Err(Fault::new("BTN-0126", format!("the plan cannot be carried out: {what}."), "This is a defect; report it."))
    };
    let mut ids = BTreeSet::new();
    let mut transfers = 0;
    for stage in &plan.stages {
        for step in &stage.steps {
            if !ids.insert(&step.id) || is_undo(&step.id) {
                return wrong(format!("two steps are called {}", step.id));
            }
            if step.parallel == Some(0) {
                return wrong(format!("step {} works on no host at once", step.id));
            }
            match &step.work {
                Work::Act { tasks } => {
                    let mut hosts = BTreeSet::new();
                    let losing = tasks.iter().chain(&step.undo).find(|task| action::loses_data(&task.action));
                    if let Some(task) = losing.filter(|_| plan.kind != Kind::Forced) {
                        return wrong(format!("step {} is {}, and the run is not forced", step.id, task.action));
                    }
                    if let Some(twice) = tasks.iter().find(|task| !hosts.insert(&task.host)) {
                        return wrong(format!("step {} names {} twice", step.id, twice.host));
                    }
                }
                Work::Transfer { .. } => transfers += 1,
                Work::Rejoin { .. }
                | Work::Detach { .. }
                | Work::Rearm
                | Work::ProveUnreachable { .. }
                | Work::Confirm { .. }
                | Work::Approval { .. } => {}
            }
            if stage.precheck
                && matches!(step.work, Work::Transfer { .. } | Work::Rejoin { .. } | Work::Detach { .. } | Work::Rearm)
            {
                return wrong(format!("precheck {} changes the group", step.id));
            }
        }
    }
    if transfers > 1 {
        return wrong(format!("it moves the role {transfers} times"));
    }
    Ok(())
}

fn open_step(step: &Step) -> StepState {
    let tasks = match &step.work {
        Work::Act { tasks } => tasks
            .iter()
            .map(|task| TaskState {
                host: task.host.clone(),
                action: task.action.clone(),
                params: task.params.clone(),
                timeout: step.timeout,
                attempt: 0,
                dispatched: false,
                status: TaskStatus::Pending,
                report: None,
            })
            .collect(),
        Work::Transfer { .. }
        | Work::Rejoin { .. }
        | Work::Detach { .. }
        | Work::Rearm
        | Work::ProveUnreachable { .. }
        | Work::Confirm { .. }
        | Work::Approval { .. } => Vec::new(),
    };
    StepState::new(tasks)
}

/// A second change of role is refused until the first one's old primary has rejoined or has been declared lost.
fn role_may_move(state: &State, plan: &Plan) -> Result<(), Fault> {
    let group = state.groups.get(&plan.group).ok_or_else(|| no_group(&plan.group))?;
    let Some(new) = &plan.new else {
        return Err(Fault::new(
            "BTN-0114",
            "the plan moves the role but names no target.",
            "Give the target with --to.",
        ));
    };
    if *new == group.primary || !group.definition.members.contains(new) {
        return Err(Fault::new(
            "BTN-0115",
            format!("{new} cannot become primary of {}: it is primary already or not a member.", plan.group),
            "Choose another member with --to.",
        ));
    }
    for (member, standing) in &group.standings {
        let overridden = plan.overrides.contains_key("detached");
        match standing {
            // The transfer itself refuses where that step did not come about.
            Standing::Detached { .. } if plan.rejoins_before_transfer(member) => {}
            Standing::Detached { by, because, .. } if !overridden => {
                return Err(Fault::new(
                    "BTN-0103",
                    match because.as_str() {
                        "" => format!("{member} is detached since {by} took the role from it, and has not rejoined."),
                        because => format!("{because}: {member} is detached since {by}, and has not rejoined."),
                    },
                    format!(
                        "Run its rejoin runbook, or say that it is gone: \"baton lost {} {member} --reason …\".",
                        plan.group
                    ),
                ));
            }
            Standing::Lost { .. } if member == new => {
                return Err(Fault::new(
                    "BTN-0104",
                    format!("{member} was declared lost and cannot become primary."),
                    "Rebuild it and run its rejoin runbook first.",
                ));
            }
            Standing::Detached { .. } | Standing::Lost { .. } => {}
        }
    }
    Ok(())
}
