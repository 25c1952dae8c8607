//! A plan before it runs: every step, every host, and what each host said it would change.

use baton_model::{
    outcome::Observation,
    plan::{Condition, Kind, OnFailure, Sentence, Step, Task, Unreachable, Work},
    view::{ObservedTask, PlanView},
};
use serde_json::Value;

use super::{
    bill,
    line::{Line, draw_all},
    look::{Look, Paint, Sign},
    text,
};

/// A diff or a statement of a host is shown up to this many lines; `-o json` has all of them.
const CHANGE_LINES_MAX: usize = 40;

pub fn render(view: &PlanView, look: &Look) -> String {
    let plan = &view.plan;
    let mut lines = heading(view, look);
    let id_width = plan.steps().map(|step| text::width(&step.id.0)).max().unwrap_or(1);
    let mut section = "";
    for stage in &plan.stages {
        let title = if stage.precheck { "prechecks" } else { "steps" };
        if section != title {
            section = title;
            lines.push(Line::new(0));
            lines.push(Line::new(0).with(Paint::Dim, title));
        }
        for step in &stage.steps {
            lines.extend(step_lines(view, step, stage.steps.len() > 1, id_width, look));
        }
    }
    if !view.warnings.is_empty() {
        lines.push(Line::new(0));
        for warning in &view.warnings {
            lines.extend(paragraph(&format!("! {warning}"), 0, Paint::Warn, look));
        }
    }
    lines.push(Line::new(0));
    let mut drawn = draw_all(&lines, look);
    if let Some(bill) = &view.bill {
        let title = "what this would lose: the worst database governs, since all of them move";
        drawn.push_str(&draw_all(&[Line::new(0).with(Paint::Bad, title)], look));
        drawn.push_str(&bill::render(bill, look));
        drawn.push('\n');
    }
    drawn.push_str(&draw_all(&paragraph(&view.consequence, 0, Paint::Bold, look), look));
    drawn
}

fn heading(view: &PlanView, look: &Look) -> Vec<Line> {
    let plan = &view.plan;
    let way = match &plan.new {
        Some(new) => format!("{}{} {} {new}", look.dot(), plan.old, look.arrow()),
        None => format!("{}{} stays primary", look.dot(), plan.old),
    };
    let (paint, kind) = match plan.kind {
        Kind::Planned => (Paint::Good, "planned"),
        Kind::Forced => (Paint::Bad, "FORCED: data may be lost"),
        Kind::Maintenance => (Paint::Plain, "maintenance"),
    };
    let title = Line::new(0)
        .with(Paint::Bold, format!("{} of {}", plan.runbook, plan.group))
        .with(Paint::Plain, way)
        .right(paint, kind);
    let mut lines = vec![title];
    if !plan.description.is_empty() {
        lines.extend(paragraph(&plan.description, 2, Paint::Dim, look));
    }
    let mut fact = |name: &str, value: String| {
        lines.push(Line::new(2).with(Paint::Dim, format!("{name:<11}")).with(Paint::Plain, value));
    };
    if !plan.reason.is_empty() {
        fact("reason", plan.reason.clone());
    }
    for (name, value) in &plan.inputs {
        fact("input", format!("{name} = {}", plainly(value)));
    }
    for (guard, reason) in &plan.overrides {
        fact("override", format!("{guard}, because: {reason}"));
    }
    let dot = look.dot();
    fact(
        "made from",
        format!("epoch {}{dot}revision {}{dot}digest {}", plan.epoch, plan.group_revision, view.digest.short()),
    );
    lines
}

fn plainly(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn step_lines(view: &PlanView, step: &Step, together: bool, id_width: usize, look: &Look) -> Vec<Line> {
    let indent = id_width + 3;
    let mut line = Line::new(1).with(Paint::Dim, format!("{:<id_width$}  ", step.id.0)).with(Paint::Bold, &step.name);
    if let Work::Act { tasks } = &step.work {
        line = line.with(Paint::Dim, format!("  {}", work_of(tasks)));
    }
    let mut lines = vec![line.with(Paint::Dim, remarks(step, together, look))];
    match &step.condition {
        Condition::Always => {}
        Condition::Never(why) => {
            let (paint, sign) = look.sign(Sign::Skipped, 0);
            let words = format!(" skipped: {why} is false");
            lines.push(Line::new(indent).with(paint, sign.to_string()).with(Paint::Dim, words));
            return lines;
        }
        Condition::Deferred(when) => {
            lines.push(Line::new(indent).with(Paint::Dim, format!("only if {when}, which earlier steps decide")));
        }
    }
    if let Some(refusal) = &step.refusal {
        let guard = refusal.guard.as_ref().map_or(String::new(), |guard| format!(" (guard: {guard})"));
        let words = format!("the start is refused unless it holds{guard}: {}", refusal.remedy);
        lines.extend(paragraph(&words, indent, Paint::Dim, look));
    }
    match &step.work {
        Work::Act { tasks } => {
            for task in tasks {
                lines.extend(task_lines(view, step, task, indent, look));
            }
        }
        Work::Transfer { detach_old, because } => {
            let new = view.plan.new.as_ref().map_or("the target", |new| new.as_str());
            let words = format!("point of no return: {new} becomes primary, epoch {}", view.plan.epoch.0 + 1);
            lines.push(Line::new(indent).with(Paint::Warn, words));
            if *detach_old {
                lines.extend(detached(view.plan.old.as_str(), because.as_ref(), indent, look));
            }
        }
        Work::Detach { member, because } => {
            lines.extend(detached(member.as_str(), Some(because), indent, look));
        }
        Work::Rejoin { member } => {
            lines.push(Line::new(indent).with(Paint::Plain, format!("{member} counts as a good standby again")));
        }
        Work::Rearm => {
            let words = "the group may fail over by itself again";
            lines.push(Line::new(indent).with(Paint::Plain, words));
        }
        Work::ProveUnreachable { endpoints, from, guard } => {
            let guard = guard.as_ref().map_or(String::new(), |guard| format!(" (guard: {guard})"));
            let words = format!(
                "at least {} must find that nothing answers at {}{guard}",
                text::count(*from as usize, "coordinator"),
                endpoints.join(", ")
            );
            lines.extend(paragraph(&words, indent, Paint::Plain, look));
        }
        Work::Confirm { text } => {
            lines.extend(paragraph(&format!("a person confirms: {text}"), indent, Paint::Warn, look))
        }
        Work::Approval { text } => {
            lines.extend(paragraph(&format!("a second person approves: {text}"), indent, Paint::Warn, look));
        }
    }
    lines
}

/// What a change of role leaves behind.
fn detached(member: &str, because: Option<&Sentence>, indent: usize, look: &Look) -> Vec<Line> {
    let why = match because {
        Some(because) if because.deferred => " (why: earlier steps decide)".to_owned(),
        Some(because) => format!(" ({})", because.text),
        None => String::new(),
    };
    let words = format!("{member} is detached{why}: it must rejoin before the role can move again");
    paragraph(&words, indent, Paint::Warn, look)
}

/// `service.stop on pom1, pom2`.
fn work_of(tasks: &[Task]) -> String {
    let mut actions: Vec<&str> = tasks.iter().map(|task| task.action.as_str()).collect();
    actions.dedup();
    let hosts: Vec<&str> = tasks.iter().map(|task| task.host.as_str()).collect();
    match hosts.len() {
        0..=4 => format!("{} on {}", actions.join(", "), hosts.join(", ")),
        number => format!("{} on {}", actions.join(", "), text::count(number, "host")),
    }
}

fn remarks(step: &Step, together: bool, look: &Look) -> String {
    let mut remarks = Vec::new();
    if together {
        remarks.push("together with the others of its block".to_owned());
    }
    if let Some(parallel) = step.parallel {
        remarks.push(format!("{parallel} at once"));
    }
    if step.retry.attempts > 1 {
        remarks.push(format!("up to {} attempts", step.retry.attempts));
    }
    if let Some(window) = &step.window {
        remarks.push(format!("waits for window {} ({})", window.name, window.definition));
    }
    if step.unreachable == Unreachable::Skip {
        remarks.push("hosts out of reach are skipped".to_owned());
    }
    if step.on_failure == OnFailure::Continue {
        remarks.push("goes on if it fails".to_owned());
    }
    if remarks.is_empty() { String::new() } else { format!("{}{}", look.dot(), remarks.join(look.dot())) }
}

fn task_lines(view: &PlanView, step: &Step, task: &Task, indent: usize, look: &Look) -> Vec<Line> {
    let told = |observed: &&ObservedTask| observed.step == step.id && observed.host == task.host;
    if task.deferred {
        return vec![task_line(task, Sign::Pending, Paint::Dim, "depends on what earlier steps find", indent, look)];
    }
    let Some(observed) = view.observations.iter().find(told) else {
        return vec![task_line(task, Sign::Pending, Paint::Dim, "not asked", indent, look)];
    };
    if let Some(fault) = &observed.fault {
        let mut lines = vec![task_line(task, Sign::Failed, Paint::Bad, "could not be asked", indent, look)];
        lines.extend(paragraph(&fault.to_string(), indent + 2, Paint::Bad, look));
        return lines;
    }
    match &observed.observation {
        None => vec![task_line(task, Sign::Unknown, Paint::Warn, "no answer", indent, look)],
        Some(Observation::InPlace { note }) => {
            let words = if note.is_empty() { "nothing to do".to_owned() } else { format!("nothing to do: {note}") };
            vec![task_line(task, Sign::Done, Paint::Plain, &words, indent, look)]
        }
        Some(Observation::CannotTell { why }) => {
            vec![task_line(task, Sign::Unknown, Paint::Warn, &format!("cannot tell: {why}"), indent, look)]
        }
        Some(Observation::Differs { change }) => match change.trim_end().contains('\n') {
            false => {
                let words = format!("would change: {}", change.trim_end());
                vec![task_line(task, Sign::Running, Paint::Plain, &words, indent, look)]
            }
            true => {
                let mut lines = vec![task_line(task, Sign::Running, Paint::Plain, "would change:", indent, look)];
                lines.extend(change_lines(change, indent + 2, look));
                lines
            }
        },
    }
}

fn task_line(task: &Task, sign: Sign, paint: Paint, words: &str, indent: usize, look: &Look) -> Line {
    // Here nothing runs: what would change is marked, and does not turn.
    let (sign_paint, sign) = match sign {
        Sign::Running => (Paint::Active, if look.unicode { '±' } else { '~' }),
        other => look.sign(other, 0),
    };
    Line::new(indent)
        .with(sign_paint, sign.to_string())
        .with(Paint::Plain, format!(" {}  ", task.host))
        .with(paint, words)
}

/// A diff or SQL, line by line, with a diff's own colours.
fn change_lines(change: &str, indent: usize, look: &Look) -> Vec<Line> {
    let printable = text::printable(change);
    let all: Vec<&str> = printable.trim_end().split('\n').collect();
    let paint = |line: &str| match line.as_bytes().first() {
        Some(b'+') => Paint::Good,
        Some(b'-') => Paint::Bad,
        Some(b'@') => Paint::Active,
        _ => Paint::Plain,
    };
    let mut lines: Vec<Line> = all
        .iter()
        .take(CHANGE_LINES_MAX)
        .map(|line| Line::new(indent).with(Paint::Dim, "| ").with(paint(line), line))
        .collect();
    if all.len() > CHANGE_LINES_MAX {
        let words = format!("{} {} more lines (-o json shows all)", look.ellipsis(), all.len() - CHANGE_LINES_MAX);
        lines.push(Line::new(indent).with(Paint::Dim, words));
    }
    lines
}

fn paragraph(words: &str, indent: usize, paint: Paint, look: &Look) -> Vec<Line> {
    let wrapped = text::wrap(&text::printable(words), look.width.saturating_sub(indent));
    wrapped.into_iter().map(|line| Line::new(indent).with(paint, line)).collect()
}
