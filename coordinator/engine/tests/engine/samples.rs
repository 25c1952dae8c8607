//! What hosts said of themselves, and the acceptance of a loss of data.

use baton_engine::{
    codec,
    command::{Answer, Command},
};
use baton_model::{
    bill::{Acceptance, Bill, Parties, Sampled},
    group::{SAMPLE_BYTES_MAX, SAMPLED_MAX},
    plan::{Kind, Plan},
    time::Moment,
};
use serde_json::{Value, json};

use crate::{
    golden::same,
    world::{World, act, code, definition, group, name, transfer},
};

fn sample(world: &mut World, sample: &str, host: &str, role: &str) -> Answer {
    let data = json!({ "role": role, "taken_ms": 1, "databases": [], "weight": 0.1 });
    let sampled = Sampled { seen: world.now, data };
    world.tell(Command::RecordSample { group: group(), sample: name(sample), host: name(host), sampled })
}

fn bill(world: &World) -> Bill {
    let parties = Parties {
        asked: [(name("ag"), vec![name("h1")])].into(),
        old: [name("h1")].into(),
        target: [name("h2")].into(),
    };
    Bill::of(&world.state.groups[&group()].samples, &parties, world.now)
}

#[test]
fn the_newest_word_is_kept_and_the_last_one_as_primary_beside_it() {
    let mut world = World::new();
    let revision = world.state.groups[&group()].revision;
    assert_eq!(sample(&mut world, "ag", "h1", "PRIMARY"), Answer::Done);
    let first = world.now;
    // The same moment again: a second leader's, or a repetition.
    assert_eq!(sample(&mut world, "ag", "h1", "RESOLVING"), Answer::Already);
    for role in ["RESOLVING", "RESOLVING"] {
        world.later(10);
        assert_eq!(sample(&mut world, "ag", "h1", role), Answer::Done);
    }
    assert_eq!(sample(&mut world, "ag", "h2", "SECONDARY"), Answer::Done);
    let kept = &world.state.groups[&group()].samples[&name::<baton_model::ids::SampleName>("ag")];
    let h1 = &kept[&name::<baton_model::ids::HostName>("h1")];
    assert_eq!((h1.latest.seen, h1.as_primary.as_ref().map(|kept| kept.seen)), (world.now, Some(first)));
    assert_eq!(world.state.groups[&group()].revision, revision, "a plan made before is as good as ever");
    // Not from a clock that is behind.
    world.now = first;
    assert_eq!(sample(&mut world, "ag", "h1", "PRIMARY"), Answer::Already);
}

#[test]
fn a_plan_stays_good_while_samples_come() {
    let mut world = World::new();
    let plan = world.plan(vec![vec![act("1", &["h1"])]]);
    sample(&mut world, "ag", "h1", "PRIMARY");
    let start = Command::StartRun { digest: plan.digest(), plan: Box::new(plan), acceptance: None, cause: None };
    assert_eq!(code(&world.tell(start)), "started");
}

#[test]
fn what_cannot_be_kept_is_refused_and_what_is_kept_is_bounded() {
    let mut world = World::new();
    assert_eq!(code(&sample(&mut world, "ag", "elsewhere", "PRIMARY")), "BTN-0173");
    let big = Sampled { seen: world.now, data: Value::String("x".repeat(SAMPLE_BYTES_MAX)) };
    let big = Command::RecordSample { group: group(), sample: name("ag"), host: name("h1"), sampled: big };
    assert_eq!(code(&world.tell(big)), "BTN-0173");
    let nowhere = Command::RecordSample {
        group: name("no"),
        sample: name("ag"),
        host: name("h1"),
        sampled: Sampled { seen: Moment(1), data: Value::Null },
    };
    assert_eq!(code(&world.tell(nowhere)), "BTN-0110");
    for number in 0..SAMPLED_MAX + 3 {
        world.later(1);
        assert_eq!(sample(&mut world, &format!("ag{number}"), "h1", "PRIMARY"), Answer::Done);
    }
    let kept = &world.state.groups[&group()].samples;
    assert_eq!(kept.len(), SAMPLED_MAX);
    assert!(!kept.contains_key("ag2") && kept.contains_key("ag3"), "those seen longest ago made room");
}

#[test]
fn hosts_that_leave_the_group_take_their_samples_along() {
    let mut world = World::new();
    sample(&mut world, "ag", "h1", "PRIMARY");
    sample(&mut world, "ag", "h3", "SECONDARY");
    let mut smaller = definition(&["db1", "db2"]);
    smaller.hosts.remove("h3");
    world.tell(Command::DefineGroup { group: group(), definition: smaller });
    assert_eq!(world.state.groups[&group()].samples["ag"].len(), 1);
    world.tell(Command::RemoveGroup { group: group() });
    world.tell(Command::DefineGroup { group: group(), definition: definition(&["db1", "db2"]) });
    assert!(world.state.groups[&group()].samples.is_empty());
}

fn losing(world: &World) -> Plan {
    let mut step = act("1", &["h2"]);
    if let baton_model::plan::Work::Act { tasks } = &mut step.work {
        tasks[0].action = "mssql.ag.force_failover".to_owned();
    }
    Plan { kind: Kind::Forced, loses_data: true, ..world.plan(vec![vec![step], vec![transfer("2", true)]]) }
}

fn start(world: &mut World, typed: Option<&str>) -> Answer {
    let plan = losing(world);
    let acceptance = typed.map(|typed| Box::new(Acceptance { typed: typed.to_owned(), bill: bill(world) }));
    world.tell(Command::StartRun { digest: plan.digest(), plan: Box::new(plan), acceptance, cause: None })
}

#[test]
fn what_loses_data_starts_on_an_acceptance_of_its_own_and_keeps_it() {
    let mut world = World::new();
    sample(&mut world, "ag", "h1", "PRIMARY");
    assert_eq!(code(&start(&mut world, None)), "BTN-0170");
    for wrong in ["", "POM", "pom ", "yes"] {
        let Answer::Refused { fault } = start(&mut world, Some(wrong)) else { panic!("{wrong:?} was taken") };
        assert_eq!(fault.code, "BTN-0171");
        assert!(fault.message.contains(&format!("{wrong:?}")) && fault.message.contains("\"pom\""), "{fault}");
    }
    let Answer::Started { run } = start(&mut world, Some("pom")) else { panic!("not started") };
    let kept = world.run(&run).accepted_loss.clone().expect("kept");
    assert_eq!((kept.typed.as_str(), kept.bill), ("pom", bill(&world)));
    assert_eq!(world.run(&run).started.who, crate::world::operator("anna"));
    let told = &world.run(&run).history[1];
    assert_eq!(told.author, world.run(&run).started);
    assert!(told.what.starts_with("accepted the loss of data by typing \"pom\": unknown: "), "{}", told.what);
    // For this run alone.
    world.abort(&run);
    world.report(&run, "1@h2#1", baton_model::outcome::Outcome::Failed);
    assert!(world.comes_to_an_end());
    assert_eq!(code(&start(&mut world, None)), "BTN-0170");
}

#[test]
fn an_acceptance_where_nothing_can_be_lost_is_not_kept() {
    let mut world = World::new();
    let plan = world.plan(vec![vec![act("1", &["h1"])]]);
    let acceptance = Some(Box::new(Acceptance { typed: "pom".to_owned(), bill: bill(&world) }));
    let started =
        world.tell(Command::StartRun { digest: plan.digest(), plan: Box::new(plan), acceptance, cause: None });
    let Answer::Started { run } = started else { panic!("{started:?}") };
    assert_eq!(world.run(&run).accepted_loss, None);
}

/// Added beside the older files, which stay as they were written.
#[test]
fn samples_and_an_accepted_loss_keep_their_form() {
    let mut world = World::new();
    sample(&mut world, "ag", "h1", "PRIMARY");
    same("record_sample.json", &world.log.last().expect("an entry").1);
    world.later(10);
    sample(&mut world, "ag", "h1", "RESOLVING");
    assert_eq!(code(&start(&mut world, Some("pom"))), "started");
    same("start_run_accepted.json", &world.log.last().expect("an entry").1);
    let bytes = codec::encode_state(&world.state);
    same("state_samples.json", &bytes);
    assert_eq!(codec::decode_state(&bytes).expect("own bytes"), world.state);
}
