//! Plans that can lose data, and what samples ask of whom.

use std::collections::BTreeMap;

use baton_model::{
    group::Group,
    parse::{parse_group, parse_runbook},
    plan::Plan,
};
use baton_planner::{Request, plan, sample};
use serde_json::{Value, json};

use crate::{request, situation};

const GROUP: &str = "group: pom
members:
  db1: { hosts: { database: pomdb1 } }
  db2: { hosts: { database: pomdb2 } }
  db3: { hosts: { database: pomdb3 } }
primary: db1
hosts:
  pomdb1: { address: 10.0.0.1, vars: { connection: sql1 } }
  pomdb2: { address: 10.0.0.2, vars: { connection: sql2 } }
  pomdb3: { address: 10.0.0.3 }
vars: { ag: POM_AG }
connections:
  sql1: { kind: sqlserver, host: \"${host.address}\", database: master, user: baton }
  sql2: { kind: sqlserver, host: \"${host.address}\", database: master, user: baton }
samples:
  ag: { on: database, every: 5s, action: { mssql.ag.sample: { group: \"${vars.ag}\", connection: \"${host.vars.connection}\", replicas: [sql1] } } }
  service: { on: database, action: { service.running: { name: SQL } } }
";

fn the_group() -> Group {
    parse_group("pom.yaml", GROUP).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn planned(condition: &str, accepted: bool) -> Plan {
    let text = format!(
        "runbook: move\nkind: forced\nsteps:\n  - on: new.database\n    when: {condition}\n    \
         mssql.ag.force_failover: {{ group: \"${{vars.ag}}\", connection: sql2, accept_data_loss: \"${{accepted_data_loss}}\" }}\n  \
         - role.transfer: {{}}\n"
    );
    let runbook = parse_runbook("move.yaml", &text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let request = Request { inputs: BTreeMap::new(), accepted_data_loss: accepted, ..request() };
    plan(&the_group(), &runbook, &situation(), &request).unwrap_or_else(|fault| panic!("{fault}"))
}

fn params(plan: &Plan) -> Vec<&Value> {
    plan.tasks().map(|task| &task.params["accept_data_loss"]).collect()
}

#[test]
fn a_plan_that_can_lose_data_says_so_and_carries_the_acceptance_to_its_step() {
    let (without, with) = (planned("true", false), planned("true", true));
    assert!(without.loses_data && with.loses_data);
    assert_eq!((params(&without), params(&with)), (vec![&json!(false)], vec![&json!(true)]));
    assert_ne!(without.digest(), with.digest(), "what was shown without it is not what runs with it");
    let never = planned("false", true);
    assert!(!never.loses_data, "a step that does not run loses nothing");
    let written = serde_json::to_value(&never).expect("json");
    assert_eq!(written.get("loses_data"), None, "plans that lose nothing keep their form");
}

#[test]
fn the_bill_is_between_the_old_members_hosts_and_those_that_are_forced() {
    let plan = planned("true", true);
    let parties = sample::parties(&the_group(), &plan);
    let names = |hosts: &std::collections::BTreeSet<baton_model::ids::HostName>| {
        hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((names(&parties.old), names(&parties.target)), ("pomdb1".to_owned(), "pomdb2".to_owned()));
    // The other sample says nothing of a database's log.
    assert_eq!(parties.asked.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["ag"]);
    assert_eq!(parties.asked["ag"].len(), 3);
    // Forced from a host that no sample asks: the new member's hosts are what takes over.
    let mut elsewhere = the_group();
    elsewhere.samples.clear();
    assert_eq!(names(&sample::parties(&elsewhere, &plan).target), "pomdb2");
}

#[test]
fn every_host_of_the_role_is_asked_with_its_own_values() {
    let questions = sample::questions(&the_group(), &situation());
    let told: Vec<String> = questions
        .iter()
        .map(|question| match &question.asked {
            Ok(asked) => format!("{} {} {} {}", question.host, question.every, asked.action, asked.params),
            Err(fault) => format!("{} {fault}", question.host),
        })
        .collect();
    let connection =
        |host: &str| json!({ "kind": "sqlserver", "host": host, "database": "master", "user": "baton" }).to_string();
    assert_eq!(questions.len(), 6);
    for (number, host) in ["10.0.0.1", "10.0.0.2"].into_iter().enumerate() {
        assert!(
            told[number].contains(&format!("5s mssql.ag.sample {{\"connection\":{}", connection(host))),
            "{}",
            told[number]
        );
        assert!(told[number].contains("\"group\":\"POM_AG\""), "{}", told[number]);
        // A replica by name is the same definition, for the host that asks.
        assert!(told[number].contains(&format!("\"replicas\":[{}]", connection(host))), "{}", told[number]);
    }
    assert!(told[2].starts_with("pomdb3 BTN-0174 sample ag of group pom cannot be asked of pomdb3: "), "{}", told[2]);
}
