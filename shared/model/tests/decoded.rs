//! What comes out of the samples is what stands in them.

use std::{fs, path::Path};

use baton_model::{
    check,
    digest::Digest,
    expression::Expression,
    group::{Automatic, Day, Group, Mode},
    ids::{ComponentName, HostRole, MemberName},
    parse,
    plan::{Kind, OnFailure, Unreachable},
    runbook::{Block, Runbook, Selector, StepDefinition, WorkDefinition},
    time::Span,
};
use serde_json::{Value, json};

fn sample(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)).expect(name)
}

fn group() -> Group {
    parse::parse_group("group.yaml", &sample("group.yaml")).expect("a group")
}

fn runbook_of(text: &str) -> Runbook {
    parse::parse_runbook("runbook.yaml", text).expect("a runbook")
}

fn role(name: &str) -> HostRole {
    HostRole::new(name).expect(name)
}

fn first(runbook: &Runbook) -> &StepDefinition {
    runbook.all_steps().next().expect("a step")
}

#[test]
fn the_group_is_as_written() {
    let group = group();
    let db1 = MemberName::new("db1").expect("a name");
    assert_eq!(group.primary, db1);
    assert_eq!(
        group.hosts_of(&db1, &role("database")).iter().map(|host| host.as_str()).collect::<Vec<_>>(),
        ["pomdb1"]
    );
    assert!(group.hosts_of(&db1, &role("pom")).is_empty());
    let everyone = group.hosts_with_role(&role("database"));
    assert_eq!(everyone.iter().map(|host| host.as_str()).collect::<Vec<_>>(), ["pomdb1", "pomdb2"]);
    let shared = group.hosts_with_role(&role("pom"));
    assert_eq!(shared.iter().map(|host| host.as_str()).collect::<Vec<_>>(), ["pom1", "pom2"]);
    assert_eq!(group.all_hosts().count(), 4);
    let pomdb2 = group.all_hosts().find(|host| host.as_str() == "pomdb2").expect("a host");
    assert_eq!(group.member_of(pomdb2).map(MemberName::as_str), Some("db2"));
    assert_eq!(group.site_of(&db1).map(|site| site.as_str()), Some("east"));
    assert_eq!(group.vars["mode"], json!("0640"));
    assert_eq!(group.hosts["pomdb1"].vars["weight"], json!(1.5));
    assert_eq!(group.connections["admin"]["password"], json!("${secret('db-password')}"), "kept for the planner");
    assert_eq!(group.windows["maintenance"].days, [Day::Sat, Day::Sun]);
    assert_eq!(group.lease.map(|lease| lease.lasts), Some(Span::from_secs(15)));
    assert_eq!(group.components["daemon"].probe, json!({ "service": { "name": "POM" } }));
    let stop = group.components["daemon"].stop_action().expect("the opposite of its probe");
    assert_eq!(stop, ("service.stop".to_owned(), json!({ "name": "POM" })));
    assert_eq!(group.components["port"].stop_action(), None);
    assert_eq!(group.components["page"].checks, 3);
    let Some(Automatic::Policy(policy)) = &group.automatic else { panic!("a policy") };
    assert_eq!((policy.mode, policy.holds_for), (Mode::Observe, Span::from_secs(45)));
    let named = |wanted: &'static str| move |component: &ComponentName| component.as_str() == wanted;
    let never = |_: &ComponentName| false;
    assert!(policy.condition.holds(named("daemon"), never));
    assert!(!policy.condition.holds(never, named("port")), "one of all is not all");
    assert!(policy.condition.holds(never, |component| component.as_str() != "daemon"));
    assert!(!policy.condition.holds(named("port"), never), "somewhere is not everywhere");
    assert_eq!((policy.grace, policy.cooldown), (Span::from_secs(30), Span::from_secs(1200)));
}

#[test]
fn the_runbook_is_as_written() {
    let text = sample("runbook.yaml");
    let runbook = runbook_of(&text);
    assert_eq!((runbook.kind, runbook.transfers()), (Kind::Planned, true));
    assert_eq!(runbook.digest, Digest::of_bytes(text.as_bytes()));
    assert_eq!(runbook.window.as_deref(), Some("maintenance"));
    assert_eq!((runbook.prechecks.len(), runbook.steps.len()), (5, 7));
    assert_eq!(runbook.inputs["limit"].default, Some(json!(3)));
    assert_eq!(runbook.inputs["mode"].read("data"), Ok(json!("data")));
    assert_eq!(runbook.inputs["only"].read("a, b"), Ok(json!(["a", "b"])));
    assert!(runbook.inputs["mode"].read("none").is_err() && runbook.inputs["limit"].read("x").is_err());

    let (target, require) = (&runbook.target[0], &runbook.require[0]);
    assert_eq!((target.expect.as_str(), target.guard.as_deref()), ("candidate.site == old.site", Some("other-site")));
    assert_eq!((require.guard.as_deref(), require.because.as_str()), (None, "only hosts of ${group.name}"));
    assert_eq!(runbook.guards().into_iter().collect::<Vec<_>>(), ["alive", "other-site"]);
    let Block::One(gone) = &runbook.prechecks[3] else { panic!("one step") };
    let params = json!({ "tcp": ["${host.address}:5041"], "from": 2 });
    assert_eq!((&gone.work, gone.on.len()), (&WorkDefinition::Unreachable { params }, 1));

    let Block::One(stop) = &runbook.steps[0] else { panic!("one step") };
    assert_eq!(stop.name, "Stop ${vars.service}");
    assert_eq!(stop.on, [Selector::Role(role("pom"))]);
    assert_eq!((stop.unreachable, stop.on_failure, stop.parallel), (Unreachable::Skip, OnFailure::Halt, Some(2)));
    assert_eq!((stop.retry.attempts, stop.retry.delay), (3, Span::from_secs(10)));
    assert_eq!(
        (stop.undo[0].name.as_str(), &stop.undo[0].params),
        ("service.start", &json!({ "name": "${vars.service}" }))
    );
    let WorkDefinition::Action(action) = &stop.work else { panic!("an action") };
    assert_eq!((action.name.as_str(), &action.params), ("service.stop", &json!({ "name": "${vars.service}" })));

    let Block::Together(together) = &runbook.steps[1] else { panic!("together") };
    assert_eq!(together[0].for_each, Some(json!("${vars.databases}")));
    assert_eq!(together[0].register.as_deref(), Some("done"));
    assert_eq!(together[0].name, "exec.run checkpoint");
    assert_eq!(together[1].on, [Selector::Others(role("database")), Selector::Host("${group.witness}".to_owned())]);
    assert_eq!(together[1].when.as_deref(), Some("'witness' in group && input.mode == 'full'"));

    let works: Vec<&StepDefinition> = runbook.steps[2..].iter().flat_map(Block::steps).collect();
    assert_eq!(works[0].work, WorkDefinition::Transfer { detach_old: None, because: None });
    assert_eq!((works[1].on_failure, works[1].keep.as_deref()), (OnFailure::Continue, Some("moved")));
    assert_eq!(works[3].work, WorkDefinition::Rejoined { member: "${old.name}".to_owned() });
    assert_eq!(works[4].work, WorkDefinition::Approval("All is well".to_owned()));
    let lines = text.lines().collect::<Vec<_>>();
    for step in runbook.all_steps() {
        assert!(lines[step.line as usize - 1].trim_start().starts_with("- "), "line {} begins a step", step.line);
    }
}

#[test]
fn what_is_not_written_has_its_default() {
    let runbook =
        runbook_of("runbook: r\nsteps:\n  - on: old.database\n    retry: 4\n    service.stop: { name: POM }\n");
    assert_eq!(runbook.kind, Kind::Maintenance);
    let step = first(&runbook);
    assert_eq!((step.name.as_str(), step.line), ("service.stop POM", 3));
    assert_eq!((step.unreachable, step.on_failure, step.parallel), (Unreachable::Fail, OnFailure::Halt, None));
    assert_eq!((step.retry.attempts, step.retry.delay), (4, Span::from_secs(5)));
    let runbook = runbook_of("runbook: r\nkind: forced\nsteps:\n  - role.transfer:\n");
    assert_eq!((runbook.kind, first(&runbook).retry.attempts), (Kind::Forced, 1));
    let runbook = runbook_of("runbook: r\nsteps:\n  - role.transfer: { detach_old: true }\n");
    assert_eq!(runbook.kind, Kind::Planned);
}

#[test]
fn conditions_and_lists_are_taken_with_and_without_braces() {
    for when in ["vars.on", "\"${vars.on}\"", "\"${ vars.on }\""] {
        let runbook = runbook_of(&format!("runbook: r\nsteps:\n  - confirm: x\n    when: {when}\n"));
        assert_eq!(first(&runbook).when.as_deref(), Some("vars.on"), "{when}");
    }
    for each in ["vars.list", "\"${vars.list}\""] {
        let text =
            format!("runbook: r\nsteps:\n  - on: pom\n    for: {each}\n    service.stop: {{ name: \"${{item}}\" }}\n");
        assert_eq!(first(&runbook_of(&text)).for_each, Some(json!("${vars.list}")), "{each}");
    }
    let text = "runbook: r\nsteps:\n  - on: pom\n    for: [a, \"${vars.b}\", 3]\n    exec.run: { argv: [/bin/x, \"${item}\"] }\n";
    assert_eq!(first(&runbook_of(text)).for_each, Some(json!(["a", "${vars.b}", 3])));
    let runbook = runbook_of("runbook: r\nsteps:\n  - confirm: x\n    when: false\n");
    assert_eq!(first(&runbook).when.as_deref(), Some("false"));
    assert_eq!(Expression::parse("false").expect("parses").holds(&Default::default()), Ok(false));
}

#[test]
fn a_literal_dollar_brace_is_unescaped_where_nothing_is_replaced() {
    let runbook = runbook_of("runbook: r\nvars: { shell: \"echo $${HOME}\" }\nsteps:\n  - confirm: x\n");
    assert_eq!(runbook.vars["shell"], Value::from("echo ${HOME}"));
}

#[test]
fn a_runbook_is_found_beside_its_group() {
    let group = sample("group.yaml").replace("runbook.yaml", "../shared/./switchover.yaml");
    let runbook = sample("runbook.yaml").replace("old.database", "old.databse");
    let told = check::check_files(&[
        ("deploy/groups/pom.yaml".to_owned(), group),
        ("deploy/shared/switchover.yaml".to_owned(), runbook.clone()),
        ("deploy/elsewhere/switchover.yaml".to_owned(), runbook),
    ]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter().all(|fault| fault.file == "deploy/shared/switchover.yaml" && fault.message.contains("databse"))
    );
}

#[test]
fn at_most_fifty_faults_of_a_file_are_told() {
    let steps: String = (0..80).map(|n| format!("  - on: pom\n    service.stop: {{ nme{n}: POM }}\n")).collect();
    let faults = parse::parse_runbook("r.yaml", &format!("runbook: r\nsteps:\n{steps}")).expect_err("faults");
    assert_eq!(faults.len(), 50);
}
