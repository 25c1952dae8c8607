//! Operators who press everything, agents that repeat themselves and err: no sequence breaks a promise, panics, or leaves a
//! run that cannot be ended.

use baton_engine::{
    apply::apply,
    codec,
    command::{Answer, Command},
    due::due,
    state::State,
};
use baton_model::{
    author::Actor,
    bill::Sampled,
    ids::{RunId, StepId, TaskId},
    outcome::{Fault, Outcome},
    plan::{Condition, OnFailure, Retry, Sentence, Step, Unreachable, Work},
    time::{Moment, Span},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::probes::{probe, report};
use crate::windows::window;
use crate::world::{World, act, bare, definition, group, name, operator, transfer, undoable};

#[derive(Debug, Clone)]
enum Press {
    Start(Vec<Vec<Wish>>),
    Report {
        pick: u8,
        outcome: u8,
        stale: u8,
    },
    Acknowledge {
        pick: u8,
        short: bool,
    },
    Expire,
    Later(u16),
    Retry(u8),
    Skip(u8),
    Resume,
    Abort,
    Confirm {
        second: bool,
    },
    Lost,
    Decline(u8),
    Unreachable(u8),
    Redefine {
        members: u8,
    },
    Remove,
    Generation(u8),
    Sample {
        pick: u8,
        primary: bool,
    },
    Again,
    /// By the clocks of so many coordinators, off by so much.
    OpenWindow {
        clocks: u8,
        off: i16,
    },
    OverrideWindow,
    /// Of the question at hand, or of another one.
    Sightings {
        words: u8,
        stale: bool,
    },
    OverrideAlive,
}

/// What a step is made from.
#[derive(Debug, Clone)]
struct Wish {
    kind: u8,
    hosts: u8,
    parallel: u8,
    attempts: u8,
    continues: bool,
    skips: bool,
    condition: u8,
    register: bool,
    window: u8,
}

fn wish() -> impl Strategy<Value = Wish> {
    (0..13u8, 1..8u8, 0..3u8, 1..4u8, any::<bool>(), any::<bool>(), 0..8u8, any::<bool>(), 0..6u8).prop_map(
        |(kind, hosts, parallel, attempts, continues, skips, condition, register, window)| Wish {
            kind,
            hosts,
            parallel,
            attempts,
            continues,
            skips,
            condition,
            register,
            window,
        },
    )
}

fn press() -> impl Strategy<Value = Press> {
    prop_oneof![
        3 => prop::collection::vec(prop::collection::vec(wish(), 1..3), 0..5).prop_map(Press::Start),
        10 => (any::<u8>(), 0..10u8, 0..8u8).prop_map(|(pick, outcome, stale)| Press::Report { pick, outcome, stale }),
        4 => (any::<u8>(), prop::bool::weighted(0.2)).prop_map(|(pick, short)| Press::Acknowledge { pick, short }),
        2 => Just(Press::Expire),
        2 => (0..200u16).prop_map(Press::Later),
        3 => any::<u8>().prop_map(Press::Retry),
        3 => any::<u8>().prop_map(Press::Skip),
        2 => Just(Press::Resume),
        1 => Just(Press::Abort),
        3 => any::<bool>().prop_map(|second| Press::Confirm { second }),
        1 => Just(Press::Lost),
        1 => any::<u8>().prop_map(Press::Decline),
        1 => any::<u8>().prop_map(Press::Unreachable),
        1 => any::<u8>().prop_map(|members| Press::Redefine { members }),
        1 => Just(Press::Remove),
        1 => any::<u8>().prop_map(Press::Generation),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(pick, primary)| Press::Sample { pick, primary }),
        1 => Just(Press::Again),
        3 => (0..4u8, prop_oneof![Just(0i16), -400..400i16]).prop_map(|(clocks, off)| Press::OpenWindow { clocks, off }),
        1 => Just(Press::OverrideWindow),
        4 => (any::<u8>(), prop::bool::weighted(0.2)).prop_map(|(words, stale)| Press::Sightings { words, stale }),
        1 => Just(Press::OverrideAlive),
    ]
}

fn step(id: &str, wish: &Wish, alone: bool) -> Step {
    let hosts: Vec<&str> =
        ["h1", "h2", "h3"].into_iter().enumerate().filter(|(n, _)| wish.hosts >> n & 1 == 1).map(|(_, h)| h).collect();
    let mut step = match wish.kind {
        0 if alone => transfer(id, wish.continues),
        1 => bare(id, Work::Confirm { text: "ready?".to_owned() }),
        2 => bare(id, Work::Approval { text: "sure?".to_owned() }),
        3 => bare(id, Work::Rejoin { member: name("db1") }),
        12 => probe(id, u32::from(wish.attempts), wish.skips.then_some("alive")),
        10 | 11 => {
            let text = if wish.register { "paused: ${found}" } else { "paused" }.to_owned();
            let because = Sentence { text, deferred: wish.register };
            bare(id, Work::Detach { member: name(if wish.skips { "db1" } else { "db2" }), because })
        }
        4..7 => undoable(id, &hosts),
        _ => act(id, &hosts),
    };
    if wish.kind == 5 {
        // Two undo actions, one after the other.
        step.undo.extend(step.undo.clone());
    }
    step.retry = Retry { attempts: u32::from(wish.attempts), delay: Span::from_secs(5) };
    step.parallel = (wish.parallel > 0).then_some(u32::from(wish.parallel));
    step.on_failure = if wish.continues { OnFailure::Continue } else { OnFailure::Halt };
    step.unreachable = if wish.skips { Unreachable::Skip } else { Unreachable::Fail };
    step.condition = match wish.condition {
        0 => Condition::Never("false".to_owned()),
        1 => Condition::Deferred("found == 7".to_owned()),
        2 => Condition::Deferred("found.deep.missing".to_owned()),
        _ => Condition::Always,
    };
    step.window = match wish.window {
        0 => Some(window("night", &[(0, 60), (300, 900), (2000, 2500)])),
        1 => Some(window("day", &[(200, 500)])),
        _ => None,
    };
    step.register = wish.register.then(|| "found".to_owned());
    step.keep = (wish.register && wish.skips).then(|| "found".to_owned());
    if let (Work::Act { tasks }, true) = (&mut step.work, wish.condition > 5) {
        for task in tasks {
            task.params = json!({ "name": "${found}" });
            task.deferred = true;
        }
    }
    step
}

fn stages(wishes: &[Vec<Wish>]) -> Vec<Vec<Step>> {
    let mut moved = false;
    let id = |stage: usize, number: usize| format!("{}.{}", stage + 1, number + 1);
    wishes
        .iter()
        .enumerate()
        .map(|(stage, together)| {
            let mut steps: Vec<Step> =
                together.iter().enumerate().map(|(n, wish)| step(&id(stage, n), wish, together.len() == 1)).collect();
            for step in &mut steps {
                if matches!(step.work, Work::Transfer { .. }) && std::mem::replace(&mut moved, true) {
                    *step = act(&step.id.0, &["h1"]);
                }
            }
            steps
        })
        .collect()
}

/// Some task that was ordered at some time, mostly of the newest run.
fn some_task(world: &World, pick: u8, stale: u8) -> Option<TaskId> {
    let due = world.due().orders;
    if stale > 1 && !due.is_empty() {
        return Some(due[usize::from(pick) % due.len()].task.clone());
    }
    let run = world.state.runs.values().last()?;
    let all: Vec<TaskId> =
        run.steps.iter().flat_map(|(step, state)| state.tasks.iter().map(|task| run.task_id(step, task))).collect();
    let mut task = all.get(usize::from(pick) % all.len().max(1))?.clone();
    task.attempt = (task.attempt + u32::from(stale % 2)).saturating_sub(u32::from(pick % 2));
    Some(task)
}

fn newest(world: &World) -> RunId {
    world.state.runs.keys().last().cloned().unwrap_or_else(|| name("pom-1"))
}

fn one_press(world: &mut World, press: &Press) {
    let outcomes = [Outcome::Changed, Outcome::Unchanged, Outcome::Failed, Outcome::Refused, Outcome::Unknown];
    let run = newest(world);
    let step_of = |world: &World, pick: u8| -> Option<StepId> {
        let steps = world.state.runs.get(&run)?.steps.keys().cloned().collect::<Vec<_>>();
        (!pick.is_multiple_of(3)).then(|| steps.get(usize::from(pick) % steps.len().max(1)).cloned()).flatten()
    };
    let host_of = |pick: u8| (pick % 4 == 1).then(|| name(["h1", "h2", "h3"][usize::from(pick / 4) % 3]));
    match press {
        Press::Start(wishes) => {
            if world.state.groups.contains_key(&group()) {
                let plan = world.plan(stages(wishes));
                world.tell(Command::StartRun {
                    digest: plan.digest(),
                    plan: Box::new(plan),
                    acceptance: None,
                    cause: None,
                });
            }
        }
        Press::Report { pick, outcome, stale } => {
            let Some(task) = some_task(world, *pick, *stale) else { return };
            let outcome = outcomes.get(usize::from(*outcome)).copied().unwrap_or(Outcome::Changed);
            let data = [json!(7), json!({ "deep": 0.1 + 0.2 }), Value::Null][usize::from(*pick) % 3].clone();
            let report = Box::new(world.word(outcome, data));
            world.tell_as(Actor::Agent(task.host.clone()), "", None, Command::ReportTask { task, report });
        }
        Press::Acknowledge { pick, short } => {
            let raises = world.due().raises;
            let Some(raise) = raises.get(usize::from(*pick) % raises.len().max(1)).cloned() else { return };
            let index = raise.index - u64::from(*short);
            world.tell(Command::AcknowledgeFence { run: raise.run, host: raise.host, index });
        }
        Press::Expire => {
            for task in world.due().expired {
                world.tell(Command::ExpireTask { task });
            }
            // Too early, or for nothing.
            if let Some(task) = some_task(world, 0, 0) {
                world.tell(Command::ExpireTask { task });
            }
        }
        Press::Later(seconds) => world.later(u64::from(*seconds)),
        Press::Retry(pick) => {
            let target = baton_engine::command::Target { step: step_of(world, *pick), host: host_of(*pick) };
            world.tell(Command::RetryTasks { run, target });
        }
        Press::Skip(pick) => {
            let target = baton_engine::command::Target { step: step_of(world, *pick), host: host_of(*pick) };
            world.tell(Command::SkipTasks { run, target });
        }
        Press::Resume => {
            world.tell(Command::ResumeRun { run });
        }
        Press::Abort => {
            world.abort(&run);
        }
        Press::Confirm { second } => {
            let steps = world.state.runs.get(&run).map(|run| run.current_steps()).unwrap_or_default();
            for step in steps {
                let who = operator(if *second { "zoe" } else { "anna" });
                world.tell_as(who, "", None, Command::ConfirmStep { run: run.clone(), step });
            }
        }
        Press::Lost => {
            world.tell(Command::DeclareLost { group: group(), member: name("db2") });
        }
        Press::Decline(pick) => {
            if let Some(task) = some_task(world, *pick, 2) {
                world.tell(Command::DeclineTask { task, fault: Fault::new("BTN-0435", "stale.", "") });
            }
        }
        Press::Unreachable(pick) => {
            if let Some(task) = some_task(world, *pick, 2) {
                if pick.is_multiple_of(3) {
                    world.tell(Command::RecordDispatch { tasks: vec![task.clone()] });
                }
                let at_rest = pick.is_multiple_of(2);
                world.tell(Command::SkipUnreachable { task, evidence: "no session".to_owned(), at_rest });
            }
        }
        Press::Redefine { members } => {
            let members = [&["db1", "db2"][..], &["db2", "db1", "db3"], &["db1"]][usize::from(*members) % 3];
            world.tell(Command::DefineGroup { group: group(), definition: definition(members) });
        }
        Press::Remove => {
            world.tell(Command::RemoveGroup { group: group() });
        }
        Press::Generation(generation) => {
            world.tell(Command::RaiseGeneration { generation: u64::from(*generation) });
        }
        Press::Sample { pick, primary } => {
            let data = json!({ "role": if *primary { "PRIMARY" } else { "RESOLVING" }, "weight": 0.1 + 0.2 });
            let host = name(["h1", "h2", "h3", "h4"][usize::from(*pick) % 4]);
            // Some come late, from a leader whose time is over.
            let seen = Moment(world.now.0 - u64::from(*pick % 3) * 1000);
            let sampled = Sampled { seen, data };
            world.tell(Command::RecordSample { group: group(), sample: name("ag"), host, sampled });
        }
        Press::OpenWindow { clocks, off } => {
            let stage = world.state.runs.get(&run).map_or(0, |run| run.stage);
            world.open_window(&run, stage, &vec![i64::from(*off); usize::from(*clocks)]);
        }
        Press::Sightings { words, stale } => {
            let Some(asked) = world.due().probes.first().cloned() else { return };
            let words = ["---", "--", "-", "", "--+", "-??", "+"][usize::from(*words) % 7];
            report(world, &asked.run, &asked.step.0, asked.index - u64::from(*stale), words);
        }
        Press::OverrideAlive => {
            world.tell(Command::OverrideGuard { run, guard: "alive".to_owned() });
        }
        Press::OverrideWindow => {
            world.tell(Command::OverrideGuard { run, guard: "window".to_owned() });
        }
        Press::Again => {
            let command = Command::ResumeRun { run };
            let first = world.tell_as(operator("anna"), "", Some("r1"), command.clone());
            assert_eq!(world.tell_as(operator("anna"), "", Some("r1"), command), first);
        }
    }
}

fn replay(state: &mut State, log: &[(baton_engine::apply::Position, Vec<u8>)]) -> Vec<Answer> {
    log.iter()
        .map(|(position, bytes)| apply(state, *position, &codec::decode_proposal(bytes).expect("own bytes")))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_breaks_a_promise(first in prop::collection::vec(prop::collection::vec(wish(), 1..3), 1..5), presses in prop::collection::vec(press(), 1..60)) {
        let mut world = World::new();
        one_press(&mut world, &Press::Start(first));
        for press in &presses {
            one_press(&mut world, press);
            prop_assert_eq!(due(&world.state, world.now), due(&world.state, world.now));
            for order in world.due().orders {
                let run = &world.state.runs[&order.task.run];
                prop_assert!(order.index <= run.mark && baton_engine::due::mark_on(run, &order.task.host).is_none_or(|mark| mark <= order.index));
            }
        }
        let whole = codec::encode_state(&world.state);
        prop_assert_eq!(&codec::decode_state(&whole).expect("own bytes"), &world.state);
        let mut again = State::default();
        let answers = replay(&mut again, &world.log);
        prop_assert_eq!(&codec::encode_state(&again), &whole);
        // Whatever was in a snapshot when the log was cut.
        let mut upto = State::default();
        for cut in 0..world.log.len() {
            let mut restored = codec::decode_state(&codec::encode_state(&upto)).expect("own bytes");
            if cut % 7 == 0 {
                prop_assert_eq!(&replay(&mut restored, &world.log[cut..]), &answers[cut..].to_vec());
                prop_assert_eq!(&codec::encode_state(&restored), &whole, "cut at {}", cut);
            }
            replay(&mut upto, &world.log[cut..=cut]);
        }
        prop_assert!(world.comes_to_an_end(), "stuck: {:#?}", world.state.runs.values().last());
    }
}
