//! A stage with a thousand hosts, reported one by one. `BATON_HOSTS=5000` and `--release --nocapture` to measure.

use std::{sync::Arc, time::Instant};

use baton_engine::{
    apply::{Position, apply},
    command::{Command, Proposal},
    due::due_except,
};
use baton_model::{
    author::{Actor, Author},
    ids::StepId,
    outcome::Outcome,
};
use serde_json::{Value, json};

use crate::world::{World, act};

#[test]
fn a_thousand_hosts_report_one_by_one_over_one_copy_of_the_plan() {
    let many: usize = std::env::var("BATON_HOSTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let mut world = World::new();
    let hosts: Vec<String> = (0..many).map(|n| format!("host{n:05}")).collect();
    let mut step = act("1", &hosts.iter().map(String::as_str).collect::<Vec<_>>());
    step.register = Some("found".to_owned());
    let mut next = step.clone();
    next.id = StepId("2".to_owned());
    let run = world.start(vec![vec![step], vec![next]]);
    let plan = Arc::clone(&world.run(&run).plan);
    let began = Instant::now();
    let mut sent = std::collections::HashMap::new();
    for host in &hosts {
        for order in due_except(&world.state, world.now, |task| sent.get(task).copied()).orders {
            sent.insert(order.task, order.index);
        }
        let task = world.task(&run, &format!("1@{host}#1"));
        let report = Box::new(world.word(Outcome::Changed, Value::from(1)));
        let author = Author { who: Actor::Agent(task.host.clone()), when: world.now, why: String::new() };
        let proposal = Proposal { author, request: None, command: Command::ReportTask { task, report } };
        let position = Position { index: world.state.index + 1, term: 3 };
        apply(&mut world.state, position, &proposal);
    }
    println!("{many} hosts: {:?}", began.elapsed());
    assert_eq!(sent.len(), many);
    assert_eq!(world.due().orders.len(), many, "the second stage is due everywhere");
    assert_eq!(world.run(&run).registered["found"][&hosts[0]], json!(1));
    assert!(Arc::ptr_eq(&plan, &world.run(&run).plan), "the plan was copied");
}
