//! What the leader may propose: what agents have said, what an operator may say, and what it gives up by itself.

use baton_engine::state::TaskStatus;
use baton_model::ids::TaskId;

use super::{
    Orders, Switch, World,
    message::{Down, Message, Voice},
    record::Entry,
};
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
        if world.left.left_out > 0 {
            let due = run.steps.iter().flat_map(|(step, state)| state.tasks.iter().map(move |task| (step, task)));
            let due = due.filter(|(_, task)| matches!(task.status, TaskStatus::Due { .. }));
            let tasks = due.map(|(step, task)| run.task_id(step, task));
            entries.extend(tasks.filter(|task| self.may_be_left_out(world, voice, task)).map(Entry::LeaveOut));
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

    fn may_be_left_out(&self, world: &World, voice: Voice, task: &TaskId) -> bool {
        let began = self.records.get(Self::current(world).since).state.index;
        let status = self.records.get(world.committed).task(task).map(|task| task.status.clone());
        let is_of_this_reign = matches!(status, Some(TaskStatus::Due { index, .. }) if index > began);
        let careful = self.extent.switch == Switch::LeftOutCarefully;
        !self.was_ordered(world, voice, task) && (is_of_this_reign || !careful)
    }

    pub(super) fn is_withheld(&self, withheld: Option<u32>, message: u32) -> bool {
        let Some(entry) = withheld.map(|entry| self.entries.get(entry)) else { return false };
        match (&*entry, &*self.messages.get(message)) {
            (Entry::LeaveOut(task), Message::Down { what: Down::Execute(ordered, _), .. }) => task == ordered,
            _ => false,
        }
    }

    /// What this leader has ordered in this reign is not left out, whatever became of its session.
    fn was_ordered(&self, world: &World, by: Voice, task: &TaskId) -> bool {
        world.said.iter().any(|message| match &*self.messages.get(*message) {
            Message::Down { voice, what: Down::Execute(ordered, _), .. } => *voice == by && ordered == task,
            _ => false,
        })
    }
}
