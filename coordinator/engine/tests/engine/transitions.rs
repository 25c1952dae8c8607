//! The table of a task's legal transitions, all of it.

use baton_engine::state::{TaskStatus, run::Intent};
use baton_model::{outcome::Outcome, time::Moment};

fn all() -> Vec<(&'static str, TaskStatus)> {
    let ended = |outcome| TaskStatus::Ended { outcome };
    vec![
        ("pending", TaskStatus::Pending),
        ("due", TaskStatus::Due { index: 1, since: Moment(0), not_before: Moment(0) }),
        ("fencing", TaskStatus::Fencing { index: 1, since: Moment(0), intent: Intent::Retry }),
        ("unchanged", ended(Outcome::Unchanged)),
        ("changed", ended(Outcome::Changed)),
        ("failed", ended(Outcome::Failed)),
        ("refused", ended(Outcome::Refused)),
        ("unknown", ended(Outcome::Unknown)),
        ("skipped", TaskStatus::Skipped { why: String::new() }),
    ]
}

#[test]
fn every_transition_is_legal_or_not_as_the_table_says() {
    let every_end = "unchanged changed failed refused unknown";
    let table: Vec<(&str, String)> = vec![
        ("pending", "due skipped".to_owned()),
        ("due", format!("fencing {every_end} skipped")),
        ("fencing", format!("pending fencing {every_end} skipped")),
        ("unchanged", String::new()),
        ("changed", String::new()),
        ("failed", "pending due skipped".to_owned()),
        ("refused", "pending due skipped".to_owned()),
        ("unknown", format!("fencing {every_end} skipped")),
        ("skipped", String::new()),
    ];
    for ((from, status), (row, expected)) in all().iter().zip(&table) {
        assert_eq!(from, row);
        let legal: Vec<&str> = all().iter().filter(|(_, next)| status.may_become(next)).map(|(to, _)| *to).collect();
        assert_eq!(legal.join(" "), *expected, "from {from}");
    }
}
