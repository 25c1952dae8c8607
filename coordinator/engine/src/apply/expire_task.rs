//! Past its deadline and the grace nobody knows how a task ended: unknown, which is neither success nor failure.

use baton_model::{
    ids::TaskId,
    outcome::{Fault, Outcome, Report},
    time::Moment,
};

use crate::{
    command::Answer,
    due, progress,
    state::{State, TaskState, TaskStatus},
};

use super::{Context, with_run};

pub(super) fn expire(state: &mut State, context: &Context<'_>, id: &TaskId) -> Result<Answer, Fault> {
    if !state.runs.contains_key(&id.run) {
        return Ok(Answer::Already);
    }
    with_run(state, &id.run, |state, run| {
        let now = context.author.when;
        let over = run.phase.is_over();
        let Some(task) = run.task_mut(id) else { return Ok(Answer::Already) };
        // Checked again here: the proposer's clock may be ahead of the one that stamped the beginning.
        if over || task.attempt != id.attempt || due::gives_up(task).is_none_or(|at| now < at) {
            return Ok(Answer::Already);
        }
        let report = silence(id, task, now);
        let what = report.summary.clone();
        task.set(TaskStatus::Ended { outcome: Outcome::Unknown });
        task.report = Some(report);
        run.note(context.author, format!("{id} unknown: {what}"));
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}

/// What can be said of an attempt that nothing was heard of.
fn silence(id: &TaskId, task: &TaskState, now: Moment) -> Report {
    let (since, waited) = match &task.status {
        TaskStatus::Fencing { since, .. } => {
            (*since, format!("its host did not acknowledge the fence within {}", due::FENCE_PATIENCE))
        }
        TaskStatus::Due { not_before, .. } => {
            (*not_before, format!("no report within {} and a grace of {}", task.timeout, due::GRACE))
        }
        TaskStatus::Pending | TaskStatus::Ended { .. } | TaskStatus::Skipped { .. } => (now, String::new()),
    };
    let fault = Fault::new(
        "BTN-0121",
        format!("{}: {waited}; whether it acted is not known.", id.host),
        format!(
            "Look at the host. Then \"baton retry {0}\" (it observes first), or \"baton skip {0} {1} --reason …\".",
            id.run, id.step
        ),
    );
    Report {
        outcome: Outcome::Unknown,
        summary: waited,
        fault: Some(fault),
        output: Default::default(),
        data: serde_json::Value::Null,
        attachments: Vec::new(),
        started: since,
        ended: now,
    }
}
