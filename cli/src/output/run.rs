//! A run in full, for `show`: every task with its fault, output and files, and the history. And the list of runs.

use baton_model::{
    author::Author,
    bill::Acceptance,
    view::{HistoryLine, RunSummary, RunView, TaskView},
};

use super::{
    bill,
    line::{Line, draw_all},
    look::{Look, Paint},
    table::Table,
    text, time, tree,
};

/// `baton show`.
pub fn show(view: &RunView, look: &Look) -> String {
    let mut lines = tree::heading(view, view.now, look);
    let facts = format!("epoch {} at the start{}plan {}", view.epoch, look.dot(), view.digest.short());
    lines.push(Line::new(0).with(Paint::Dim, facts));
    lines.push(Line::new(0));
    let id_width = view.steps.iter().map(|step| text::width(&step.id.0)).max().unwrap_or(1);
    let indent = id_width + 4;
    let mut section = tree::Section::First;
    for step in &view.steps {
        lines.extend(section.heading(step));
        lines.push(tree::step_line(step, view.now, id_width, &step.note, look));
        if let Some(question) = step.question.as_ref().filter(|question| **question != step.name) {
            lines.extend(paragraph(question, indent, Paint::Dim, look));
        }
        let host_width = step.tasks.iter().map(|task| text::width(task.host.as_str())).max().unwrap_or(0);
        for task in &step.tasks {
            lines.push(tree::task_line(task, view.now, indent, host_width, look));
            lines.extend(tree::fault_lines(task, indent + 2, look));
            lines.extend(left_behind(task, indent + 2, look));
        }
    }
    lines.extend(tree::end(view, look));
    let mut drawn = draw_all(&lines, look);
    if let Some(Acceptance { typed, bill }) = &view.accepted_loss {
        let Author { who, when, .. } = &view.summary.started;
        let when = time::stamp(*when, &look.zone);
        let words = format!("{who} accepted the loss of data by typing \"{typed}\" on {when}, with this bill:");
        drawn.push('\n');
        drawn.push_str(&draw_all(&paragraph(&words, 0, Paint::Bad, look), look));
        drawn.push_str(&bill::render(bill, look));
    }
    if !view.history.is_empty() {
        drawn.push('\n');
        drawn.push_str(&history(&view.history, look));
    }
    drawn
}

/// Output, data and files of a task.
fn left_behind(task: &TaskView, indent: usize, look: &Look) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut verbatim = |words: &str| {
        for line in text::printable(words).trim_end_matches('\n').split('\n') {
            lines.push(Line::new(indent).with(Paint::Dim, "| ").with(Paint::Plain, line));
        }
    };
    if !task.output.head.is_empty() {
        verbatim(&task.output.head);
    }
    if task.output.omitted_bytes > 0 {
        verbatim(&format!("[{} bytes left out; \"baton output\" fetches all of it]", task.output.omitted_bytes));
    }
    if !task.output.tail.is_empty() {
        verbatim(&task.output.tail);
    }
    if !task.data.is_null() {
        lines.extend(paragraph(&format!("data {}", task.data), indent, Paint::Dim, look));
    }
    for file in &task.attachments {
        let words = format!("file {} ({} bytes)", file.name, file.bytes);
        lines.push(Line::new(indent).with(Paint::Dim, words));
    }
    lines
}

fn paragraph(words: &str, indent: usize, paint: Paint, look: &Look) -> Vec<Line> {
    let wrapped = text::wrap(&text::printable(words), look.width.saturating_sub(indent));
    wrapped.into_iter().map(|line| Line::new(indent).with(paint, line)).collect()
}

fn history(history: &[HistoryLine], look: &Look) -> String {
    let mut table = Table::new(&["WHEN", "WHO", "WHAT"]);
    for HistoryLine { author, what } in history {
        let why = if author.why.is_empty() { String::new() } else { format!(" ({})", author.why) };
        table.row([
            (Paint::Dim, time::stamp(author.when, &look.zone)),
            (Paint::Plain, author.who.to_string()),
            (Paint::Plain, format!("{what}{why}")),
        ]);
    }
    table.draw(look)
}

/// `baton runs`.
pub fn list(runs: &[RunSummary], look: &Look) -> String {
    let mut table = Table::new(&["RUN", "RUNBOOK", "STARTED", "BY", "TOOK", "STATE", "WHY"]);
    for run in runs {
        let took = run.ended.map_or_else(String::new, |ended| time::span(ended.since(run.started.when)));
        let waits = if run.waiting && !run.phase.contains("halted") { ", waits for a person" } else { "" };
        table.row([
            (Paint::Bold, run.id.to_string()),
            (Paint::Plain, run.runbook.to_string()),
            (Paint::Plain, time::stamp(run.started.when, &look.zone)),
            (Paint::Plain, run.started.who.to_string()),
            (Paint::Dim, took),
            (tree::phase_paint(&run.phase, run.over, run.waiting), format!("{}{waits}", run.phase)),
            (Paint::Plain, run.why.clone()),
        ]);
    }
    table.draw(look)
}
