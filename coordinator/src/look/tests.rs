//! What is refused by what hosts said, as tables.

use std::collections::BTreeMap;

use baton_model::{
    digest::Digest,
    ids::Epoch,
    plan::{Kind, OnFailure, Retry, Stage},
    time::Span,
};
use serde_json::json;

use super::*;

fn plan(hosts: &[&str], unreachable: Unreachable) -> Plan {
    let task = |host: &&str| Task {
        host: host.parse().expect("a name"),
        action: "service.stopped".to_owned(),
        params: json!({ "name": "POM" }),
        deferred: false,
    };
    let step = Step {
        id: StepId("p1".to_owned()),
        name: "POM is stopped".to_owned(),
        work: Work::Act { tasks: hosts.iter().map(task).collect() },
        condition: Condition::Always,
        timeout: Span::from_secs(60),
        retry: Retry { attempts: 1, delay: Span::default() },
        on_failure: OnFailure::Halt,
        unreachable,
        parallel: None,
        register: None,
        keep: None,
        item: None,
        window: None,
        refusal: Some(Refusal { remedy: "Stop POM.".to_owned(), guard: Some("pom-runs".to_owned()) }),
        undo: Vec::new(),
    };
    Plan {
        group: "pom".parse().expect("a name"),
        runbook: "resume".parse().expect("a name"),
        kind: Kind::Maintenance,
        description: String::new(),
        reason: String::new(),
        old: "db1".parse().expect("a name"),
        new: None,
        epoch: Epoch(1),
        group_revision: 1,
        runbook_digest: Digest::of_bytes(b""),
        inputs: BTreeMap::new(),
        overrides: BTreeMap::new(),
        loses_data: false,
        scope: BTreeMap::new(),
        stages: vec![Stage { precheck: true, steps: vec![step] }],
    }
}

fn said(host: &str, observation: Option<Observation>, fault: Option<Fault>) -> ObservedTask {
    ObservedTask { step: StepId("p1".to_owned()), host: host.parse().expect("a name"), observation, fault }
}

fn in_place(host: &str) -> ObservedTask {
    said(host, Some(Observation::InPlace { note: "stopped".to_owned() }), None)
}

fn away(host: &str) -> ObservedTask {
    said(host, None, Some(Fault::new("BTN-0140", format!("{host} is out of reach."), "Start its agent.")))
}

#[test]
fn a_start_is_let_in_only_where_every_host_says_that_the_precheck_holds() {
    let plan = plan(&["pom1", "pom2"], Unreachable::Fail);
    assert_eq!(refusal(&plan, &[in_place("pom1"), in_place("pom2")]), None);
    let differs = Observation::Differs { change: "stop POM: it is running\n".to_owned() };
    let cannot_tell = Observation::CannotTell { why: "its pid file cannot be read".to_owned() };
    let cases = [
        (said("pom2", Some(differs), None), "on pom2 is needed: stop POM: it is running."),
        (said("pom2", Some(cannot_tell), None), "pom2 cannot tell: its pid file cannot be read."),
        (away("pom2"), "pom2 does not say: BTN-0140 pom2 is out of reach."),
        (in_place("pom3"), "pom2 was not asked."),
    ];
    for (second, words) in cases {
        let fault = refusal(&plan, &[in_place("pom1"), second]).expect("refused");
        assert_eq!(fault.code, "BTN-0106");
        assert_eq!(
            fault.message,
            format!("runbook resume of pom does not start: precheck p1 \"POM is stopped\" does not hold: {words}")
        );
        assert!(fault.remedy.starts_with("Stop POM. Or let the run begin with --override pom-runs=REASON"), "{fault}");
    }
}

#[test]
fn a_host_out_of_reach_is_passed_over_only_where_the_step_says_so() {
    let plan = plan(&["pom1"], Unreachable::Skip);
    assert_eq!(refusal(&plan, &[away("pom1")]), None);
    let late = said("pom1", None, Some(Fault::new("BTN-0141", "pom1 did not say.", "")));
    assert!(refusal(&plan, &[late]).is_some(), "a host that is there and says nothing is not out of reach");
}

#[test]
fn an_override_and_a_condition_that_is_false_let_the_run_begin() {
    let running = || said("pom1", Some(Observation::Differs { change: "stop POM".to_owned() }), None);
    let mut overridden = plan(&["pom1"], Unreachable::Fail);
    overridden.overrides.insert("window".to_owned(), "tonight".to_owned());
    assert!(refusal(&overridden, &[running()]).is_some(), "another guard's override");
    overridden.overrides.insert("pom-runs".to_owned(), "its server is scrap".to_owned());
    assert_eq!(refusal(&overridden, &[running()]), None);
    let mut left_out = plan(&["pom1"], Unreachable::Fail);
    left_out.stages[0].steps[0].condition = Condition::Never("false".to_owned());
    assert_eq!(refusal(&left_out, &[running()]), None);
}

#[test]
fn of_many_hosts_the_first_are_named_and_the_others_counted() {
    let names: Vec<String> = (0..20).map(|number| format!("pom{number}")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let found: Vec<ObservedTask> = hosts.iter().map(|host| away(host)).collect();
    let fault = refusal(&plan(&hosts, Unreachable::Fail), &found).expect("refused");
    assert!(fault.message.contains("pom7 does not say") && fault.message.contains("and 12 hosts more"), "{fault}");
    assert!(!fault.message.contains("pom8 does not say"), "{fault}");
}
