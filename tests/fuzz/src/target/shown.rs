//! What the command is given to show: plans, runs, lost rows. Whatever a coordinator or a host says is drawn, and no more than that.

use baton_cli::output::{look::Look, lost_rows, plan, run};
use baton_model::{
    plan::Plan,
    view::{PlanView, RunView},
};
use serde_json::json;

use super::{Target, all_of, shape, shape_of, text};
use crate::corpus;

pub(super) const ALL: &[Target] = &[
    Target { name: "lost-rows", what: "the list of lost rows (CSV), drawn", corpus: rows, feed: drawn_rows },
    Target { name: "picture", what: "plans and runs, drawn", corpus: views, feed: drawn },
];

pub(super) fn look(width: usize) -> Look {
    Look { width, color: false, unicode: true, zone: jiff::tz::TimeZone::UTC }
}

/// What a host says must not repaint an operator's screen.
fn steers_nothing(drawn: &str) {
    let steers = drawn.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert_eq!(steers, None, "a terminal is steered");
}

fn rows() -> Vec<Vec<u8>> {
    [
        "sequence,transaction,schema,table,change,key,values\n1,2,public,t,I,,\"{\"\"a\"\": 1}\"\n",
        "a,b\r\n\"x\r\ny\",\"\"\"\"\r\n",
        "\"",
        "a\n\u{202e}b\u{0}\n日本語\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn drawn_rows(case: &[u8]) -> u64 {
    let read = lost_rows::LostRows::read("fdb", &text(case));
    let again = [read.clone(), read];
    let written = lost_rows::csv(&again[..1]);
    let drawn = lost_rows::tables(&again, &look(1 + case.len() % 120));
    steers_nothing(&drawn);
    all_of([
        shape(&written.chars().filter(|c| !c.is_alphanumeric()).take(40).collect::<String>()),
        again[0].rows.len().min(5) as u64,
    ])
}

fn views() -> Vec<Vec<u8>> {
    let golden = corpus::texts("coordinator/engine/tests/golden", ".json");
    let mut found: Vec<Vec<u8>> = Vec::new();
    for text in golden {
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        if let Some(plan) = read.pointer("/body/command/start_run/plan") {
            let Ok(plan) = serde_json::from_value::<Plan>(plan.clone()) else { continue };
            let view = PlanView {
                digest: plan.digest(),
                consequence: "The role moves.".to_owned(),
                plan,
                bill: None,
                observations: Vec::new(),
                warnings: vec!["step 1 would not succeed".to_owned()],
            };
            found.push(serde_json::to_vec(&view).expect("a view can be written"));
        }
    }
    found.push(json!({}).to_string().into_bytes());
    found
}

fn drawn(case: &[u8]) -> u64 {
    let width = 1 + case.len() % 140;
    let plan = serde_json::from_slice::<PlanView>(case).map(|view| plan::render(&view, &look(width)));
    let run = serde_json::from_slice::<RunView>(case).map(|view| run::show(&view, &look(width)));
    all_of([
        shape_of(plan.map(|text| text.lines().count().min(30))),
        shape_of(run.map(|text| text.lines().count().min(30))),
    ])
}
