//! An agent's word on a task: its outcome, or that it did not admit the order.
//!
//! A report for an attempt that is no longer awaited changes nothing, and is answered so that the agent may forget it.

use baton_model::{
    ids::TaskId,
    outcome::{DATA_BYTES_MAX, Fault, OUTPUT_BYTES_MAX, Outcome, Report},
};

use crate::{
    command::Answer,
    progress,
    state::{State, TaskStatus, run::Intent},
};

use super::{Context, with_run};

pub(super) fn report(state: &mut State, context: &Context<'_>, id: &TaskId, report: &Report) -> Result<Answer, Fault> {
    if !state.runs.contains_key(&id.run) {
        return Ok(Answer::Already);
    }
    within_bounds(report)?;
    with_run(state, &id.run, |state, run| {
        let over = run.phase.is_over();
        let Some((position, task)) = run.task_at_mut(id) else { return Ok(Answer::Already) };
        let was_due = matches!(task.status, TaskStatus::Due { .. });
        if over || task.attempt != id.attempt {
            return Ok(Answer::Already);
        }
        let ended = TaskStatus::Ended { outcome: report.outcome };
        let next = match &task.status {
            TaskStatus::Due { .. } => Some(ended),
            // The end came before the fence did: there is nothing left to wait for.
            TaskStatus::Fencing { intent, .. } => match (intent, report.outcome) {
                (Intent::Abort, _) | (_, Outcome::Unchanged | Outcome::Changed) => Some(ended),
                (Intent::Retry, Outcome::Failed | Outcome::Refused) => Some(TaskStatus::Pending),
                (Intent::Skip { why }, Outcome::Failed | Outcome::Refused) => {
                    Some(TaskStatus::Skipped { why: why.clone() })
                }
                // Only the fence tells.
                (Intent::Retry | Intent::Skip { .. }, Outcome::Unknown) => None,
            },
            // Now somebody knows.
            TaskStatus::Ended { outcome: Outcome::Unknown } => Some(ended),
            TaskStatus::Pending | TaskStatus::Ended { .. } | TaskStatus::Skipped { .. } => return Ok(Answer::Already),
        };
        if report.outcome == Outcome::Unknown && task.report.as_ref() == Some(report) {
            return Ok(Answer::Already);
        }
        if let Some(next) = next {
            task.set(next);
        }
        task.report = Some(report.clone());
        if !report.outcome.is_success() {
            let why = report.fault.as_ref().map_or_else(|| report.summary.clone(), ToString::to_string);
            run.note(context.author, format!("{id} {}: {why}", report.outcome.as_str()));
        }
        if was_due && report.outcome.is_success() && progress::others_are_awaited(run, &id.step, position) {
            debug_assert!(
                progress::is_at_rest(state, run, context.author, context.index),
                "{id}: something did follow"
            );
            return Ok(Answer::Done);
        }
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}

pub(super) fn decline(state: &mut State, context: &Context<'_>, id: &TaskId, fault: &Fault) -> Result<Answer, Fault> {
    let now = context.author.when;
    report(
        state,
        context,
        id,
        &Report {
            outcome: Outcome::Refused,
            summary: "not admitted; nothing was done".to_owned(),
            fault: Some(fault.clone()),
            output: Default::default(),
            data: serde_json::Value::Null,
            attachments: Vec::new(),
            started: now,
            ended: now,
        },
    )
}

/// Replicated state stays small. Agents cut before they report; what is larger comes from a broken one.
fn within_bounds(report: &Report) -> Result<(), Fault> {
    let output = report.output.head.len() + report.output.tail.len();
    let data = report.data.to_string().len();
    let rest = report.summary.len() + report.fault.as_ref().map_or(0, |fault| fault.message.len() + fault.remedy.len());
    if output > OUTPUT_BYTES_MAX || data > DATA_BYTES_MAX || rest > OUTPUT_BYTES_MAX || report.attachments.len() > 64 {
        return Err(Fault::new(
            "BTN-0120",
            format!(
                "the report is too large: {output} bytes of output, {data} of data, {rest} of summary and fault, {} attachments.",
                report.attachments.len()
            ),
            "Agents cut to 16 KiB each and 64 attachments; look at this agent's version.",
        ));
    }
    Ok(())
}
