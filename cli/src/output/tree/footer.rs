//! What stands below the steps: how it ended, or what it waits for and what an operator can type.

use baton_model::{
    time::Moment,
    view::{RunView, StepWord},
};

use crate::output::{
    line::Line,
    look::{Look, Paint},
    text, time,
    tree::phase_paint,
};

pub(in crate::output) fn lines(view: &RunView, now: Moment, look: &Look) -> Vec<Line> {
    let mut lines = Vec::new();
    if view.transferred {
        lines.push(role_moved(view));
    }
    if view.summary.over {
        lines.extend(ended(view, now, look));
    } else if view.summary.waiting || view.summary.phase.contains("halted") {
        lines.extend(asked(view, look));
        if view.summary.phase.contains("halted") {
            lines.extend(halted(view, look));
        }
    }
    if !view.summary.over {
        lines.extend(windows(view, look));
    }
    if !lines.is_empty() {
        lines.insert(0, Line::new(0));
    }
    lines
}

fn role_moved(view: &RunView) -> Line {
    let new = view.new.as_ref().map_or("the target", |new| new.as_str());
    // Each change of the primary raises the epoch by one.
    let words =
        format!("{new} is primary since this run (epoch {}, before {}: {})", view.epoch.0 + 1, view.epoch, view.old);
    Line::new(0).with(Paint::Good, words)
}

fn ended(view: &RunView, now: Moment, look: &Look) -> Vec<Line> {
    let summary = &view.summary;
    let lasted = time::span(summary.ended.unwrap_or(now).since(summary.started.when));
    let why = if summary.why.is_empty() { String::new() } else { format!(": {}", summary.why) };
    let paint = phase_paint(&summary.phase, summary.over, summary.waiting);
    wrapped(&format!("{} {} after {lasted}{why}", summary.id, summary.phase), paint, look)
}

/// The questions of steps that wait for a person.
fn asked(view: &RunView, look: &Look) -> Vec<Line> {
    let waiting = view.steps.iter().filter(|step| step.state == StepWord::Waiting);
    waiting
        .flat_map(|step| {
            let question = step.question.as_deref().unwrap_or(&step.name);
            let mut lines = wrapped(&format!("step {} waits for a person: {question}", step.id), Paint::Warn, look);
            let command = format!("baton confirm {} {} --reason {}", view.summary.id, step.id, look.ellipsis());
            lines.push(
                Line::new(2)
                    .with(Paint::Bold, command)
                    .with(Paint::Dim, "  it is so (or \"baton approve\", as a second person)"),
            );
            if !view.summary.phase.contains("halted") {
                lines.push(abort(view, look));
            }
            lines
        })
        .collect()
}

/// Steps that wait for a maintenance window. Nothing has to be typed; it can be opened by hand, on the record.
fn windows(view: &RunView, look: &Look) -> Vec<Line> {
    let waiting = view.steps.iter().filter(|step| !step.waits_for.is_empty());
    let mut lines: Vec<Line> = waiting
        .flat_map(|step| wrapped(&format!("step {} waits for {}", step.id, step.waits_for), Paint::Warn, look))
        .collect();
    if !lines.is_empty() {
        let command = format!("baton override {} window --reason {}", view.summary.id, look.ellipsis());
        lines.push(Line::new(2).with(Paint::Bold, command).with(Paint::Dim, "  begin now, outside the window"));
        if !view.summary.waiting {
            lines.push(abort(view, look));
        }
    }
    lines
}

fn halted(view: &RunView, look: &Look) -> Vec<Line> {
    let id = &view.summary.id;
    let why = if view.summary.why.is_empty() { "it waits for an operator" } else { &view.summary.why };
    let mut lines = wrapped(&format!("{}: {why}", view.summary.phase), Paint::Warn, look);
    let unknown = view.steps.iter().any(|step| step.state == StepWord::Unknown);
    if unknown {
        let words = "Nobody can tell whether an effect happened. Look at the host; a retry looks before it acts.";
        lines.extend(wrapped(words, Paint::Plain, look));
    }
    let held = view.steps.iter().find(|step| matches!(step.state, StepWord::Failed | StepWord::Unknown));
    let step = held.map_or(String::new(), |step| format!(" {}", step.id));
    let dots = look.ellipsis();
    let mut offer = |command: String, meaning: &str| {
        lines.push(Line::new(2).with(Paint::Bold, command).with(Paint::Dim, format!("  {meaning}")));
    };
    offer(format!("baton retry {id} --reason {dots}"), "once more what went wrong");
    offer(format!("baton skip {id}{step} --reason {dots}"), "go on as if it were done");
    lines.push(abort(view, look));
    lines
}

fn abort(view: &RunView, look: &Look) -> Line {
    let meaning =
        if view.transferred { "end it here; the role stays where it is" } else { "undo what was done, and end" };
    let command = format!("baton abort {} --reason {}", view.summary.id, look.ellipsis());
    Line::new(2).with(Paint::Bold, command).with(Paint::Dim, format!("  {meaning}"))
}

fn wrapped(words: &str, paint: Paint, look: &Look) -> Vec<Line> {
    text::wrap(&text::printable(words), look.width).into_iter().map(|line| Line::new(0).with(paint, line)).collect()
}
