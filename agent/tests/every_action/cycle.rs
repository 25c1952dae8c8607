//! What every row goes through, and what must be so each time.

use std::time::Instant;

use baton_agent::executor::crash::Point;
use baton_model::{
    outcome::{Observation, Outcome},
    time::Span,
};

use super::{
    agent::Agent,
    life::POINTS,
    picture::assert_same,
    row::{Kind, Row, Undo},
};

/// The whole cycle.
pub async fn go_through(agent: &Agent, row: &Row<'_>) {
    let (name, begun) = (row.action, Instant::now());
    match &row.kind {
        Kind::Changes(undo) => changes(agent, row, undo).await,
        Kind::Checks { fails_within } => checks(agent, row, *fails_within).await,
        Kind::Blind => blind(agent, row).await,
    }
    eprintln!("{name}: gone through in {:.1?}", begun.elapsed());
}

/// A new run, up to the row's own step. Answers what is outside then.
async fn begin(agent: &Agent, row: &Row<'_>) -> String {
    agent.next_run();
    for (number, (action, params)) in row.before.iter().enumerate() {
        let report = agent.perform(&format!("0.{number}"), action, params).await;
        assert_eq!(report.outcome, Outcome::Changed, "{}: before it, {action}: {report:?}", row.action);
    }
    row.world.picture(&agent.kept()).await
}

async fn go_back(agent: &Agent, row: &Row<'_>, undo: &Undo, beginning: &str, what: &str) {
    let name = row.action;
    match undo {
        Undo::NextRun => return,
        Undo::World => row.world.undo().await,
        Undo::Action(action, params) => {
            let report = agent.perform("1/undo", action, params).await;
            assert_eq!(report.outcome, Outcome::Changed, "{name}, {what}: undone by {action}: {report:?}");
            let once = row.world.picture(&agent.kept()).await;
            assert_same(&once, beginning, &format!("{name}, {what}: undone"));
            let report = agent.attempt("1/undo", 2, action, params).await;
            assert_eq!(report.outcome, Outcome::Unchanged, "{name}, {what}: undone twice by {action}: {report:?}");
        }
    }
    let after = row.world.picture(&agent.kept()).await;
    assert_same(&after, beginning, &format!("{name}, {what}: back at the beginning"));
}

async fn changes(agent: &Agent, row: &Row<'_>, undo: &Undo) {
    let name = row.action;
    let beginning = begin(agent, row).await;
    let effects = || row.world.effects();
    let none = effects();

    let seen = agent.observe(name, &row.params).await;
    assert!(matches!(seen, Ok(Observation::Differs { .. })), "{name}: before: {seen:?}");
    assert_same(&row.world.picture(&agent.kept()).await, &beginning, &format!("{name}: observing changed something"));

    let report = agent.perform("1", name, &row.params).await;
    assert_eq!(report.outcome, Outcome::Changed, "{name}: {report:?}");
    let end = row.world.picture(&agent.kept()).await;
    assert_ne!(end, beginning, "{name}: nothing has changed outside");
    let seen = agent.observe(name, &row.params).await;
    assert!(matches!(seen, Ok(Observation::InPlace { .. })), "{name}: after: {seen:?}");
    assert_one_more(none, effects(), name, "once");
    let one = effects();

    let again = agent.attempt("1", 2, name, &row.params).await;
    assert_eq!(again.outcome, Outcome::Unchanged, "{name}: again: {again:?}");
    assert_same(&row.world.picture(&agent.kept()).await, &end, &format!("{name}: done again, it changed something"));
    assert_eq!(effects(), one, "{name}: done again, it had its effect again");

    go_back(agent, row, undo, &beginning, "once").await;
    let start = begin(agent, row).await;
    assert_same(&start, &beginning, &format!("{name}: the next run begins"));
    let before = effects();
    let report = agent.perform("1", name, &row.params).await;
    assert_eq!(report.outcome, Outcome::Changed, "{name}: after it was undone: {report:?}");
    assert_same(&row.world.picture(&agent.kept()).await, &end, &format!("{name}: after it was undone, done again"));
    assert_one_more(before, effects(), name, "after it was undone");
    go_back(agent, row, undo, &beginning, "twice").await;

    for point in POINTS {
        let what = format!("killed at {point:?}");
        let start = begin(agent, row).await;
        assert_same(&start, &beginning, &format!("{name}, {what}: the run begins"));
        let before = effects();
        let report = agent.perform_through("1", row, point).await;
        assert_eq!(report.outcome, Outcome::Changed, "{name}, {what}: {report:?}");
        assert_same(&row.world.picture(&agent.kept()).await, &end, &format!("{name}, {what}"));
        assert_one_more(before, effects(), name, &what);
        let again = agent.attempt("1", 2, name, &row.params).await;
        assert_eq!(again.outcome, Outcome::Unchanged, "{name}, {what}: again: {again:?}");
        assert_same(&row.world.picture(&agent.kept()).await, &end, &format!("{name}, {what}: done again"));
        go_back(agent, row, undo, &beginning, &what).await;
    }
}

async fn checks(agent: &Agent, row: &Row<'_>, fails_within: Span) {
    let name = row.action;
    let beginning = begin(agent, row).await;
    let same = async |what: &str| {
        assert_same(
            &row.world.picture(&agent.kept()).await,
            &beginning,
            &format!("{name}: {what}: a check changed something"),
        );
    };
    for step in ["1", "2"] {
        let report = agent.perform(step, name, &row.params).await;
        assert_eq!(report.outcome, Outcome::Unchanged, "{name}: {report:?}");
        same(step).await;
    }
    // A check begins nothing: it has the points at which an order comes and a report goes.
    for point in [Point::Received, Point::BeforeFinished, Point::Finished] {
        agent.next_run();
        let report = agent.perform_through("1", row, point).await;
        assert_eq!(report.outcome, Outcome::Unchanged, "{name}, killed at {point:?}: {report:?}");
        same(&format!("{point:?}")).await;
    }
    row.world.spoil().await;
    let spoilt = row.world.picture(&agent.kept()).await;
    agent.next_run();
    let order = agent.order("1", 1, name, &row.params, fails_within);
    let report = agent.lead(&order, None).await.expect("it does not die");
    assert_eq!(report.outcome, Outcome::Failed, "{name}: it holds although it does not: {report:?}");
    assert!(report.fault.as_ref().is_some_and(|fault| !fault.remedy.is_empty()), "{name}: what to do: {report:?}");
    assert_same(
        &row.world.picture(&agent.kept()).await,
        &spoilt,
        &format!("{name}: a check that fails changed something"),
    );
    row.world.undo().await;
}

async fn blind(agent: &Agent, row: &Row<'_>) {
    let name = row.action;
    begin(agent, row).await;
    let effects = || row.world.effects().expect("a blind row counts its effects");
    let seen = agent.observe(name, &row.params).await;
    assert!(matches!(seen, Ok(Observation::CannotTell { .. })), "{name}: {seen:?}");
    for step in ["1", "2"] {
        let before = effects();
        let report = agent.perform(step, name, &row.params).await;
        assert_eq!((report.outcome, effects()), (Outcome::Changed, before + 1), "{name}: {report:?}");
    }
    // Whether it happened nobody can see: what a crash left in doubt is said to be, and is not done by itself.
    for (point, outcome, times) in [
        (Point::Received, Outcome::Changed, 1),
        (Point::BeforeStarted, Outcome::Changed, 1),
        (Point::Started, Outcome::Unknown, 0),
        (Point::Acted, Outcome::Unknown, 1),
        (Point::BeforeFinished, Outcome::Unknown, 1),
        (Point::Finished, Outcome::Changed, 1),
    ] {
        agent.next_run();
        let before = effects();
        let report = agent.perform_through("1", row, point).await;
        assert_eq!((report.outcome, effects() - before), (outcome, times), "{name}, killed at {point:?}: {report:?}");
    }
    row.world.undo().await;
}

fn assert_one_more(before: Option<usize>, after: Option<usize>, name: &str, what: &str) {
    if let (Some(before), Some(after)) = (before, after) {
        assert_eq!(after, before + 1, "{name}, {what}: effects");
    }
}
