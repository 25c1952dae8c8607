//! A run as a tree of steps and tasks: what `watch` draws again and again, and leaves on the screen at the end.
//!
//! Apart from `show` because it must fit the screen: what went well folds into a line, what runs, waits or failed unfolds.
//! It must never make more of what it knows: unknown is shown as unknown, and an old word of a host as old.

use baton_model::{
    time::{Moment, Span},
    view::{RunView, StepView, StepWord, TaskView, TaskWord},
};

use super::{
    line::{Line, draw_all},
    look::{Look, Paint, Sign},
    text, time,
};

mod footer;

/// So many tasks of one step are drawn while it runs; the others are counted.
const TASKS_MAX: usize = 12;
/// A progress report older than this is said to be old.
const PROGRESS_FRESH: Span = Span::from_secs(15);

/// One picture.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    pub view: &'a RunView,
    /// The coordinator's clock, as far as it can be told from here.
    pub now: Moment,
    /// Rows of the screen, where the picture must fit; all of it otherwise.
    pub height: Option<usize>,
    /// Something about the watching itself: no coordinator answers.
    pub notice: Option<&'a str>,
}

/// As text, each line with its end.
pub fn render(frame: &Frame<'_>, look: &Look) -> String {
    let view = frame.view;
    let mut head = heading(view, frame.now, look);
    head.push(Line::new(0));
    let mut tail = footer::lines(view, frame.now, look);
    if let Some(notice) = frame.notice {
        tail.push(Line::new(0).with(Paint::Warn, notice));
    }
    let id_width = view.steps.iter().map(|step| text::width(&step.id.0)).max().unwrap_or(1);
    let mut section = Section::First;
    let blocks: Vec<Block> = view
        .steps
        .iter()
        .map(|step| {
            let mut lines = section.heading(step);
            lines.extend(step_lines(step, frame, id_width, look));
            Block { lines, word: step.state }
        })
        .collect();
    // The cursor stands on a line of its own below the picture.
    let room = frame.height.map(|height| height.saturating_sub(head.len() + tail.len() + 1));
    head.extend(fit(blocks, room, look));
    head.extend(tail);
    draw_all(&head, look)
}

/// `pom-17  switchover of pom, db1 → db2   running 1:23`, and who asked for it.
pub(super) fn heading(view: &RunView, now: Moment, look: &Look) -> Vec<Line> {
    let summary = &view.summary;
    let way = match &view.new {
        Some(new) => format!("{}{} {} {new}", look.dot(), view.old, look.arrow()),
        None => String::new(),
    };
    let lasted = summary.ended.unwrap_or(now).since(summary.started.when);
    let paint = phase_paint(&summary.phase, summary.over, summary.waiting);
    let title = Line::new(0)
        .with(Paint::Bold, summary.id.to_string())
        .with(Paint::Plain, format!("  {} of {}{way}", summary.runbook, summary.group))
        .right(paint, format!("{}  {:>7}", summary.phase, time::span(lasted)));
    let why = if view.reason.is_empty() { String::new() } else { format!(": {}", view.reason) };
    let asked =
        format!("asked for by {} at {}{why}", summary.started.who, time::stamp(summary.started.when, &look.zone));
    vec![title, Line::new(0).with(Paint::Dim, asked)]
}

pub(super) fn phase_paint(phase: &str, over: bool, waiting: bool) -> Paint {
    match phase {
        "succeeded" => Paint::Good,
        _ if over => Paint::Bad,
        _ if waiting || phase.contains("halted") => Paint::Warn,
        _ => Paint::Active,
    }
}

/// What stands below the steps.
pub(super) fn end(view: &RunView, look: &Look) -> Vec<Line> {
    footer::lines(view, view.now, look)
}

struct Block {
    lines: Vec<Line>,
    word: StepWord,
}

/// Prechecks, steps and undo are told apart by a heading, where there is more than one kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    First,
    Prechecks,
    Steps,
    Undo,
}

impl Section {
    pub(super) fn heading(&mut self, step: &StepView) -> Vec<Line> {
        let (section, title) = match (step.undo, step.precheck) {
            (true, _) => (Section::Undo, "undo"),
            (false, true) => (Section::Prechecks, "prechecks"),
            (false, false) => (Section::Steps, "steps"),
        };
        let before = std::mem::replace(self, section);
        if before == section || (before == Section::First && section == Section::Steps) {
            return Vec::new();
        }
        vec![Line::new(0).with(Paint::Dim, title)]
    }
}

pub(super) fn step_sign(word: StepWord) -> Sign {
    match word {
        StepWord::Pending => Sign::Pending,
        StepWord::Running => Sign::Running,
        StepWord::Waiting => Sign::Waiting,
        StepWord::Done => Sign::Done,
        StepWord::Skipped => Sign::Skipped,
        StepWord::Failed => Sign::Failed,
        StepWord::Unknown => Sign::Unknown,
    }
}

pub(super) fn task_sign(word: TaskWord) -> Sign {
    match word {
        TaskWord::Pending => Sign::Pending,
        TaskWord::Dispatched | TaskWord::Running | TaskWord::Fencing => Sign::Running,
        TaskWord::Unchanged | TaskWord::Changed => Sign::Done,
        TaskWord::Failed | TaskWord::Refused => Sign::Failed,
        TaskWord::Unknown => Sign::Unknown,
        TaskWord::Skipped => Sign::Skipped,
    }
}

/// What the step's line is: sign, number, name, and the time it took.
pub(super) fn step_line(step: &StepView, now: Moment, id_width: usize, note: &str, look: &Look) -> Line {
    // A tenth of a second a turn; a run that is over has nothing that turns.
    let waits = !step.waits_for.is_empty();
    let word = if waits { Sign::Waiting } else { step_sign(step.state) };
    let (sign_paint, sign) = look.sign(word, now.0 / 100);
    let name_paint = match step.state {
        StepWord::Pending if waits => Paint::Bold,
        StepWord::Pending | StepWord::Skipped => Paint::Dim,
        StepWord::Running | StepWord::Waiting => Paint::Bold,
        StepWord::Failed | StepWord::Unknown => sign_paint,
        StepWord::Done => Paint::Plain,
    };
    let mut line = Line::new(1)
        .with(sign_paint, sign.to_string())
        .with(Paint::Dim, format!(" {:<id_width$}  ", step.id.0))
        .with(name_paint, &step.name);
    if !note.is_empty() {
        line = line.with(if waits { Paint::Warn } else { Paint::Dim }, format!("  {note}"));
    }
    match step.began {
        Some(began) => {
            let paint = if step.ended.is_some() { Paint::Dim } else { Paint::Plain };
            line.right(paint, time::span(step.ended.unwrap_or(now).since(began)))
        }
        None => line,
    }
}

fn step_lines(step: &StepView, frame: &Frame<'_>, id_width: usize, look: &Look) -> Vec<Line> {
    let well = |task: &TaskView| matches!(task.state, TaskWord::Unchanged | TaskWord::Changed);
    let unfolds = match step.state {
        StepWord::Pending | StepWord::Skipped => false,
        StepWord::Running | StepWord::Waiting | StepWord::Failed | StepWord::Unknown => true,
        StepWord::Done => !step.tasks.iter().all(well),
    };
    let note = match (step.note.as_str(), unfolds) {
        ("", false) => folded(step),
        ("", true) => String::new(),
        (note, _) => note.to_owned(),
    };
    let mut lines = vec![step_line(step, frame.now, id_width, &note, look)];
    if unfolds {
        lines.extend(task_lines(step, frame, id_width + 4, look));
    }
    lines
}

/// A step's tasks in a few words.
fn folded(step: &StepView) -> String {
    match (step.tasks.as_slice(), step.state) {
        ([], _) => String::new(),
        (tasks, StepWord::Pending) => match tasks {
            [task] => format!("on {}", task.host),
            tasks => format!("on {}", text::count(tasks.len(), "host")),
        },
        ([task], _) => format!("{}: {}", task.host, settled_words(task)),
        (tasks, _) => format!("{}: {}", text::count(tasks.len(), "host"), counted(tasks.iter())),
    }
}

/// `3 changed, 1 failed`.
fn counted<'a>(tasks: impl Iterator<Item = &'a TaskView> + Clone) -> String {
    const WORDS: [TaskWord; 10] = [
        TaskWord::Failed,
        TaskWord::Refused,
        TaskWord::Unknown,
        TaskWord::Running,
        TaskWord::Fencing,
        TaskWord::Dispatched,
        TaskWord::Changed,
        TaskWord::Unchanged,
        TaskWord::Skipped,
        TaskWord::Pending,
    ];
    let parts: Vec<String> = WORDS
        .into_iter()
        .map(|word| (word, tasks.clone().filter(|task| task.state == word).count()))
        .filter(|(_, number)| *number > 0)
        .map(|(word, number)| format!("{number} {}", task_word(word)))
        .collect();
    parts.join(", ")
}

pub(super) fn task_word(word: TaskWord) -> &'static str {
    match word {
        TaskWord::Pending => "pending",
        TaskWord::Dispatched => "ordered",
        TaskWord::Running => "running",
        TaskWord::Fencing => "withdrawn",
        TaskWord::Unchanged => "unchanged",
        TaskWord::Changed => "changed",
        TaskWord::Failed => "failed",
        TaskWord::Refused => "refused",
        TaskWord::Unknown => "unknown",
        TaskWord::Skipped => "skipped",
    }
}

fn settled_words(task: &TaskView) -> String {
    let word = task_word(task.state);
    if task.summary.is_empty() { word.to_owned() } else { format!("{word}: {}", task.summary) }
}

/// What is said of a task beside its host.
pub(super) fn task_words(task: &TaskView, now: Moment) -> String {
    let said = match task.state {
        TaskWord::Pending => "not ordered yet".to_owned(),
        TaskWord::Dispatched => format!("{}: ordered, not yet taken by the agent", task.action),
        TaskWord::Fencing => "withdrawn; waits until the host has acknowledged it".to_owned(),
        TaskWord::Running => match &task.progress {
            None => format!("{}: running", task.action),
            Some(progress) => {
                let percent = progress.percent.map_or_else(String::new, |percent| format!("{percent:>3} %  "));
                let age = now.since(progress.at);
                let old =
                    if age > PROGRESS_FRESH { format!("  (said {} ago)", time::span(age)) } else { String::new() };
                format!("{percent}{}{old}", progress.note)
            }
        },
        TaskWord::Unknown if task.summary.is_empty() => "unknown: nobody can tell whether it happened".to_owned(),
        TaskWord::Unchanged
        | TaskWord::Changed
        | TaskWord::Failed
        | TaskWord::Refused
        | TaskWord::Unknown
        | TaskWord::Skipped => settled_words(task),
    };
    if task.attempt > 1 { format!("{said}  (attempt {})", task.attempt) } else { said }
}

pub(super) fn task_line(task: &TaskView, now: Moment, indent: usize, host_width: usize, look: &Look) -> Line {
    let (paint, sign) = look.sign(task_sign(task.state), now.0 / 100);
    let words_paint = match task.state {
        TaskWord::Failed | TaskWord::Refused | TaskWord::Unknown => paint,
        TaskWord::Pending | TaskWord::Skipped => Paint::Dim,
        _ => Paint::Plain,
    };
    let line = Line::new(indent)
        .with(paint, sign.to_string())
        .with(Paint::Plain, format!(" {:<host_width$}  ", task.host))
        .with(words_paint, task_words(task, now));
    match task.took {
        Some(took) => line.right(Paint::Dim, time::span(took)),
        None => line,
    }
}

/// Its fault, wrapped.
pub(super) fn fault_lines(task: &TaskView, indent: usize, look: &Look) -> Vec<Line> {
    let fault = task.fault.iter().map(ToString::to_string);
    let wrapped = fault.flat_map(|fault| text::wrap(&fault, look.width.saturating_sub(indent + 1)));
    wrapped.map(|line| Line::new(indent).with(Paint::Bad, line)).collect()
}

fn task_lines(step: &StepView, frame: &Frame<'_>, indent: usize, look: &Look) -> Vec<Line> {
    // What wants attention first, what is settled last; the order of hosts within.
    let mut tasks: Vec<&TaskView> = step.tasks.iter().collect();
    if tasks.len() > TASKS_MAX {
        tasks.sort_by_key(|task| match task_sign(task.state) {
            Sign::Failed | Sign::Unknown => 0,
            Sign::Running | Sign::Waiting => 1,
            Sign::Pending | Sign::Skipped => 2,
            Sign::Done => 3,
        });
    }
    let (shown, counted_only) = tasks.split_at(tasks.len().min(TASKS_MAX));
    let host_width = shown.iter().map(|task| text::width(task.host.as_str())).max().unwrap_or(0);
    let mut lines = Vec::new();
    for task in shown {
        lines.push(task_line(task, frame.now, indent, host_width, look));
        lines.extend(fault_lines(task, indent + 2, look));
    }
    if !counted_only.is_empty() {
        let rest = counted(counted_only.iter().copied());
        let more = format!("{} {} more: {rest}", look.ellipsis(), counted_only.len());
        lines.push(Line::new(indent).with(Paint::Dim, more));
    }
    lines
}

/// Folds steps away until the rest fits: first what is behind, then what is ahead; never what is going on.
fn fit(blocks: Vec<Block>, room: Option<usize>, look: &Look) -> Vec<Line> {
    let total = |blocks: &[Block]| blocks.iter().map(|block| block.lines.len()).sum::<usize>();
    let Some(room) = room.filter(|room| total(&blocks) > *room) else {
        return blocks.into_iter().flat_map(|block| block.lines).collect();
    };
    let going_on = |block: &Block| !matches!(block.word, StepWord::Done | StepWord::Skipped);
    let mut behind = blocks.iter().position(going_on).unwrap_or(blocks.len().saturating_sub(1));
    let mut hidden_behind = 0;
    let mut kept = blocks;
    while behind > 0 && total(&kept) + usize::from(hidden_behind > 0) > room {
        kept.remove(0);
        behind -= 1;
        hidden_behind += 1;
    }
    let mut hidden_ahead = 0;
    let used = |kept: &[Block], ahead: usize| total(kept) + usize::from(hidden_behind > 0) + usize::from(ahead > 0);
    while kept.len() > 1 && used(&kept, hidden_ahead) > room && kept.last().is_some_and(|b| b.word == StepWord::Pending)
    {
        kept.pop();
        hidden_ahead += 1;
    }
    let mut lines = Vec::new();
    if hidden_behind > 0 {
        let (paint, sign) = look.sign(Sign::Done, 0);
        let words = format!(" {} behind", text::count(hidden_behind, "step"));
        lines.push(Line::new(1).with(paint, sign.to_string()).with(Paint::Dim, words));
    }
    lines.extend(kept.into_iter().flat_map(|block| block.lines));
    lines.truncate(room.saturating_sub(usize::from(hidden_ahead > 0)).max(1));
    if hidden_ahead > 0 {
        let (paint, sign) = look.sign(Sign::Pending, 0);
        let words = format!(" {} ahead", text::count(hidden_ahead, "step"));
        lines.push(Line::new(1).with(paint, sign.to_string()).with(Paint::Dim, words));
    }
    lines
}
