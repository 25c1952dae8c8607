//! Plans and refusals from small files, as an operator writes them. `BATON_GOLDEN=write` writes the golden files anew.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use baton_model::{
    group::Group,
    ids::Epoch,
    outcome::Fault,
    parse::{parse_group, parse_runbook},
    plan::{Condition, Plan, Work},
    runbook::Runbook,
    time::{Moment, Span},
};
use baton_planner::{Request, Situation, consequence, plan};
use serde_json::json;

mod losing;
mod refusals;
mod rules;

const GROUP: &str = "group: pom
members:
  db1: { hosts: { database: pomdb1 } }
  db2: { hosts: { database: pomdb2 } }
  db3: { hosts: { database: pomdb3 } }
primary: db1
roles:
  pom: [app1, app2]
hosts:
  pomdb1: { address: 10.0.0.1 }
  pomdb2: { address: 10.0.0.2 }
  pomdb3: { address: 10.0.0.3 }
  app1: { address: 10.0.0.4 }
  app2: { address: 10.0.0.5 }
vars: { service: POM, services: [web, batch] }
windows:
  night: { days: [sun], from: '02:30', to: '05:00', time_zone: Europe/Berlin }
";
const ALL: &str = "runbook: move
description: Move the role
inputs:
  text: { type: string, required: true }
  count: { type: integer, default: 3 }
  flag: { type: boolean }
  names: { type: list, default: [] }
  mode: { type: choice, choices: [fast, slow], default: slow }
prechecks:
  - confirm: \"Is ${old.name} idle?\"
steps:
  - name: Look
    on: old.database
    service.running: { name: POM }
    register: found
  - name: Stop ${item}
    on: [pom, new.database]
    for: ${vars.services}
    service.stop: { name: \"${item} on ${host.name}\" }
    undo: { service.start: { name: \"${item}\" } }
    parallel: 1
  - together:
      - name: Others
        on: others.database
        service.stop: { name: \"${vars.service}\" }
      - name: Fast only
        when: input.mode == 'fast'
        on: pom
        service.stop: { name: POM }
      - name: When found
        when: found.state == 'up'
        on: 'host:app1'
        service.stop: { name: \"${found.name} as ${input.text}\" }
  - role.transfer: { detach_old: true }
  - approval: Good?
";

fn moment(text: &str) -> Moment {
    // 2026-10-25: 03:00 becomes 02:00 in Berlin.
    let (hour, minute) = text.split_once(':').expect("hour:minute");
    let number = |digits: &str| digits.parse::<u64>().expect("a number");
    Moment(1_792_886_400_000 + (number(hour) * 60 + number(minute)) * 60_000)
}
fn the_group() -> Group {
    parse_group("pom.yaml", GROUP).unwrap_or_else(|faults| panic!("{faults:#?}"))
}
fn the_runbook(text: &str) -> Runbook {
    parse_runbook("move.yaml", text).unwrap_or_else(|faults| panic!("{faults:#?}"))
}
fn situation() -> Situation {
    Situation {
        primary: "db1".parse().expect("a name"),
        epoch: Epoch(4),
        revision: 9,
        facts: BTreeMap::from([("kept".to_owned(), json!(1))]),
        standings: BTreeMap::from([("db3".parse().expect("a name"), "lost".to_owned())]),
    }
}
fn request() -> Request {
    Request {
        runbook: "move".parse().expect("a name"),
        to: None,
        inputs: BTreeMap::from([("text".to_owned(), "hello".to_owned())]),
        reason: "a test".to_owned(),
        overrides: BTreeMap::new(),
        accepted_data_loss: false,
        now: moment("00:00"),
    }
}
fn refusal(result: Result<Plan, Fault>) -> String {
    result.map_or_else(|fault| fault.to_string(), |plan| format!("planned: {}", consequence::sentence(&plan)))
}
fn with(steps: &str) -> String {
    let result = plan(
        &the_group(),
        &the_runbook(&format!("runbook: move\nsteps:\n{steps}")),
        &situation(),
        &Request { inputs: BTreeMap::new(), ..request() },
    );
    refusal(result)
}

fn same(file: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("BATON_GOLDEN").is_some() {
        fs::write(&path, text).expect("write the golden file");
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, golden, "{file}");
}

/// A plan as lines: stage, step, condition, hosts and parameters.
fn told(plan: &Plan) -> String {
    let mut text = format!("{}\ninputs {}\n", consequence::sentence(plan), json!(plan.inputs));
    for (number, stage) in plan.stages.iter().enumerate() {
        for step in &stage.steps {
            let condition = match &step.condition {
                Condition::Always => String::new(),
                Condition::Never(expression) => format!(" never: {expression}"),
                Condition::Deferred(expression) => format!(" deferred: {expression}"),
            };
            let kind = if stage.precheck { "precheck" } else { "stage" };
            let _ = writeln!(text, "{kind} {number} {} {:?} {}{condition}", step.id, step.name, step.timeout);
            let tasks = match &step.work {
                Work::Act { tasks } => tasks.as_slice(),
                other => {
                    let _ = writeln!(text, "    {}", json!(other));
                    &[]
                }
            };
            for (word, tasks) in [("", tasks), ("undo ", &step.undo)] {
                for task in tasks {
                    let deferred = if task.deferred { " (deferred)" } else { "" };
                    let _ = writeln!(text, "    {word}{} {} {}{deferred}", task.host, task.action, task.params);
                }
            }
        }
    }
    text
}

#[test]
fn a_plan_names_every_host_and_value() {
    let planned =
        plan(&the_group(), &the_runbook(ALL), &situation(), &request()).unwrap_or_else(|fault| panic!("{fault}"));
    same("switchover.txt", &told(&planned));
    let again =
        plan(&the_group(), &the_runbook(ALL), &situation(), &request()).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(planned.digest(), again.digest());
}

#[test]
fn every_refusal_says_what_was_seen_and_what_to_do() {
    let (group, runbook) = (the_group(), the_runbook(ALL));
    let mut text = String::new();
    let mut say = |label: &str, refusal: String| {
        let _ = writeln!(text, "{label}: {refusal}");
    };
    let asked = |change: &dyn Fn(&mut Request, &mut Situation)| {
        let (mut request, mut situation) = (request(), situation());
        change(&mut request, &mut situation);
        refusal(plan(&group, &runbook, &situation, &request))
    };
    let input = |name: &'static str, value: &'static str| {
        asked(&move |request, _| {
            request.inputs.insert(name.to_owned(), value.to_owned());
        })
    };
    say("missing", asked(&|request, _| request.inputs.clear()));
    say("integer", input("count", "many"));
    say("boolean", input("flag", "perhaps"));
    say("choice", input("mode", "warp"));
    say("list", input("names", "a, b"));
    say("unknown", input("colour", "red"));
    let to = |member: &'static str| asked(&move |request, _| request.to = member.parse().ok());
    for member in ["db9", "db1", "db3", "db2"] {
        say(&format!("to {member}"), to(member));
    }
    say("several fit", asked(&|_, situation| situation.standings.clear()));
    say(
        "none fits",
        asked(&|_, situation| {
            situation.standings.insert("db2".parse().expect("a name"), "detached".to_owned());
        }),
    );
    let guard = |name: &'static str, why: &'static str| {
        asked(&move |request, _| {
            request.overrides.insert(name.to_owned(), why.to_owned());
        })
    };
    say("guard", guard("windwo", "hurry"));
    say("no reason", guard("window", " "));
    say("no target", with("  - { on: new.database, service.stop: { name: POM } }\n"));
    say("no host", with("  - { on: nothing, service.stop: { name: POM } }\n"));
    say("foreign host", with("  - { on: 'host:elsewhere', service.stop: { name: POM } }\n"));
    say("connection", with("  - { on: pom, sql.exec: { connection: main, statements: [{ sql: SELECT 1 }] } }\n"));
    say("no variable", with("  - { on: pom, service.stop: { name: '${vars.missing}' } }\n"));
    say("no condition", with("  - { on: pom, when: 1 + 1, service.stop: { name: POM } }\n"));
    say("no list", with("  - { on: pom, for: '${vars.service}', service.stop: { name: POM } }\n"));
    say("no member", with("  - { role.rejoined: { member: db9 } }\n"));
    same("refusals.txt", &text);
}

#[test]
fn a_window_opens_and_closes_by_its_own_clock_even_when_that_changes() {
    let group = the_group();
    let at = |head: &str, time: &str, overridden: bool| {
        let runbook = the_runbook(&format!("runbook: move\n{head}\nsteps:\n  - confirm: ready?\n"));
        let mut request = Request { inputs: BTreeMap::new(), now: moment(time), ..request() };
        if overridden {
            request.overrides.insert("window".to_owned(), "hurry".to_owned());
        }
        refusal(plan(&group, &runbook, &situation(), &request))
    };
    let stays = "planned: db1 stays primary of pom.";
    let closed = |next: &str| {
        format!(
            "BTN-0105 window night of group pom is closed; it opens next at {next}. Wait for it, or override with --override window=REASON."
        )
    };
    // 02:30 comes twice that night: the first time counts, and 05:00 is winter time.
    assert_eq!(at("window: night", "00:29", false), closed("2026-10-25 00:30 UTC (02:30 Europe/Berlin)"));
    assert_eq!(at("window: night", "00:30", false), stays);
    assert_eq!(at("window: night", "03:59", false), stays);
    assert_eq!(at("window: night", "04:00", false), closed("2026-11-01 01:30 UTC (02:30 Europe/Berlin)"));
    assert_eq!(at("window: night", "04:00", true), stays);
    assert!(at("window: day", "04:00", false).starts_with("BTN-0131 runbook move runs in window \"day\""));
}

#[test]
fn what_a_step_says_of_a_member_is_resolved_and_said_before_it_starts() {
    let steps =
        "  - { role.detached: { member: '${old.name}', because: 'data movement paused on ${old.database.name}' } }\n";
    let runbook = the_runbook(&format!("runbook: move\nsteps:\n  - role.transfer: {{}}\n{steps}"));
    let planned = plan(&the_group(), &runbook, &situation(), &Request { inputs: BTreeMap::new(), ..request() });
    let planned = planned.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(
        consequence::sentence(&planned),
        "The primary role of pom moves from db1 to db2 (epoch 4 to 5). Nothing may be lost on the way. db1 is left detached until it has rejoined: data movement paused on pomdb1."
    );
    assert_eq!(
        json!(planned.stages[1].steps[0].work),
        json!({ "work": "detach", "member": "db1", "because": { "text": "data movement paused on pomdb1" } })
    );
    assert!(with("  - { role.detached: { member: db9, because: gone } }\n").contains("has no member db9"));
}

#[test]
fn what_the_coordinators_try_is_named_for_each_host_and_must_be_an_endpoint() {
    let one = |text: &str| with(&format!("  - {text}\n"));
    let runbook = the_runbook(
        "runbook: move\nsteps:\n  - on: [pom, host:pomdb1]\n    coordinators.unreachable: { tcp: ['${host.address}:5041', 'chat:1'], from: 3 }\n    guard: alive\n    timeout: 2s\n  - coordinators.unreachable: { tcp: ['${old.database.address}:5041'] }\n    when: 'false'\n",
    );
    let request = |over: &str| {
        let overrides = BTreeMap::from([(over.to_owned(), "half dead".to_owned())]);
        Request { inputs: BTreeMap::new(), overrides, ..request() }
    };
    let planned =
        plan(&the_group(), &runbook, &situation(), &request("alive")).unwrap_or_else(|fault| panic!("{fault}"));
    let steps: Vec<_> = planned.steps().collect();
    assert_eq!(
        json!(steps[0].work),
        json!({
            "work": "prove_unreachable", "from": 3, "guard": "alive",
            "endpoints": ["10.0.0.4:5041", "chat:1", "10.0.0.5:5041", "10.0.0.1:5041"],
        })
    );
    assert_eq!((steps[0].timeout, matches!(steps[1].condition, Condition::Never(_))), (Span::from_secs(2), true));
    assert!(refusal(plan(&the_group(), &runbook, &situation(), &request("dead"))).starts_with("BTN-0138"));
    for bad in ["nonsense", "a:0", "a:70000", "a b:1", ":1", "[::1:1", "http://a:1", "a:+1"] {
        let told = one(&format!("coordinators.unreachable: {{ tcp: ['{bad}'] }}"));
        assert!(told.contains(&format!("{bad:?} is not HOST:PORT")), "{told}");
    }
    assert!(one("coordinators.unreachable: { tcp: ['[::1]:1'] }").starts_with("planned: "));
    let many: Vec<String> = (1..=65).map(|port| format!("a:{port}")).collect();
    assert!(one(&format!("coordinators.unreachable: {{ tcp: [{}] }}", many.join(", "))).contains("65 endpoints"));
    let zero = one("coordinators.unreachable: { tcp: ['a:1'], from: \"${size(vars.services) - 2}\" }");
    assert!(zero.contains("from 0 coordinators"), "{zero}");
}

#[test]
fn a_step_carries_the_openings_of_its_window_and_refuses_nothing() {
    let group = the_group();
    let text = "runbook: move\nsteps:\n  - { confirm: ready?, window: night }\n  - { confirm: ready?, window: night, when: 'false' }\n";
    let at = |time: &str| {
        let request = Request { inputs: BTreeMap::new(), now: moment(time), ..request() };
        plan(&group, &the_runbook(text), &situation(), &request).unwrap_or_else(|fault| panic!("{fault}"))
    };
    let (closed, open, over) = (at("00:29"), at("00:31"), at("04:00"));
    let window = |plan: &Plan| plan.stages[0].steps[0].window.clone().expect("a window");
    assert_eq!(window(&closed).definition, "sun 02:30 to 05:00 Europe/Berlin");
    assert_eq!(window(&closed).openings[0].told, "2026-10-25 00:30 UTC (02:30 Europe/Berlin)");
    assert_eq!(window(&over).openings[0].told, "2026-11-01 01:30 UTC (02:30 Europe/Berlin)");
    assert_eq!(window(&closed).openings.len(), 32);
    assert!(closed.stages[1].steps[0].window.is_none(), "what is left out waits for nothing");
    // The same plan before the window and in it; another when it has closed meanwhile.
    assert_eq!(closed.digest(), open.digest());
    assert_ne!(closed.digest(), over.digest());
    let unknown = the_runbook("runbook: move\nsteps:\n  - { confirm: ready?, window: day }\n");
    let told = refusal(plan(&group, &unknown, &situation(), &Request { inputs: BTreeMap::new(), ..request() }));
    assert!(told.starts_with("BTN-0131 runbook move runs in window \"day\""), "{told}");
}

#[test]
fn turns_with_the_same_item_are_still_different_steps() {
    let runbook = the_runbook(
        "runbook: move\nsteps:\n  - { name: Stop, on: pom, for: [a, a], service.stop: { name: '${item}' } }\n",
    );
    let planned = plan(&the_group(), &runbook, &situation(), &Request { inputs: BTreeMap::new(), ..request() });
    let ids: Vec<String> = planned.expect("planned").steps().map(|step| step.id.to_string()).collect();
    assert_eq!(ids, ["1[1]", "1[2]"]);
}
