use std::collections::BTreeMap;

use baton_model::{
    ids::StepId,
    outcome::{Outcome, Report},
    time::Span,
};
use proptest::prelude::*;

use super::*;

fn host() -> HostName {
    HostName::new("db1").expect("a host")
}

fn task(run: u64, step: u64) -> TaskId {
    TaskId { run: format!("g-{run}").parse().expect("a run"), step: StepId(step.to_string()), host: host(), attempt: 1 }
}

fn order(task: TaskId, (generation, term, index): (u64, u64, u64)) -> Order {
    let fence = Fence { generation, term, index };
    Order { task, fence, action: "exec.run".into(), params: serde_json::Value::Null, timeout: Span::from_secs(1) }
}

fn report() -> Report {
    Report {
        outcome: Outcome::Changed,
        summary: "done".into(),
        fault: None,
        output: Default::default(),
        data: Default::default(),
        attachments: Vec::new(),
        started: Moment(1),
        ended: Moment(2),
    }
}

fn commit(ledger: &mut Ledger, changes: Vec<Change>) {
    changes.into_iter().for_each(|change| ledger.apply(change));
    let superfluous = ledger.superfluous();
    superfluous.into_iter().for_each(|change| ledger.apply(change));
}

/// Reign 1.5 of c1; run g-3 is at index 10; runs before g-3 are over.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    let reign = Reign { generation: 1, term: 5 };
    let (run, group) = ("g-3".parse().expect("a run"), "g".parse().expect("a group"));
    let changes = accede(&ledger, "c1", reign, &[(run, 10)], &[(group, 3)]).expect("the first reign");
    commit(&mut ledger, changes);
    ledger
}

fn presence(alive: bool) -> Presence {
    if alive { Presence::Alive } else { Presence::Absent }
}

fn verdict(ledger: &Ledger, from: &str, order: &Order, alive: bool) -> String {
    match admit(ledger, from, &host(), order, presence(alive), Moment(7)) {
        Admission::Run(_) => "run".into(),
        Admission::AlreadyRunning(_) => "already".into(),
        Admission::ObserveFirst(_) => "observe".into(),
        Admission::RepeatOutcome(_) => "repeat".into(),
        Admission::Refuse { fault, seen } => {
            assert_eq!(seen.reign(), ledger.ruler.reign);
            fault.code
        }
    }
}

#[test]
fn an_order_is_admitted_only_under_the_acknowledged_reign_at_or_above_mark_and_floor() {
    let cases = [
        ("c1", (1, 5, 10), 3, "run"),
        ("c1", (1, 5, 11), 3, "run"),
        ("c1", (1, 5, 9), 3, "BTN-0435"),
        ("c1", (1, 4, 11), 3, "BTN-0431"),
        ("c1", (0, 9, 11), 3, "BTN-0431"),
        ("c1", (1, 6, 11), 3, "BTN-0432"),
        ("c1", (2, 1, 11), 3, "BTN-0432"),
        ("c2", (1, 5, 11), 3, "BTN-0432"),
        ("c1", (1, 5, 11), 2, "BTN-0433"),
        ("c1", (1, 5, 0), 4, "run"),
    ];
    for (from, fence, run, expected) in cases {
        assert_eq!(verdict(&ledger(), from, &order(task(run, 1), fence), false), expected, "{from} {fence:?} g-{run}");
    }
    let mut other = order(task(3, 1), (1, 5, 11));
    other.task.host = HostName::new("db2").expect("a host");
    assert_eq!(verdict(&ledger(), "c1", &other, false), "BTN-0430");
    assert_eq!(verdict(&Ledger::default(), "", &order(task(3, 1), (0, 0, 1)), false), "BTN-0432");
}

#[test]
fn a_known_task_is_never_begun_again() {
    let order = order(task(3, 1), (1, 5, 10));
    let entries = [
        (Entry::Received { order: order.clone(), received: Moment(0) }, true, "already"),
        (Entry::Received { order: order.clone(), received: Moment(0) }, false, "observe"),
        (Entry::Started { order: order.clone(), received: Moment(0), started: Moment(0) }, true, "already"),
        (Entry::Started { order: order.clone(), received: Moment(0), started: Moment(0) }, false, "observe"),
        (Entry::Finished { order: order.clone(), report: report() }, false, "repeat"),
        (Entry::Forgotten { fence: order.fence }, false, "BTN-0434"),
    ];
    for (entry, alive, expected) in entries {
        let mut ledger = ledger();
        ledger.apply(Change::Task(order.task.clone(), entry.clone()));
        assert_eq!(verdict(&ledger, "c1", &order, alive), expected, "{entry:?}");
    }
}

#[test]
fn a_higher_index_raises_the_mark_and_a_lower_reign_is_not_acknowledged() {
    let mut ledger = ledger();
    let Admission::Run(changes) =
        admit(&ledger, "c1", &host(), &order(task(3, 1), (1, 5, 20)), Presence::Absent, Moment(0))
    else {
        panic!("it is admitted")
    };
    commit(&mut ledger, changes);
    assert_eq!(ledger.mark(&task(3, 1).run), 20);
    for (from, generation, term, good) in
        [("c1", 1, 5, true), ("c2", 1, 5, false), ("c1", 1, 4, false), ("c2", 0, 99, false), ("c2", 2, 1, true)]
    {
        assert_eq!(
            accede(&ledger, from, Reign { generation, term }, &[], &[]).is_ok(),
            good,
            "{from} {generation}.{term}"
        );
    }
    // Nothing sinks, whatever a leader that is behind says.
    let run = task(3, 1).run;
    let changes =
        accede(&ledger, "c1", Reign { generation: 1, term: 6 }, &[(run.clone(), 5)], &[]).expect("a new reign");
    commit(&mut ledger, changes);
    assert_eq!(ledger.mark(&run), 20);
}

#[test]
fn what_a_crash_left_is_repeated_only_where_that_does_no_harm() {
    let in_place = || Observation::InPlace { note: String::new() };
    let differs = || Observation::Differs { change: String::new() };
    let cannot_tell = || Observation::CannotTell { why: String::new() };
    for flags in 0..8 {
        let [repeatable, blind, may_act] = [1, 2, 4].map(|bit| flags & bit != 0);
        assert_eq!(recover(&in_place(), repeatable, blind, may_act), Recovery::InPlace);
        let expected = match (repeatable, may_act) {
            (true, true) => Recovery::Act,
            (true, false) => Recovery::NotDone,
            (false, _) => Recovery::Unknown,
        };
        assert_eq!(recover(&differs(), repeatable, blind, may_act), expected, "{flags}");
        // Whatever a condition would have meant, had it answered.
        let expected = if blind && may_act { Recovery::Act } else { Recovery::Unknown };
        assert_eq!(recover(&cannot_tell(), repeatable, blind, may_act), expected, "{flags}");
    }
}

#[test]
fn what_was_never_begun_here_is_done_unless_it_may_be_done_already() {
    let in_place = Observation::InPlace { note: String::new() };
    let differs = Observation::Differs { change: String::new() };
    let cannot_tell = Observation::CannotTell { why: String::new() };
    for flags in 0..8 {
        let [repeatable, blind, ended] = [1, 2, 4].map(|bit| flags & bit != 0);
        assert_eq!(begin(&in_place, repeatable, blind, ended), Beginning::InPlace);
        let wanted = if ended { Beginning::Ended } else { Beginning::Act };
        assert_eq!(begin(&differs, repeatable, blind, ended), wanted, "{flags}");
        // What nobody can ever see is done; what can be seen and was not is not.
        let wanted = if repeatable && !blind && !ended { Beginning::Unanswered } else { wanted };
        assert_eq!(begin(&cannot_tell, repeatable, blind, ended), wanted, "{flags}");
    }
}

/// Found by the sequences below: the mark had risen above what was remembered of the task.
#[test]
fn a_task_that_comes_again_with_a_higher_index_is_refused_after_it_was_forgotten() {
    let mut ledger = ledger();
    let first = order(task(3, 1), (1, 5, 10));
    ledger.apply(Change::Task(first.task.clone(), Entry::Forgotten { fence: first.fence }));
    commit(&mut ledger, vec![Change::Mark(first.task.run.clone(), 12)]);
    assert_eq!(verdict(&ledger, "c1", &order(first.task, (1, 5, 12)), false), "BTN-0434");
}

#[test]
fn an_order_of_a_new_run_ends_those_before_it() {
    let mut ledger = ledger();
    let Admission::Run(changes) =
        admit(&ledger, "c1", &host(), &order(task(4, 1), (1, 5, 20)), Presence::Absent, Moment(0))
    else {
        panic!("it is admitted")
    };
    commit(&mut ledger, changes);
    assert_eq!(verdict(&ledger, "c1", &order(task(3, 9), (1, 5, 30)), false), "BTN-0433");
}

/// A step runs two at once on a host; the second one's order must not end the first, which was admitted.
#[test]
fn a_queued_order_is_not_refused_for_a_later_order_of_the_same_run() {
    let mut ledger = ledger();
    let (first, second) = (order(task(3, 1), (1, 5, 10)), order(task(3, 2), (1, 5, 12)));
    for order in [&first, &second] {
        let Admission::Run(changes) = admit(&ledger, "c1", &host(), order, Presence::Absent, Moment(0)) else {
            panic!("it is admitted")
        };
        commit(&mut ledger, changes);
    }
    assert_eq!(may_begin(&ledger, &first.task, first.fence), Ok(()));
    assert_eq!(
        verdict(&ledger, "c1", &order(task(3, 3), (1, 5, 11)), false),
        "BTN-0435",
        "one that nobody knows is late"
    );
    let changes = raise(&ledger, "c1", &first.task.run, Fence { generation: 1, term: 5, index: 11 }).expect("raised");
    commit(&mut ledger, changes);
    assert_eq!(may_begin(&ledger, &first.task, first.fence).expect_err("fenced").code, "BTN-0435");
    assert_eq!(may_begin(&ledger, &second.task, second.fence), Ok(()));
}

#[test]
fn a_known_task_that_is_ordered_again_under_a_newer_index_goes_on_under_it() {
    let mut ledger = ledger();
    let first = order(task(3, 1), (1, 5, 10));
    ledger.apply(Change::Task(first.task.clone(), Entry::Received { order: first.clone(), received: Moment(0) }));
    commit(&mut ledger, vec![Change::Mark(first.task.run.clone(), 12), Change::Raised(first.task.run.clone(), 12)]);
    let again = order(first.task.clone(), (1, 5, 12));
    // What has been told to end is not taken back.
    let ending = admit(&ledger, "c1", &host(), &again, Presence::Ending, Moment(0));
    assert_eq!(ending, Admission::AlreadyRunning(Vec::new()));
    let Admission::ObserveFirst(changes) = admit(&ledger, "c1", &host(), &again, Presence::Absent, Moment(0)) else {
        panic!("it goes on")
    };
    commit(&mut ledger, changes);
    let fence = ledger.tasks[&first.task].order().expect("it is open").fence;
    assert_eq!((fence.index, may_begin(&ledger, &first.task, fence)), (12, Ok(())));
    for (entry, expected) in [
        (Entry::Finished { order: first.clone(), report: report() }, "repeat"),
        (Entry::Forgotten { fence: first.fence }, "BTN-0434"),
    ] {
        ledger.apply(Change::Task(first.task.clone(), entry));
        assert_eq!(verdict(&ledger, "c1", &again, false), expected);
    }
}

/// What may happen to an agent, in any order. `term` and `index` are small so that they collide.
#[derive(Debug, Clone)]
enum Event {
    Order { from: u8, term: u64, index: u64, run: u64, step: u64 },
    Reign { from: u8, term: u64, index: u64, run: u64, floor: u64 },
    Raise { from: u8, term: u64, index: u64, run: u64 },
    Begin { pick: usize },
    Finish { pick: usize },
    Forget { pick: usize },
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    let (from, term, index, run) = (0u8..2, 1u64..5, 0u64..8, 1u64..4);
    prop_oneof![
        6 => (from.clone(), term.clone(), index.clone(), run.clone(), 0u64..4)
            .prop_map(|(from, term, index, run, step)| Event::Order { from, term, index, run, step }),
        2 => (from.clone(), term.clone(), index.clone(), run.clone(), 0u64..4)
            .prop_map(|(from, term, index, run, floor)| Event::Reign { from, term, index, run, floor }),
        1 => (from, term, index, run).prop_map(|(from, term, index, run)| Event::Raise { from, term, index, run }),
        3 => any::<usize>().prop_map(|pick| Event::Begin { pick }),
        3 => any::<usize>().prop_map(|pick| Event::Finish { pick }),
        2 => any::<usize>().prop_map(|pick| Event::Forget { pick }),
        1 => Just(Event::Crash),
    ]
}

/// The agent around the pure decisions, as small as it can be; what it did, as an onlooker sees it.
#[derive(Default)]
struct World {
    ledger: Ledger,
    alive: Vec<TaskId>,
    begun: BTreeMap<TaskId, u32>,
    acknowledged: Option<Reign>,
    /// The highest index seen, and what a reign or a raise said.
    marks: BTreeMap<RunId, u64>,
    raised: BTreeMap<RunId, u64>,
    /// The newest index under which each task was ordered and not refused.
    wanted: BTreeMap<TaskId, u64>,
    floor: u64,
    finished_runs: BTreeMap<TaskId, bool>,
}

impl World {
    fn lift(&mut self, run: RunId, index: u64) {
        for marks in [&mut self.marks, &mut self.raised] {
            let mark = marks.entry(run.clone()).or_default();
            *mark = (*mark).max(index);
        }
    }

    fn confirmed(&mut self, order: &Order, changes: Vec<Change>) {
        commit(&mut self.ledger, changes);
        let wanted = self.wanted.entry(order.task.clone()).or_default();
        *wanted = (*wanted).max(order.fence.index);
        let mark = self.marks.entry(order.task.run.clone()).or_default();
        *mark = (*mark).max(order.fence.index);
    }

    fn step(&mut self, event: Event) -> Result<(), TestCaseError> {
        let name = |from: u8| format!("c{from}");
        match event {
            Event::Order { from, term, index, run, step } => {
                let order = order(task(run, step), (1, term, index));
                let alive = presence(self.alive.contains(&order.task));
                let admission = admit(&self.ledger, &name(from), &host(), &order, alive, Moment(0));
                if !matches!(admission, Admission::Refuse { .. }) {
                    prop_assert_eq!(Some(order.fence.reign()), self.acknowledged, "a deposed leader was obeyed");
                }
                match admission {
                    Admission::Run(changes) => {
                        prop_assert_eq!(
                            Some(order.fence.reign()),
                            self.acknowledged,
                            "a reign that was not acknowledged"
                        );
                        prop_assert!(
                            index >= self.marks.get(&order.task.run).copied().unwrap_or(0),
                            "older than the mark"
                        );
                        prop_assert!(run >= self.floor, "a run that is over");
                        prop_assert!(!self.finished_runs.contains_key(&order.task), "performed twice");
                        commit(&mut self.ledger, changes);
                        self.marks
                            .entry(order.task.run.clone())
                            .and_modify(|mark| *mark = (*mark).max(index))
                            .or_insert(index);
                        self.floor = self.floor.max(run);
                        self.wanted.insert(order.task.clone(), index);
                        self.alive.push(order.task);
                    }
                    Admission::ObserveFirst(changes) => {
                        self.confirmed(&order, changes);
                        self.alive.push(order.task);
                    }
                    Admission::AlreadyRunning(changes) => {
                        prop_assert!(self.alive.contains(&order.task));
                        self.confirmed(&order, changes);
                    }
                    Admission::RepeatOutcome(_) => prop_assert!(self.finished_runs.contains_key(&order.task)),
                    Admission::Refuse { .. } => {}
                }
            }
            Event::Reign { from, term, index, run, floor } => {
                let (reign, run) = (Reign { generation: 1, term }, task(run, 0).run);
                let group = run.group.clone();
                match accede(&self.ledger, &name(from), reign, &[(run.clone(), index)], &[(group, floor)]) {
                    Ok(changes) => {
                        prop_assert!(self.acknowledged.is_none_or(|seen| reign >= seen), "a reign sank");
                        commit(&mut self.ledger, changes);
                        self.acknowledged = Some(reign);
                        self.floor = self.floor.max(floor);
                        self.lift(run, index);
                    }
                    Err(_) => prop_assert!(self.acknowledged.is_some_and(|seen| reign <= seen)),
                }
            }
            Event::Raise { from, term, index, run } => {
                let run = task(run, 0).run;
                if let Ok(changes) = raise(&self.ledger, &name(from), &run, Fence { generation: 1, term, index }) {
                    prop_assert_eq!(Some(Reign { generation: 1, term }), self.acknowledged);
                    commit(&mut self.ledger, changes);
                    self.lift(run, index);
                }
            }
            Event::Begin { pick } => {
                let Some(task) = pick_of(&self.alive, pick) else { return Ok(()) };
                let Some(Entry::Received { order, received }) = self.ledger.tasks.get(&task).cloned() else {
                    return Ok(());
                };
                let raised = self.raised.get(&task.run).copied().unwrap_or(0);
                let good = task.run.number >= self.floor && self.wanted[&task] >= raised;
                // Both ways: nothing begins below a raised fence or in a run that is over, and nothing else keeps an order
                // from beginning that was admitted, least of all another order of its run.
                prop_assert_eq!(may_begin(&self.ledger, &task, order.fence).is_ok(), good);
                if good {
                    *self.begun.entry(task.clone()).or_default() += 1;
                    prop_assert_eq!(self.begun[&task], 1, "begun twice");
                    commit(
                        &mut self.ledger,
                        vec![Change::Task(task, Entry::Started { order, received, started: Moment(1) })],
                    );
                }
            }
            Event::Finish { pick } => {
                let Some(task) = pick_of(&self.alive, pick) else { return Ok(()) };
                let order = self.ledger.tasks.get(&task).and_then(Entry::order).cloned().expect("alive tasks have one");
                self.alive.retain(|alive| *alive != task);
                self.finished_runs.insert(task.clone(), true);
                commit(&mut self.ledger, vec![Change::Task(task, Entry::Finished { order, report: report() })]);
            }
            Event::Forget { pick } => {
                let all: Vec<TaskId> = self.ledger.tasks.keys().cloned().collect();
                let Some(task) = pick_of(&all, pick) else { return Ok(()) };
                let ruler = self.ledger.ruler.coordinator.clone();
                let open = self.ledger.tasks[&task].is_open();
                let changes = forget(&self.ledger, &ruler, &task);
                prop_assert!(!open || changes.is_empty(), "an open task was forgotten");
                commit(&mut self.ledger, changes);
            }
            // What is in memory goes; what was committed stays.
            Event::Crash => self.alive.clear(),
        }
        Ok(())
    }
}

fn pick_of(from: &[TaskId], pick: usize) -> Option<TaskId> {
    (!from.is_empty()).then(|| from[pick % from.len()].clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_runs_twice_and_nothing_older_than_the_marks_runs(events in prop::collection::vec(event(), 1..80)) {
        let mut world = World::default();
        for event in events {
            world.step(event)?;
        }
    }
}

#[test]
fn what_a_raise_has_ended_is_waited_for_by_what_is_good_and_by_nothing_else() {
    let mut ledger = ledger();
    let (stale, good) = (order(task(3, 1), (1, 5, 10)), order(task(3, 2), (1, 5, 20)));
    let run = stale.task.run.clone();
    ledger.apply(Change::Task(stale.task.clone(), Entry::Received { order: stale.clone(), received: Moment(0) }));
    ledger.apply(Change::Task(good.task.clone(), Entry::Received { order: good.clone(), received: Moment(0) }));
    assert!(!waits_for_superseded(&ledger, &good.task, good.fence), "nothing was raised above 10");
    let changes = raise(&ledger, "c1", &run, Fence { index: 15, ..good.fence }).expect("raised");
    commit(&mut ledger, changes);
    assert!(waits_for_superseded(&ledger, &good.task, good.fence));
    assert!(!waits_for_superseded(&ledger, &stale.task, stale.fence), "it has to be ended");
    assert!(!waits_for_superseded(&ledger, &task(4, 1), Fence { index: 20, ..good.fence }), "another run");
    assert!(acts_below(&ledger, &run, 15) && acts_below(&ledger, &run, 11) && !acts_below(&ledger, &run, 10));
    ledger.apply(Change::Task(stale.task.clone(), Entry::Finished { order: stale, report: report() }));
    assert!(!waits_for_superseded(&ledger, &good.task, good.fence) && !acts_below(&ledger, &run, 20));
}

/// A message is no proof: what names one run or group twice must not end the agent.
#[test]
fn a_reign_that_names_one_run_twice_counts_with_the_highest() {
    let mut ledger = ledger();
    let (run, group) = (task(3, 1).run, task(3, 1).run.group);
    let marks = [(run.clone(), 30), (run.clone(), 20), (run.clone(), 25)];
    let floors = [(group.clone(), 9), (group.clone(), 7)];
    let changes = accede(&ledger, "c1", Reign { generation: 1, term: 6 }, &marks, &floors).expect("a new reign");
    commit(&mut ledger, changes);
    assert_eq!((ledger.mark(&run), ledger.floor(&group)), (0, 9), "its run is over, and its mark dropped");
    let other = task(9, 1).run;
    let marks = [(other.clone(), 30), (other.clone(), 20)];
    let changes = accede(&ledger, "c1", Reign { generation: 1, term: 7 }, &marks, &[]).expect("a new reign");
    commit(&mut ledger, changes);
    assert_eq!((ledger.mark(&other), ledger.raised(&other)), (30, 30));
}
