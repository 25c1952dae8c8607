//! What changed between two views of a run, a line each: what `watch` prints where there is no terminal to draw on.
//!
//! Pure, so that a log file of a night's failover can be tested.

use baton_model::view::{RunView, StepView, StepWord, TaskView, TaskWord};

use super::{look::Look, text, time, tree};

/// The lines that the new view adds; all of it where nothing was seen before.
pub fn between(before: Option<&RunView>, after: &RunView, look: &Look) -> Vec<String> {
    let at = time::clock(after.now, &look.zone);
    let mut lines = Vec::new();
    let mut say = |words: String| lines.push(format!("{at}  {}", text::one_line(&words)));
    let id = &after.summary.id;
    if before.is_none() {
        let way = after.new.as_ref().map_or_else(String::new, |new| format!(", {} {} {new}", after.old, look.arrow()));
        say(format!("{id}: {} of {}{way}", after.summary.runbook, after.summary.group));
    }
    for step in &after.steps {
        let old = before.and_then(|view| view.steps.iter().find(|old| old.id == step.id));
        for task in &step.tasks {
            let old = old.and_then(|step| step.tasks.iter().find(|old| old.host == task.host));
            if let Some(words) = task_changed(old, task, after) {
                say(format!("{id} {} {}: {words}", step.id, task.host));
            }
        }
        if old.map_or(StepWord::Pending, |old| old.state) != step.state {
            say(format!("{id} {} {}", step.id, step_words(step)));
        }
    }
    if after.transferred && !before.is_some_and(|view| view.transferred) {
        let new = after.new.as_ref().map_or("the target", |new| new.as_str());
        say(format!("{id}: {new} is primary now"));
    }
    if before.is_none_or(|view| view.summary.phase != after.summary.phase || view.summary.why != after.summary.why) {
        let why = if after.summary.why.is_empty() { String::new() } else { format!(": {}", after.summary.why) };
        say(format!("{id} is {}{why}", after.summary.phase));
    }
    lines
}

fn task_changed(old: Option<&TaskView>, task: &TaskView, view: &RunView) -> Option<String> {
    let seen = (old.map_or(TaskWord::Pending, |old| old.state), old.map_or(0, |old| old.attempt));
    let note = |task: &TaskView| task.progress.as_ref().map(|progress| progress.note.clone());
    let said_more = task.state == TaskWord::Running && note(task).is_some() && old.and_then(note) != note(task);
    if seen == (task.state, task.attempt) && !said_more || task.state == TaskWord::Pending {
        return None;
    }
    let fault = task.fault.as_ref().map_or_else(String::new, |fault| format!(" {fault}"));
    Some(format!("{}{fault}", tree::task_words(task, view.now)))
}

fn step_words(step: &StepView) -> String {
    let name = &step.name;
    let note = if step.note.is_empty() { String::new() } else { format!(" ({})", step.note) };
    match step.state {
        StepWord::Pending => format!("{name}: pending again"),
        StepWord::Running => format!("{name}: running"),
        StepWord::Waiting => format!("{name}: waits for a person: {}", step.question.as_deref().unwrap_or(name)),
        StepWord::Done => format!("{name}: done{note}"),
        StepWord::Skipped => format!("{name}: skipped{note}"),
        StepWord::Failed => format!("{name}: failed{note}"),
        StepWord::Unknown => format!("{name}: unknown, nobody can tell whether it happened{note}"),
    }
}
