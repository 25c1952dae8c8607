//! A run as it is shown.

use std::collections::BTreeMap;

use baton_engine::state::{Phase, Run, StepState, TaskState, TaskStatus, run::Verdict};
use baton_model::{
    ids::{HostName, StepId},
    outcome::Outcome,
    plan::{Step, Work},
    time::Moment,
    view::{HistoryLine, RunSummary, RunView, StepView, StepWord, TaskView, TaskWord},
};

use crate::sessions::Sessions;

pub fn summary(run: &Run, now: Moment) -> RunSummary {
    let why = match &run.phase {
        Phase::Halted { why } | Phase::AbortHalted { why } => why.clone(),
        Phase::Aborted { note } => note.clone(),
        Phase::Running => waits(run, now),
        Phase::Checking => "what it started for is looked at again".to_owned(),
        _ => String::new(),
    };
    let wants_a_word = goes_on(run) && run.steps.values().any(|step| step.verdict == Verdict::Waiting);
    RunSummary {
        id: run.id.clone(),
        group: run.plan.group.clone(),
        runbook: run.plan.runbook.clone(),
        kind: run.plan.kind,
        phase: run.phase.as_str().to_owned(),
        why,
        started: run.started.clone(),
        ended: run.ended,
        over: run.phase.is_over(),
        waiting: !run.phase.is_over() && (run.phase.is_halted() || wants_a_word),
    }
}

pub fn view(run: &Run, sessions: &Sessions, now: Moment) -> RunView {
    let mut steps = Vec::new();
    for (number, stage) in run.plan.stages.iter().enumerate() {
        for step in &stage.steps {
            if let Some(state) = run.steps.get(&step.id) {
                let mut shown = step_view(run, &step.id, &step.name, number, state, sessions);
                shown.precheck = stage.precheck;
                shown.question = question(step);
                if let Some(window) = step.window.as_ref().filter(|_| awaits(run, state)) {
                    shown.waits_for = window.wait(now);
                    shown.note = format!("waits for {}", shown.waits_for);
                }
                steps.push(shown);
            }
        }
    }
    let undo = run.steps.iter().filter(|(id, _)| run.planned_step(id).is_none());
    let mut undo: Vec<StepView> = undo
        .map(|(id, state)| {
            let of = id.0.trim_end_matches("/undo");
            let name = run
                .plan
                .steps()
                .find(|step| of == step.id.0 || of.starts_with(&format!("{}.", step.id)))
                .map_or_else(|| "undo".to_owned(), |step| format!("undo: {}", step.name));
            let mut shown = step_view(run, id, &name, run.stage, state, sessions);
            shown.undo = true;
            shown
        })
        .collect();
    undo.sort_by_key(|step| (step.began.is_none(), step.began));
    steps.extend(undo);
    RunView {
        summary: summary(run, now),
        old: run.plan.old.clone(),
        new: run.plan.new.clone(),
        reason: run.plan.reason.clone(),
        epoch: run.plan.epoch,
        digest: run.digest.clone(),
        transferred: run.transferred,
        stage: run.stage,
        stages: run.plan.stages.len(),
        accepted_loss: run.accepted_loss.clone(),
        steps,
        history: run
            .history
            .iter()
            .map(|line| HistoryLine { author: line.author.clone(), what: line.what.clone() })
            .collect(),
        now,
    }
}

/// Whether what is planned may still come: neither over nor on the way back.
fn goes_on(run: &Run) -> bool {
    !run.phase.is_over() && !run.phase.is_abort()
}

/// It waits for its window still, and not for nothing.
fn awaits(run: &Run, state: &StepState) -> bool {
    state.verdict == Verdict::AwaitsWindow && goes_on(run)
}

/// What a running run waits for that nobody can hurry but by an override.
fn waits(run: &Run, now: Moment) -> String {
    let told: Vec<String> = run
        .awaited_windows(&run.plan)
        .into_iter()
        .map(|(step, window)| format!("step {step} waits for {}", window.wait(now)))
        .collect();
    told.join("; ")
}

fn question(step: &Step) -> Option<String> {
    match &step.work {
        Work::Confirm { text } | Work::Approval { text } => Some(text.clone()),
        Work::Act { .. }
        | Work::Transfer { .. }
        | Work::Rejoin { .. }
        | Work::Detach { .. }
        | Work::Rearm
        | Work::ProveUnreachable { .. } => None,
    }
}

fn step_view(run: &Run, id: &StepId, name: &str, stage: usize, state: &StepState, sessions: &Sessions) -> StepView {
    let note = match &state.verdict {
        verdict if given_up(run, verdict) => String::new(),
        Verdict::Done { note, by } => by.as_ref().map_or(note.clone(), |by| format!("{note} by {}", by.who)),
        Verdict::Skipped { why } | Verdict::Failed { why } => why.clone(),
        Verdict::Probing { .. } => "the coordinators try to connect".to_owned(),
        Verdict::AwaitsLease { ended, .. } => awaited_leases(ended),
        Verdict::Open | Verdict::Waiting | Verdict::AwaitsWindow => String::new(),
    };
    StepView {
        id: id.clone(),
        name: name.to_owned(),
        stage,
        precheck: false,
        undo: false,
        state: word_of_step(run, state),
        note,
        waits_for: String::new(),
        question: None,
        began: state.began,
        ended: state.ended,
        tasks: state.tasks.iter().map(|task| task_view(run, id, task, sessions)).collect(),
    }
}

/// The role moves when nobody can hold it any more.
fn awaited_leases(ended: &BTreeMap<HostName, String>) -> String {
    let ended: Vec<String> = ended.iter().map(|(host, how)| format!("{host}: {how}")).collect();
    let so_far = if ended.is_empty() { String::new() } else { format!("; so far {}", ended.join("; ")) };
    format!("waits until the old primary's lease is released or has certainly run out{so_far}")
}

/// What it waited for when the run was aborted will not come, and nobody is asked for it any more.
fn given_up(run: &Run, verdict: &Verdict) -> bool {
    let waits = match verdict {
        Verdict::Waiting | Verdict::AwaitsWindow | Verdict::Probing { .. } | Verdict::AwaitsLease { .. } => true,
        Verdict::Open | Verdict::Done { .. } | Verdict::Skipped { .. } | Verdict::Failed { .. } => false,
    };
    waits && !goes_on(run)
}

fn word_of_step(run: &Run, state: &StepState) -> StepWord {
    match &state.verdict {
        verdict if given_up(run, verdict) => return StepWord::Pending,
        Verdict::Waiting => return StepWord::Waiting,
        Verdict::AwaitsWindow => return StepWord::Pending,
        Verdict::Probing { .. } | Verdict::AwaitsLease { .. } => return StepWord::Running,
        Verdict::Done { .. } => return StepWord::Done,
        Verdict::Skipped { .. } => return StepWord::Skipped,
        Verdict::Failed { .. } => return StepWord::Failed,
        Verdict::Open => {}
    }
    let any = |test: &dyn Fn(&TaskStatus) -> bool| state.tasks.iter().any(|task| test(&task.status));
    if any(&|status| *status == TaskStatus::Ended { outcome: Outcome::Unknown }) {
        StepWord::Unknown
    } else if any(&TaskStatus::is_bad) {
        StepWord::Failed
    } else if state.began.is_none() || state.tasks.iter().all(|task| task.status == TaskStatus::Pending) {
        StepWord::Pending
    } else if !state.is_over() {
        StepWord::Running
    } else if state.tasks.iter().all(|task| matches!(task.status, TaskStatus::Skipped { .. })) {
        StepWord::Skipped
    } else {
        StepWord::Done
    }
}

fn task_view(run: &Run, step: &StepId, task: &TaskState, sessions: &Sessions) -> TaskView {
    let live = match task.status {
        TaskStatus::Due { .. } | TaskStatus::Fencing { .. } => {
            sessions.live(&task.host, &run.task_id(step, task)).unwrap_or_default()
        }
        _ => Default::default(),
    };
    let state = match &task.status {
        TaskStatus::Pending => TaskWord::Pending,
        TaskStatus::Due { .. } if live.accepted => TaskWord::Running,
        TaskStatus::Due { .. } => TaskWord::Dispatched,
        TaskStatus::Fencing { .. } => TaskWord::Fencing,
        TaskStatus::Skipped { .. } => TaskWord::Skipped,
        TaskStatus::Ended { outcome } => match outcome {
            Outcome::Unchanged => TaskWord::Unchanged,
            Outcome::Changed => TaskWord::Changed,
            Outcome::Failed => TaskWord::Failed,
            Outcome::Refused => TaskWord::Refused,
            Outcome::Unknown => TaskWord::Unknown,
        },
    };
    let report = task.report.as_ref();
    let summary = match &task.status {
        TaskStatus::Skipped { why } => why.clone(),
        _ => report.map_or(String::new(), |report| report.summary.clone()),
    };
    TaskView {
        host: task.host.clone(),
        action: task.action.clone(),
        attempt: task.attempt,
        state,
        summary,
        fault: report.and_then(|report| report.fault.clone()),
        progress: live.progress,
        output: report.map(|report| report.output.clone()).unwrap_or_default(),
        data: report.map(|report| report.data.clone()).unwrap_or_default(),
        attachments: report.map(|report| report.attachments.clone()).unwrap_or_default(),
        took: report.map(|report| report.ended.since(report.started)),
    }
}
