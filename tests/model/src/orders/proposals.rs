//! What the leader may propose: what agents have said, what an operator may say, and what it gives up by itself.

use baton_engine::state::TaskStatus;
use baton_model::{ids::TaskId, plan::Unreachable};

use super::{Orders, World, message::Message, record::Entry};
use crate::procedure::group_name;

impl Orders {
    /// What the leader may propose.
    pub(super) fn proposals(&self, world: &World) -> Vec<Entry> {
        let record = self.records.get(world.committed);
        let voice = Self::current(world).voice;
        let mut entries = Vec::new();
        for message in &world.said {
            match &*self.messages.get(*message) {
                Message::Finished(task, outcome) => entries.push(Entry::Report(task.clone(), *outcome)),
                Message::Declined(task) => entries.push(Entry::Decline(task.clone())),
                Message::Fenced { voice: asked, run, host, index } if *asked == voice => {
                    entries.push(Entry::Fenced { run: run.clone(), host: host.clone(), index: *index });
                }
                Message::Fenced { .. } | Message::Down { .. } => {}
            }
        }
        let Some(run) = record.state.open_run(&group_name()) else {
            if record.state.groups[&group_name()].last_run < self.extent.runs {
                entries.push(Entry::Start);
            }
            return entries;
        };
        if world.left.words > 0 {
            entries.extend([Entry::Abort(run.id.clone()), Entry::Retry(run.id.clone()), Entry::Resume(run.id.clone())]);
            entries.extend(run.current_steps().into_iter().map(|step| Entry::Skip(run.id.clone(), step)));
        }
        let due = run.steps.iter().flat_map(|(step, state)| state.tasks.iter().map(move |task| (step, task)));
        let due: Vec<TaskId> = due
            .filter(|(_, task)| matches!(task.status, TaskStatus::Due { .. }))
            .map(|(step, task)| run.task_id(step, task))
            .collect();
        if self.unreachable() == Unreachable::Skip {
            entries.extend(due.iter().cloned().map(Entry::Dispatch));
        }
        // Whether the host is out of reach or not: what the leader believes of it can be wrong in the next moment.
        if world.left.left_out > 0 {
            entries.extend(due.into_iter().map(Entry::LeaveOut));
        }
        if world.left.expiries > 0 {
            for (step, state) in &run.steps {
                let open = |status: &TaskStatus| matches!(status, TaskStatus::Due { .. } | TaskStatus::Fencing { .. });
                let tasks = state.tasks.iter().filter(|task| open(&task.status));
                entries.extend(tasks.map(|task| Entry::Expire(run.task_id(step, task))));
            }
        }
        entries
    }
}
