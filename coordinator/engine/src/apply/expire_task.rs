//! Past its deadline and the grace nobody knows how a task ended: unknown, which is neither success nor failure.

use baton_model::{
    ids::TaskId,
    outcome::{Fault, Outcome, Report},
};

use crate::{
    command::Answer,
    due::GRACE,
    progress,
    state::{State, TaskStatus},
};

use super::{Context, with_run};

pub(super) fn expire(state: &mut State, context: &Context<'_>, id: &TaskId) -> Result<Answer, Fault> {
    with_run(state, &id.run, |state, run| {
        let now = context.author.when;
        let Some(task) = run.task_mut(id) else { return Ok(Answer::Already) };
        let TaskStatus::Due { not_before, .. } = &task.status else { return Ok(Answer::Already) };
        // Checked again here: the proposer's clock may be ahead of the one that stamped the beginning.
        if task.attempt != id.attempt || now < not_before.plus(task.timeout).plus(GRACE) {
            return Ok(Answer::Already);
        }
        let (since, timeout) = (*not_before, task.timeout);
        task.set(TaskStatus::Ended { outcome: Outcome::Unknown });
        task.report = Some(Report {
            outcome: Outcome::Unknown,
            summary: format!("no word within {timeout} and a grace of {GRACE}"),
            fault: Some(Fault::new(
                "BTN-0121",
                format!(
                    "{} did not report within {timeout} and a grace of {GRACE}; whether it acted is not known.",
                    id.host
                ),
                format!(
                    "Look at the host. Then \"baton retry {0}\" (it observes first), or \"baton skip {0} {1} --reason …\".",
                    id.run, id.step
                ),
            )),
            output: Default::default(),
            data: serde_json::Value::Null,
            attachments: Vec::new(),
            started: since,
            ended: now,
        });
        run.note(context.author, format!("{id} unknown: no report in time"));
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}
