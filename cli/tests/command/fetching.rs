//! Files of tasks: outputs, and the list of lost rows, which a failover has in a later run.

use baton_model::{
    digest::Digest,
    outcome::Attachment,
    plan::Kind,
    view::{RunView, StepWord, TaskWord},
};

use crate::{
    coordinator::{Coordinator, Script, World},
    documents,
};

const CSV: &str = "table,key\npublic.session,id=7\npublic.session,id=8\n";

fn numbered(number: u64, kind: Kind, steps: Vec<baton_model::view::StepView>) -> RunView {
    let mut view = documents::over(documents::view("running", steps), "succeeded", "");
    view.summary.id.number = number;
    view.summary.kind = kind;
    view
}

fn rejoin(number: u64, content: &str) -> (RunView, ((String, String), Vec<u8>)) {
    let mut task = documents::task("db1", "slony.lost_rows", TaskWord::Changed, "2 rows lost");
    let file = |name: &str| Attachment {
        name: name.to_owned(),
        bytes: content.len() as u64,
        sha256: Digest::of_bytes(content.as_bytes()).0,
    };
    task.attachments = vec![file("lost-rows-fdb.csv")];
    let view =
        numbered(number, Kind::Maintenance, vec![documents::step("2", "List lost rows", StepWord::Done, vec![task])]);
    (view, ((format!("pom-{number}"), "lost-rows-fdb.csv".to_owned()), content.as_bytes().to_vec()))
}

#[test]
fn lost_rows_of_a_failover_are_found_in_the_rejoin_after_it_and_not_after_the_next_failover() {
    let world = World::new();
    let (first, first_file) = rejoin(19, CSV);
    let (second, second_file) = rejoin(22, "table,key\n");
    let runs = vec![
        numbered(18, Kind::Forced, vec![]),
        first,
        numbered(20, Kind::Forced, vec![]),
        numbered(21, Kind::Planned, vec![]),
        second,
    ];
    let files = [first_file, second_file].into();
    let leader = Coordinator::start(&world, Script { runs, files, ..Script::default() });
    let table = world.run(&[&leader], &["lost-rows", "pom-18"]).expect(0);
    assert!(table.stdout.starts_with("fdb: 2 rows lost\n"), "{}", table.stdout);
    assert_eq!(table.stderr, "2 rows in all, as step 2 of pom-19 found on db1\n");
    let csv = world.run(&[&leader], &["lost-rows", "pom-18", "--format", "csv"]).expect(0).stdout;
    assert_eq!(csv, "database,table,key\nfdb,public.session,id=7\nfdb,public.session,id=8\n");
    let json = world.run(&[&leader], &["lost-rows", "pom-20", "-o", "json"]).expect(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["run"], &json["count"]), (&"pom-22".into(), &0.into()));
    world.run(&[&leader], &["lost-rows", "pom-21"]).expect(4);
    world.run(&[&leader], &["lost-rows", "pom-18", "--database", "edb"]).expect(4);
}

#[test]
fn a_file_that_is_not_what_the_task_wrote_is_not_printed() {
    let world = World::new();
    let (view, (key, _)) = rejoin(19, CSV);
    let files = [(key, b"table,key\n".to_vec())].into();
    let leader = Coordinator::start(&world, Script { runs: vec![view], files, ..Script::default() });
    let arguments = ["output", "pom-19", "2", "db1", "--file", "lost-rows-fdb.csv"];
    let changed = world.run(&[&leader], &arguments).expect(1);
    assert!(changed.stdout.is_empty() && changed.stderr.starts_with("BTN-0813 "), "{}", changed.stderr);
    world.run(&[&leader], &["output", "pom-19", "2", "db9"]).expect(4);
}
