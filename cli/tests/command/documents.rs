//! A plan and runs to be shown.

use baton_model::{
    author::{Actor, Author},
    digest::Digest,
    ids::{Epoch, RunId, StepId},
};
use baton_model::{
    outcome::{Attachment, Fault, Observation, Output},
    plan::{
        Condition, Kind, OnFailure, Opening, Plan, Refusal, Retry, Sentence, Stage, Step, StepWindow, Task,
        Unreachable, Work,
    },
    time::{Moment, Span},
    view::{
        HistoryLine, ObservedTask, PlanView, ProgressView, RunSummary, RunView, StepView, StepWord, TaskView, TaskWord,
    },
};
use serde_json::{Value, json};

/// 2026-11-21 03:00:00 UTC.
pub const START: Moment = Moment(1_795_230_000_000);

pub fn at(seconds: u64) -> Moment {
    START.plus(Span::from_secs(seconds))
}

pub fn ana(seconds: u64, why: &str) -> Author {
    Author { who: Actor::Operator("ana".into()), when: at(seconds), why: why.into() }
}

pub fn task(host: &str, action: &str, state: TaskWord, summary: &str) -> TaskView {
    let settled = !matches!(state, TaskWord::Pending | TaskWord::Dispatched | TaskWord::Running | TaskWord::Fencing);
    TaskView {
        host: host.parse().unwrap(),
        action: action.into(),
        attempt: u32::from(state != TaskWord::Pending),
        state,
        summary: summary.into(),
        fault: None,
        progress: None,
        output: Output::default(),
        data: Value::Null,
        attachments: Vec::new(),
        took: (settled && state != TaskWord::Skipped).then_some(Span(2_300)),
    }
}

pub fn step(id: &str, name: &str, state: StepWord, tasks: Vec<TaskView>) -> StepView {
    let began = (!matches!(state, StepWord::Pending | StepWord::Skipped)).then(|| at(10));
    let ended = matches!(state, StepWord::Done | StepWord::Failed).then(|| at(14));
    StepView {
        id: StepId(id.into()),
        name: name.into(),
        stage: 0,
        precheck: id.starts_with('p'),
        undo: id.ends_with("/undo"),
        state,
        note: String::new(),
        waits_for: String::new(),
        question: None,
        began,
        ended,
        tasks,
    }
}

pub fn view(phase: &str, steps: Vec<StepView>) -> RunView {
    RunView {
        summary: RunSummary {
            id: RunId { group: "pom".parse().unwrap(), number: 17 },
            group: "pom".parse().unwrap(),
            runbook: "switchover".parse().unwrap(),
            kind: Kind::Planned,
            phase: phase.into(),
            why: String::new(),
            started: ana(0, "patching"),
            ended: None,
            over: false,
            waiting: phase.contains("halted"),
        },
        old: "db1".parse().unwrap(),
        new: Some("db2".parse().unwrap()),
        reason: "patching".into(),
        epoch: Epoch(4),
        digest: Digest::of_bytes(b"plan"),
        transferred: false,
        stage: 0,
        stages: 4,
        accepted_loss: None,
        steps,
        history: vec![HistoryLine { author: ana(0, "patching"), what: "started switchover of pom".into() }],
        now: at(83),
    }
}

pub fn over(mut view: RunView, phase: &str, why: &str) -> RunView {
    view.summary.phase = phase.into();
    view.summary.why = why.into();
    view.summary.over = true;
    view.summary.waiting = false;
    view.summary.ended = Some(at(80));
    view
}

/// The four steps of a switchover, the first ones done.
fn first_steps() -> Vec<StepView> {
    let mut confirmed = step("p1", "Agent-less campaigns are not running", StepWord::Done, vec![]);
    confirmed.note = "confirmed by ana".into();
    vec![
        confirmed,
        step(
            "1",
            "Stop POM",
            StepWord::Done,
            vec![
                task("pom1", "service.stop", TaskWord::Changed, "stopped POM"),
                task("pom2", "service.stop", TaskWord::Unchanged, "POM was stopped"),
            ],
        ),
    ]
}

fn last_steps() -> Vec<StepView> {
    vec![
        step("3", "The role moves", StepWord::Pending, vec![]),
        step(
            "4",
            "Start the primary POM server",
            StepWord::Pending,
            vec![task("pom1", "service.start", TaskWord::Pending, "")],
        ),
    ]
}

fn with_move(step: StepView) -> Vec<StepView> {
    first_steps().into_iter().chain([step]).chain(last_steps()).collect()
}

pub fn running() -> RunView {
    let mut moving = task("db2", "mssql.ag.failover", TaskWord::Running, "");
    moving.progress = Some(ProgressView { note: "redo queue 12 MB".into(), percent: Some(40), at: at(80) });
    let mut silent = task("db3", "mssql.ag.failover", TaskWord::Running, "");
    silent.progress = Some(ProgressView { note: "waiting for the role".into(), percent: None, at: at(20) });
    let ordered = task("db4", "mssql.ag.failover", TaskWord::Dispatched, "");
    let fenced = task("db5", "mssql.ag.failover", TaskWord::Fencing, "");
    view(
        "running",
        with_move(step("2", "Move the availability group", StepWord::Running, vec![moving, silent, ordered, fenced])),
    )
}

/// The second step waits for its maintenance window.
pub fn awaiting() -> RunView {
    let mut night = step("2", "Move the availability group", StepWord::Pending, vec![]);
    night.tasks = vec![task("db2", "mssql.ag.failover", TaskWord::Pending, "")];
    night.waits_for = "window maintenance, which opens 2026-11-22 01:00 UTC (02:00 Europe/Berlin)".into();
    night.note = format!("waits for {}", night.waits_for);
    let mut view = view("running", with_move(night));
    view.summary.why = format!("step 2 waits for {}", view.steps[2].waits_for);
    view
}

pub fn halted() -> RunView {
    let mut failed = task("db2", "mssql.ag.failover", TaskWord::Failed, "SQL Server refused");
    failed.attempt = 2;
    failed.fault = Some(Fault::new(
        "BTN-0731",
        "the replica is not synchronized: 3 of 4 databases are SYNCHRONIZING, so that a planned failover would lose data.",
        "Wait until it is synchronized, then retry.",
    ));
    failed.output = Output::bounded("Msg 41142, Level 16\nThe availability replica \x1b[31mis not ready\n");
    failed.attachments = vec![Attachment { name: "output.txt".into(), bytes: 4711, sha256: "ab".into() }];
    let mut view = view("halted", with_move(step("2", "Move the availability group", StepWord::Failed, vec![failed])));
    view.summary.why = "step 2 failed on db2".into();
    view
}

pub fn waiting() -> RunView {
    let mut asks = step("p1", "Agents are logged off", StepWord::Waiting, vec![]);
    asks.question = Some("Log off all agents from the system. Is nobody working any more?".into());
    let mut view = view("running", std::iter::once(asks).chain(last_steps()).collect());
    view.summary.waiting = true;
    view
}

pub fn unknown() -> RunView {
    let lost = task("db2", "exec.run", TaskWord::Unknown, "");
    let mut view = view("halted", with_move(step("2", "Move the availability group", StepWord::Unknown, vec![lost])));
    view.summary.why = "step 2 is unknown on db2".into();
    view
}

pub fn skipped() -> RunView {
    let gone = task("db1", "service.stop", TaskWord::Skipped, "out of reach, as the step allows");
    let here = task("db2", "service.stop", TaskWord::Changed, "stopped dtService");
    let mut never = step("2", "Copy the database", StepWord::Skipped, vec![]);
    never.note = "input.copy_database is false".into();
    let steps = vec![step("1", "Stop the services", StepWord::Done, vec![gone, here]), never];
    let mut view = over(view("running", steps), "succeeded", "");
    view.transferred = true;
    view
}

pub fn transferred() -> RunView {
    let mut view = view("running", first_steps());
    let mut role = step("3", "The role moves", StepWord::Done, vec![]);
    role.note = "db2 is primary, epoch 5".into();
    view.steps.push(role);
    view.steps.push(step(
        "4",
        "Start the primary POM server",
        StepWord::Running,
        vec![task("pom1", "service.start", TaskWord::Running, "")],
    ));
    view.transferred = true;
    view
}

pub fn rolled_back() -> RunView {
    let failed = task("db2", "mssql.ag.failover", TaskWord::Failed, "SQL Server refused");
    let mut steps = with_move(step("2", "Move the availability group", StepWord::Failed, vec![failed]));
    let undone = task("pom1", "service.start", TaskWord::Changed, "started POM");
    steps.push(step("1/undo", "undo: Stop POM", StepWord::Done, vec![undone]));
    over(view("aborted", steps), "rolled back", "aborted by ana: the window is over")
}

/// As many hosts as need counting.
pub fn crowded() -> RunView {
    let state = |n: usize| match n {
        0..900 => TaskWord::Changed,
        900..903 => TaskWord::Failed,
        _ => TaskWord::Running,
    };
    let tasks = (0..1000).map(|n| task(&format!("h{n:04}"), "file.line", state(n), "")).collect();
    view("running", vec![step("1", "Edit the files", StepWord::Running, tasks)])
}

fn act(host: &str, action: &str) -> Task {
    Task { host: host.parse().unwrap(), action: action.into(), params: json!({}), deferred: false }
}

fn planned(id: &str, name: &str, work: Work) -> Step {
    Step {
        id: StepId(id.into()),
        name: name.into(),
        work,
        condition: Condition::Always,
        timeout: Span::from_secs(60),
        retry: Retry { attempts: 1, delay: Span(0) },
        on_failure: OnFailure::Halt,
        unreachable: Unreachable::Fail,
        parallel: None,
        register: None,
        keep: None,
        undo: Vec::new(),
        item: None,
        window: None,
        refusal: None,
    }
}

/// What the coordinators do themselves, what waits for a window, what is left behind.
pub fn plan_of_a_night() -> PlanView {
    let mut view = plan(Kind::Planned);
    let endpoints = vec!["10.0.0.1:5041".to_owned(), "10.0.0.2:5041".to_owned()];
    let gone = Work::ProveUnreachable { endpoints, from: 2, guard: Some("alive".into()) };
    let mut night = planned("1", "Stop the services", Work::Act { tasks: vec![act("db1", "service.stop")] });
    let told = "2026-11-22 01:00 UTC (02:00 Europe/Berlin)".to_owned();
    let opening = Opening { opens: at(79_200), closes: at(90_000), told };
    let definition = "sun 02:00 to 05:00 Europe/Berlin".to_owned();
    night.window = Some(StepWindow { name: "maintenance".into(), definition, openings: vec![opening] });
    let sentence = |text: &str, deferred| Sentence { text: text.into(), deferred };
    let because = Some(sentence("site north is gone", false));
    let role = planned("2", "The role moves", Work::Transfer { detach_old: true, because });
    let paused = sentence("${found.why}", true);
    let detach = planned("3", "What is left", Work::Detach { member: "db1".parse().unwrap(), because: paused });
    let stage = |precheck, step| Stage { precheck, steps: vec![step] };
    let mut stopped = planned("p2", "POM is stopped", Work::Act { tasks: vec![act("db1", "service.stopped")] });
    let remedy = "Stop POM with \"baton run pom stop\"".to_owned();
    stopped.refusal = Some(Refusal { remedy, guard: Some("pom-runs".into()) });
    view.plan.stages = vec![
        stage(true, planned("p1", "The chat is gone", gone)),
        stage(true, stopped),
        stage(false, night),
        stage(false, role),
        stage(false, detach),
    ];
    view.observations.clear();
    view.warnings = vec!["step 1 \"Stop the services\" would wait for window maintenance".into()];
    view
}

pub fn plan(kind: Kind) -> PlanView {
    let mut stop = planned(
        "1",
        "Stop the services",
        Work::Act { tasks: vec![act("db1", "service.stop"), act("db2", "service.stop")] },
    );
    stop.unreachable = Unreachable::Skip;
    let edit = planned("2.1", "Edit fdb.properties", Work::Act { tasks: vec![act("db2", "file.properties")] });
    let mut sql = planned("2.2", "Raise the capabilities", Work::Act { tasks: vec![act("db2", "sql.exec")] });
    sql.retry.attempts = 3;
    let mut copy = planned("3", "Copy the database", Work::Act { tasks: vec![act("db1", "exec.run")] });
    copy.condition = Condition::Never("input.copy_database".into());
    let mut later = planned("5", "Tell the clients", Work::Act { tasks: vec![act("db2", "exec.run")] });
    later.condition = Condition::Deferred("found.clients > 0".into());
    if let Work::Act { tasks } = &mut later.work {
        tasks[0].deferred = true;
    }
    let stages = vec![
        Stage {
            precheck: true,
            steps: vec![planned("p1", "Nobody is working", Work::Confirm { text: "All agents are logged off".into() })],
        },
        Stage { precheck: false, steps: vec![stop] },
        Stage { precheck: false, steps: vec![edit, sql] },
        Stage { precheck: false, steps: vec![copy] },
        Stage {
            precheck: false,
            steps: vec![planned(
                "4",
                "The role moves",
                Work::Transfer { detach_old: kind == Kind::Forced, because: None },
            )],
        },
        Stage { precheck: false, steps: vec![later] },
    ];
    let plan = Plan {
        group: "pom".parse().unwrap(),
        runbook: if kind == Kind::Forced { "failover" } else { "switchover" }.parse().unwrap(),
        kind,
        description: "Move the database to the other server".into(),
        reason: "patching".into(),
        old: "db1".parse().unwrap(),
        new: Some("db2".parse().unwrap()),
        epoch: Epoch(4),
        group_revision: 3,
        runbook_digest: Digest::of_bytes(b"runbook"),
        inputs: [("copy_database".to_owned(), json!(false))].into(),
        overrides: [("window".to_owned(), "the manager said so".to_owned())].into(),
        loses_data: false,
        scope: Default::default(),
        stages,
    };
    let observed = |step: &str, host: &str, observation: Option<Observation>, fault: Option<Fault>| ObservedTask {
        step: StepId(step.into()),
        host: host.parse().unwrap(),
        observation,
        fault,
    };
    let diff = "--- /etc/fdb.properties\n+++ /etc/fdb.properties\n@@ -1,2 +1,2 @@\n # hosts\n-hosts=10.0.0.1,10.0.0.2\n+hosts=10.0.0.2\n";
    PlanView {
        digest: plan.digest(),
        consequence: "db2 becomes primary of pom instead of db1; clients of db1 are cut off.".into(),
        bill: None,
        observations: vec![
            observed("1", "db1", None, Some(Fault::new("BTN-0140", "host db1 is out of reach.", "Start its agent."))),
            observed("1", "db2", Some(Observation::InPlace { note: "dtService is stopped".into() }), None),
            observed("2.1", "db2", Some(Observation::Differs { change: diff.into() }), None),
            observed("2.2", "db2", Some(Observation::CannotTell { why: "the database is not open".into() }), None),
            observed(
                "5",
                "db2",
                None,
                Some(Fault::new("BTN-0146", "its values depend on what earlier steps find.", "")),
            ),
        ],
        warnings: vec!["step 1 \"Stop the services\" would be skipped on db1: it is out of reach".into()],
        plan,
    }
}
