//! `refuse`: what must hold before there is a run is in the plan, resolved; and what cannot be known by then is told.

use std::collections::BTreeMap;

use baton_model::plan::{Plan, Refusal};
use baton_planner::{Request, plan};

use crate::{refusal, request, situation, the_group, the_runbook};

fn planned(prechecks: &str) -> Result<Plan, baton_model::outcome::Fault> {
    let text = format!("runbook: move\nprechecks:\n{prechecks}\nsteps:\n  - confirm: Go on\n");
    plan(&the_group(), &the_runbook(&text), &situation(), &Request { inputs: BTreeMap::new(), ..request() })
}

fn refusals(plan: &Plan) -> Vec<Option<Refusal>> {
    plan.steps().map(|step| step.refusal.clone()).collect()
}

#[test]
fn a_precheck_that_refuses_the_start_says_so_in_the_plan_with_its_values_filled_in() {
    let step = "  - on: pom\n    service.stopped: { name: POM }\n";
    let plain = planned(step).expect("a plan");
    assert_eq!(refusals(&plain), [None, None]);
    let refusing = planned(&format!("{step}    refuse: Stop ${{vars.service}} of ${{group.name}}\n    guard: runs\n"));
    let refusing = refusing.expect("a plan");
    let refusal = Refusal { remedy: "Stop POM of pom".to_owned(), guard: Some("runs".to_owned()) };
    assert_eq!(refusals(&refusing), [Some(refusal), None]);
    assert_ne!(plain.stages, refusing.stages);
    let left_out = planned(&format!("{step}    refuse: Stop it\n    when: vars.service == 'other'\n")).expect("a plan");
    assert_eq!(refusals(&left_out), [None, None]);
}

#[test]
fn the_guard_of_a_refusal_can_be_overridden_and_no_other() {
    let text = "runbook: move\nprechecks:\n  - on: pom\n    service.stopped: { name: POM }\n    refuse: Stop it\n    guard: runs\nsteps:\n  - confirm: Go on\n";
    let with = |guard: &str| {
        let overrides = BTreeMap::from([(guard.to_owned(), "tonight".to_owned())]);
        let request = Request { inputs: BTreeMap::new(), overrides, ..request() };
        refusal(plan(&the_group(), &the_runbook(text), &situation(), &request))
    };
    assert!(with("runs").starts_with("planned: "), "{}", with("runs"));
    let other = with("run");
    assert!(other.starts_with("BTN-0138") && other.contains("runs"), "{other}");
}

#[test]
fn what_is_looked_at_before_the_run_cannot_depend_on_what_the_run_finds() {
    let look = "  - on: old.database\n    service.running: { name: POM }\n    register: found\n";
    let dependent = [
        "    service.stopped: { name: \"${found.name}\" }\n    refuse: Stop it\n",
        "    service.stopped: { name: POM }\n    refuse: Stop ${found.name}\n",
        "    service.stopped: { name: POM }\n    refuse: Stop it\n    when: found.up\n",
    ];
    for step in dependent {
        let told = refusal(planned(&format!("{look}  - on: pom\n{step}")));
        assert!(told.starts_with("BTN-0137") && told.contains("cannot depend on what earlier steps find"), "{told}");
    }
}
