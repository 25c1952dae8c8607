//! A group, plans for it, and a log: every command goes through [`World::tell`], which checks every promise after it.

use std::collections::BTreeMap;

use baton_engine::{
    apply::{Position, apply},
    codec,
    command::{Answer, Command, Definition, Proposal, Source, Target},
    due::{Duties, due},
    invariant,
    state::{Phase, Run, State},
};
use baton_model::{
    author::{Actor, Author},
    ids::{Epoch, GroupName, HostName, RunId, RunbookName, StepId, TaskId},
    outcome::{Fault, Outcome, Report},
    plan::{Condition, Kind, OnFailure, Plan, Retry, Stage, Step, Task, Unreachable, Work},
    time::{Moment, Span},
};
use serde_json::{Value, json};

pub fn group() -> GroupName {
    name("pom")
}
pub fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a valid name")
}
pub fn operator(who: &str) -> Actor {
    Actor::Operator(who.to_owned())
}

pub fn definition(members: &[&str]) -> Definition {
    Definition {
        members: members.iter().map(|member| name(member)).collect(),
        first_primary: name(members[0]),
        hosts: ["h1", "h2", "h3"].into_iter().map(name).collect(),
        source: Source { path: "pom.yaml".to_owned(), text: "group: pom".to_owned() },
        runbooks: BTreeMap::from([(name::<RunbookName>("move"), runbook())]),
        automatic: None,
        lease: None,
    }
}
fn runbook() -> Source {
    Source { path: "move.yaml".to_owned(), text: "runbook: move".to_owned() }
}

pub fn act(id: &str, hosts: &[&str]) -> Step {
    let task = |action: &str, host: &&str| Task {
        host: name(host),
        action: action.to_owned(),
        params: json!({ "name": id }),
        deferred: false,
    };
    let tasks = hosts.iter().map(|host| task("service.stop", host)).collect();
    Step { work: Work::Act { tasks }, ..bare(id, Work::Confirm { text: String::new() }) }
}
pub fn undoable(id: &str, hosts: &[&str]) -> Step {
    let mut step = act(id, hosts);
    let Work::Act { tasks } = &step.work else { panic!("act makes tasks") };
    step.undo = tasks.iter().map(|task| Task { action: "service.start".to_owned(), ..task.clone() }).collect();
    step
}
pub fn transfer(id: &str, detach_old: bool) -> Step {
    bare(id, Work::Transfer { detach_old, because: None })
}
pub fn bare(id: &str, work: Work) -> Step {
    Step {
        id: StepId(id.to_owned()),
        name: format!("step {id}"),
        work,
        condition: Condition::Always,
        timeout: Span::from_secs(60),
        retry: Retry { attempts: 1, delay: Span::from_secs(5) },
        on_failure: OnFailure::Halt,
        unreachable: Unreachable::Fail,
        parallel: None,
        register: None,
        keep: None,
        item: None,
        window: None,
        refusal: None,
        undo: Vec::new(),
    }
}

/// The replicated state, the log it came from, and a clock that only this test moves.
#[derive(Clone)]
pub struct World {
    pub state: State,
    pub log: Vec<(Position, Vec<u8>)>,
    pub now: Moment,
    pub broken: Vec<String>,
}

impl World {
    pub fn new() -> Self {
        let now = Moment(1_700_000_000_000);
        let mut world = Self { state: State::default(), log: Vec::new(), now, broken: Vec::new() };
        let answer = world.tell(Command::DefineGroup { group: group(), definition: definition(&["db1", "db2"]) });
        assert_eq!(answer, Answer::Defined { revision: 1 });
        world
    }
    pub fn tell(&mut self, command: Command) -> Answer {
        self.tell_as(operator("anna"), "because", None, command)
    }
    pub fn tell_as(&mut self, who: Actor, why: &str, request: Option<&str>, command: Command) -> Answer {
        let author = Author { who, when: self.now, why: why.to_owned() };
        let proposal = Proposal { author, request: request.map(str::to_owned), command };
        // Gaps, as Raft's own entries leave them.
        let position = Position { index: self.state.index + 2, term: 3 };
        let bytes = codec::encode_proposal(&proposal);
        assert_eq!(codec::decode_proposal(&bytes).expect("read back"), proposal);
        let before = self.state.clone();
        let answer = apply(&mut self.state, position, &proposal);
        self.log.push((position, bytes));
        self.broken.extend(
            invariant::check(&before, &self.state).iter().map(|broken| format!("{broken:?} after {proposal:?}")),
        );
        if matches!(answer, Answer::Refused { .. } | Answer::Already) {
            let mut same = before.clone();
            same.index = self.state.index;
            same.latest = self.state.latest;
            same.requests = self.state.requests.clone();
            if same != self.state {
                self.broken.push(format!("{answer:?} changed the state: {proposal:?}"));
            }
        }
        assert!(self.broken.is_empty(), "{:#?}", self.broken);
        answer
    }
    pub fn plan(&self, stages: Vec<Vec<Step>>) -> Plan {
        let group = &self.state.groups[&group()];
        let other = group.definition.members.iter().find(|member| **member != group.primary);
        let hosts: BTreeMap<String, Value> =
            group.definition.hosts.iter().map(|host| (host.to_string(), json!({ "name": host }))).collect();
        Plan {
            group: name("pom"),
            runbook: name("move"),
            kind: Kind::Planned,
            description: String::new(),
            reason: "a test".to_owned(),
            old: group.primary.clone(),
            new: other.cloned(),
            epoch: group.epoch,
            group_revision: group.revision,
            runbook_digest: runbook().digest(),
            inputs: BTreeMap::new(),
            overrides: BTreeMap::new(),
            loses_data: false,
            scope: BTreeMap::from([("hosts".to_owned(), json!(hosts))]),
            stages: stages.into_iter().map(|steps| Stage { precheck: false, steps }).collect(),
        }
    }
    pub fn start(&mut self, stages: Vec<Vec<Step>>) -> RunId {
        let plan = self.plan(stages);
        match self.tell(Command::StartRun {
            digest: plan.digest(),
            plan: Box::new(plan),
            acceptance: None,
            cause: None,
        }) {
            Answer::Started { run } => run,
            other => panic!("not started: {other:?}"),
        }
    }
    pub fn run(&self, id: &RunId) -> &Run {
        &self.state.runs[id]
    }
    pub fn phase(&self, id: &RunId) -> &'static str {
        self.run(id).phase.as_str()
    }
    pub fn due(&self) -> Duties {
        due(&self.state, self.now)
    }
    /// `1@h1#1 2@h2#1`: what is to be sent now.
    pub fn orders(&self) -> String {
        let one = |task: &TaskId| format!("{}@{}#{}", task.step, task.host, task.attempt);
        self.due().orders.iter().map(|order| one(&order.task)).collect::<Vec<_>>().join(" ")
    }
    pub fn task(&self, run: &RunId, text: &str) -> TaskId {
        let (step, rest) = text.split_once('@').expect("step@host#attempt");
        let (host, attempt) = rest.split_once('#').expect("step@host#attempt");
        TaskId {
            run: run.clone(),
            step: StepId(step.to_owned()),
            host: name(host),
            attempt: attempt.parse().expect("a number"),
        }
    }
    pub fn report(&mut self, run: &RunId, task: &str, outcome: Outcome) -> Answer {
        self.report_data(run, task, outcome, Value::Null)
    }
    pub fn report_data(&mut self, run: &RunId, task: &str, outcome: Outcome, data: Value) -> Answer {
        let task = self.task(run, task);
        let report = Box::new(self.word(outcome, data));
        self.tell_as(Actor::Agent(task.host.clone()), "", None, Command::ReportTask { task, report })
    }
    pub fn word(&self, outcome: Outcome, data: Value) -> Report {
        Report {
            outcome,
            summary: outcome.as_str().to_owned(),
            fault: (!outcome.is_success()).then(|| Fault::new("BTN-0400", "it did not go well.", "")),
            output: Default::default(),
            data,
            attachments: Vec::new(),
            started: self.now,
            ended: self.now,
        }
    }
    pub fn acknowledge(&mut self, run: &RunId, host: &str) -> Answer {
        let index = self.due().raises.iter().find(|raise| raise.host.as_str() == host).map_or(0, |raise| raise.index);
        self.tell(Command::AcknowledgeFence { run: run.clone(), host: name(host), index })
    }
    pub fn target(step: Option<&str>, host: Option<&str>) -> Target {
        Target { step: step.map(|step| StepId(step.to_owned())), host: host.map(name::<HostName>) }
    }
    pub fn retry(&mut self, run: &RunId, step: Option<&str>, host: Option<&str>) -> Answer {
        self.tell(Command::RetryTasks { run: run.clone(), target: Self::target(step, host) })
    }
    pub fn skip(&mut self, run: &RunId, step: Option<&str>, host: Option<&str>) -> Answer {
        self.tell(Command::SkipTasks { run: run.clone(), target: Self::target(step, host) })
    }
    pub fn abort(&mut self, run: &RunId) -> Answer {
        self.tell(Command::AbortRun { run: run.clone() })
    }
    /// The leader's entry, with three coordinators whose clocks are off by so many seconds.
    pub fn open_window(&mut self, run: &RunId, stage: usize, off: &[i64]) -> Answer {
        let clock = |off: &i64| Moment(self.now.0.saturating_add_signed(off * 1000));
        let clocks = off.iter().enumerate().map(|(n, off)| (format!("c{}", n + 1), clock(off))).collect();
        let who = Actor::Coordinator("c1".to_owned());
        self.tell_as(who, "", None, Command::OpenWindow { run: run.clone(), stage, clocks, coordinators: 3 })
    }
    pub fn later(&mut self, seconds: u64) {
        self.now = self.now.plus(Span::from_secs(seconds));
    }
    pub fn primary(&self) -> (String, Epoch) {
        let group = &self.state.groups[&group()];
        (group.primary.to_string(), group.epoch)
    }
    /// Agents report what is due as done, fences are acknowledged, people say yes; then what is bad is skipped, and at last
    /// the run is aborted. Answers whether every run ended.
    pub fn comes_to_an_end(&mut self) -> bool {
        for round in 0..400 {
            let Some(run) = self.state.runs.values().find(|run| !run.phase.is_over()).map(|run| run.id.clone()) else {
                return true;
            };
            let duties = self.due();
            let waiting: Vec<StepId> = self.run(&run).current_steps();
            if let Some(order) = duties.orders.first() {
                let task = order.task.clone();
                let report = Box::new(self.word(Outcome::Changed, Value::Null));
                self.tell(Command::ReportTask { task, report });
            } else if let Some(probe) = duties.probes.first().cloned() {
                crate::probes::report(self, &probe.run, &probe.step.0, probe.index, "---");
            } else if let Some(opening) = duties.openings.first().cloned() {
                self.open_window(&opening.run, opening.stage, &[0, 0, 0]);
            } else if let Some(raise) = duties.raises.first().cloned() {
                self.tell(Command::AcknowledgeFence { run: raise.run, host: raise.host, index: raise.index });
            } else if let Some(task) = duties.expired.first().cloned() {
                self.tell(Command::ExpireTask { task });
            } else if self.run(&run).phase.is_halted() {
                if round > 300 {
                    self.abort(&run);
                } else if matches!(self.skip(&run, None, None), Answer::Refused { .. })
                    && matches!(self.tell(Command::ResumeRun { run: run.clone() }), Answer::Refused { .. })
                {
                    self.abort(&run);
                    self.later(200);
                }
            } else if let Some(at) = duties.wake.filter(|at| *at > self.now) {
                for step in waiting {
                    self.tell_as(operator("zoe"), "yes", None, Command::ConfirmStep { run: run.clone(), step });
                }
                self.now = at;
            } else {
                for step in waiting {
                    self.tell_as(operator("zoe"), "yes", None, Command::ConfirmStep { run: run.clone(), step });
                }
                // A window that does not open again in this plan.
                self.tell(Command::OverrideGuard { run, guard: "window".to_owned() });
            }
        }
        false
    }
    pub fn halted_because(&self, run: &RunId) -> String {
        match &self.run(run).phase {
            Phase::Halted { why } | Phase::AbortHalted { why } => why.clone(),
            Phase::Aborted { note } => note.clone(),
            other => panic!("{run} is {}", other.as_str()),
        }
    }
}

pub fn code(answer: &Answer) -> &str {
    match answer {
        Answer::Refused { fault } => &fault.code,
        Answer::Done => "done",
        Answer::Already => "already",
        Answer::Defined { .. } => "defined",
        Answer::Started { .. } => "started",
    }
}
