use std::sync::Arc;

use baton_model::{
    assignment::{Assignment, Deed, Part, Stop, Watched},
    fence::{Fence, Reign},
    group::{ComponentProbe, Lease},
    ids::{Epoch, StepId},
    order::Order,
    outcome::Fault,
    time::{Moment, Span},
};

use super::*;
use crate::ledger::{Assigned, Entry, Ruler, Undertaken, Waiting};

fn order(step: &str) -> Order {
    Order {
        task: baton_model::ids::TaskId {
            run: "g-3".parse().expect("a run"),
            step: StepId(step.into()),
            host: "db1".parse().expect("a host"),
            attempt: 1,
        },
        fence: Fence { generation: 1, term: 2, index: 3 },
        action: "exec.run".into(),
        params: serde_json::json!({ "argv": ["/bin/true"] }),
        timeout: Span::from_secs(1),
    }
}

fn changes() -> Vec<Change> {
    let order = order("4/undo");
    vec![
        Change::Ruler(Ruler { reign: Reign { generation: 1, term: 2 }, coordinator: "c1".into() }),
        Change::Mark(order.task.run.clone(), 3),
        Change::Raised(order.task.run.clone(), 2),
        Change::Floor(order.task.run.group.clone(), 2),
        Change::Task(order.task.clone(), Entry::Started { order, received: Moment(1), started: Moment(2) }),
        Change::Assignments(Arc::new(assigned(17))),
        Change::Undertaken(name("g"), name("worker"), Undertaken { at: Moment(3), what: "stop worker".into() }),
        Change::Deed(deed(41)),
        Change::Deed(deed(42)),
        Change::DropDeed(42),
        Change::Waiting(Some(Waiting { machine: "this".into(), since_ms: 5 })),
    ]
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

/// With everything that one can hold.
fn assigned(index: u64) -> Assigned {
    let watched = |name: &str, probe| Watched {
        component: name.parse().expect("a name"),
        probe,
        every: Span(100),
        timeout: Span(200),
        checks: 3,
        exclusive: true,
        stop: Some(Stop { action: "service.stop".into(), params: serde_json::json!({ "name": "worker" }) }),
    };
    let tcp = serde_json::from_value(serde_json::json!({ "host": "h", "port": 1 })).expect("a probe");
    let components = vec![
        watched("worker", Ok(ComponentProbe::Tcp(tcp))),
        watched("other", Err(Fault::new("BTN-0174", "no", "mend it"))),
    ];
    let lease = Some(Lease { lasts: Span(5_000), stop_within: Span(1_000) });
    let (group, member) = (name("g"), Some(name("a")));
    let of = Assignment { group, epoch: Epoch(3), index, member, part: Part::Primary, lease, components };
    Assigned { generation: 1, index, list: vec![of] }
}

fn deed(number: u64) -> Deed {
    let component = Some(name("worker"));
    Deed { number, group: name("g"), component, at: Moment(4), what: "stopped worker".into(), failed: true }
}

#[test]
fn a_journal_from_before_there_were_assignments_is_opened_and_taken_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.redb");
    let database = Database::create(&path).expect("the database");
    let write = database.begin_write().expect("a transaction");
    write.open_table(META).expect("a table").insert("schema", 1).expect("written");
    write.open_table(FLOORS).expect("a table").insert("g", 2).expect("written");
    for table in [RULER, TASKS] {
        write.open_table(table).expect("a table");
    }
    for table in [MARKS, RAISED] {
        write.open_table(table).expect("a table");
    }
    write.commit().expect("committed");
    drop(database);
    let mut journal = Journal::open(&path).expect("opened");
    assert_eq!((journal.ledger().floor(&name("g")), journal.ledger().assigned.list.len()), (2, 0));
    journal.commit(vec![Change::Assignments(Arc::new(assigned(1)))]).expect("committed");
    drop(journal);
    assert_eq!(Journal::open(&path).expect("opened again").ledger().assigned.index, 1);
}

#[test]
fn an_assignment_that_was_committed_is_there_after_a_power_cut() {
    let disk = Disk::default();
    let mut journal = Journal::open_backend(disk.clone()).expect("a journal");
    for index in 1..=20 {
        journal.commit(vec![Change::Assignments(Arc::new(assigned(index)))]).expect("committed");
        let survived = disk.0.lock().expect("no panic holds it").1.clone();
        let after = Disk(Arc::new(std::sync::Mutex::new((survived.clone(), survived))));
        let found = Journal::open_backend(after).expect("opened after the cut").ledger().assigned.clone();
        assert_eq!(*found, assigned(index));
    }
}

#[test]
fn what_was_committed_is_there_when_it_is_opened_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.redb");
    let mut journal = Journal::open(&path).expect("a journal");
    journal.commit(changes()).expect("committed");
    let before = journal.ledger().clone();
    assert_eq!((before.tasks.len(), before.undertaken.len(), before.deeds.len()), (1, 1, 1));
    assert_eq!((before.assigned.index, before.deed_last), (17, 42));
    drop(journal);
    assert_eq!(*Journal::open(&path).expect("opened again").ledger(), before);
}

#[test]
fn forgotten_tasks_and_marks_go_when_their_run_is_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.redb");
    let mut journal = Journal::open(&path).expect("a journal");
    journal.commit(changes()).expect("committed");
    let order = order("4/undo");
    let forgotten = Change::Task(order.task.clone(), Entry::Forgotten { fence: order.fence });
    journal.commit(vec![forgotten]).expect("committed");
    assert_eq!(journal.ledger().tasks.len(), 1, "still needed against a late duplicate");
    journal.commit(vec![Change::Floor(order.task.run.group, 4)]).expect("committed");
    assert!(journal.ledger().tasks.is_empty() && journal.ledger().marks.is_empty());
    assert!(journal.ledger().raised.is_empty());
    let before = journal.ledger().clone();
    drop(journal);
    assert_eq!(*Journal::open(&path).expect("opened again").ledger(), before);
}

#[test]
fn a_lock_that_is_about_to_go_is_waited_for_and_one_that_stays_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.redb");
    let holder = Journal::open(&path).expect("a journal");
    let refused = Journal::open_within(&path, LOCK_PAUSE).map(drop).expect_err("somebody has it");
    assert!(refused.to_string().contains("BTN-0451"), "{refused}");
    std::thread::scope(|scope| {
        let opened = scope.spawn(|| Journal::open_within(&path, Duration::from_secs(60)).map(drop));
        drop(holder);
        opened.join().expect("no panic").expect("opened once it was free");
    });
}

#[test]
fn a_journal_of_another_schema_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.redb");
    drop(Journal::open(&path).expect("a journal"));
    let database = Database::open(&path).expect("the database");
    let write = database.begin_write().expect("a transaction");
    write.open_table(META).expect("a table").insert("schema", SCHEMA + 1).expect("written");
    write.commit().expect("committed");
    drop(database);
    assert!(matches!(Journal::open(&path), Err(JournalError::Schema { found }) if found == SCHEMA + 1));
}

/// Everything in the file, a line a row.
fn rows(path: &std::path::Path) -> String {
    let database = Database::open(path).expect("the database");
    let read = database.begin_read().expect("a transaction");
    let mut lines = Vec::new();
    let shown = |table: &str, key: &str, value: &str| format!("{table}\t{key}\t{value}\n");
    for table in [META, MARKS, RAISED, FLOORS] {
        for row in read.open_table(table).expect("a table").iter().expect("rows") {
            let (key, value) = row.expect("a row");
            lines.push(shown(&table.to_string(), key.value(), &value.value().to_string()));
        }
    }
    for table in [RULER, TASKS, ASSIGNED, UNDERTAKEN] {
        for row in read.open_table(table).expect("a table").iter().expect("rows") {
            let (key, value) = row.expect("a row");
            lines.push(shown(&table.to_string(), key.value(), std::str::from_utf8(value.value()).expect("JSON")));
        }
    }
    for row in read.open_table(DEEDS).expect("a table").iter().expect("rows") {
        let (key, value) = row.expect("a row");
        let (key, value) = (key.value().to_string(), std::str::from_utf8(value.value()).expect("JSON").to_owned());
        lines.push(shown(&DEEDS.to_string(), &key, &value));
    }
    lines.concat()
}

/// A file of these rows, as an agent of that version left it.
fn written(path: &std::path::Path, rows: &str) {
    let database = Database::create(path).expect("the database");
    let write = database.begin_write().expect("a transaction");
    for line in rows.lines() {
        let [table, key, value] = line.split('\t').collect::<Vec<_>>().try_into().expect("three columns");
        let number = || value.parse::<u64>().expect("a number");
        let numbers = [META, MARKS, RAISED, FLOORS].into_iter().find(|known| known.to_string() == table);
        let texts = [RULER, TASKS, ASSIGNED, UNDERTAKEN].into_iter().find(|known| known.to_string() == table);
        if let Some(table) = numbers {
            write.open_table(table).expect("a table").insert(key, number()).expect("written");
        } else if let Some(table) = texts {
            write.open_table(table).expect("a table").insert(key, value.as_bytes()).expect("written");
        } else {
            assert_eq!(table, DEEDS.to_string(), "another table");
            let key: u64 = key.parse().expect("a number");
            write.open_table(DEEDS).expect("a table").insert(key, value.as_bytes()).expect("written");
        }
    }
    write.commit().expect("committed");
}

/// `BATON_GOLDEN=write` writes the file of this schema anew; those of older ones stay, and are read for ever.
#[test]
fn what_an_agent_of_this_version_leaves_on_disk_keeps_its_form_and_is_understood() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.redb");
    let mut journal = Journal::open(&path).expect("a journal");
    journal.commit(changes()).expect("committed");
    let before = journal.ledger().clone();
    drop(journal);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/journal/golden/schema-{SCHEMA}.txt"));
    if std::env::var_os("BATON_GOLDEN").is_some() {
        std::fs::write(&golden, rows(&path)).expect("write the golden file");
    }
    let known = std::fs::read_to_string(&golden).expect("the golden file");
    assert_eq!(rows(&path), known);
    let other = directory.path().join("other.redb");
    written(&other, &known);
    assert_eq!(*Journal::open(&other).expect("opened").ledger(), before);
}

/// A disk: what was written, and what of it would survive a power cut now.
#[derive(Debug, Clone, Default)]
struct Disk(std::sync::Arc<std::sync::Mutex<(Vec<u8>, Vec<u8>)>>);

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.0.lock().expect("no panic holds it").0.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let disk = self.0.lock().expect("no panic holds it");
        out.copy_from_slice(&disk.0[offset as usize..offset as usize + out.len()]);
        Ok(())
    }
    fn set_len(&self, length: u64) -> Result<(), std::io::Error> {
        self.0.lock().expect("no panic holds it").0.resize(length as usize, 0);
        Ok(())
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        let mut disk = self.0.lock().expect("no panic holds it");
        disk.1 = disk.0.clone();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        let mut disk = self.0.lock().expect("no panic holds it");
        disk.0[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        Ok(())
    }
}

#[test]
fn a_power_cut_right_after_a_commit_loses_nothing() {
    let disk = Disk::default();
    let mut journal = Journal::open_backend(disk.clone()).expect("a journal");
    journal.commit(changes()).expect("committed");
    let before = journal.ledger().clone();
    let survived = disk.0.lock().expect("no panic holds it").1.clone();
    let after = Disk(std::sync::Arc::new(std::sync::Mutex::new((survived.clone(), survived))));
    assert_eq!(*Journal::open_backend(after).expect("opened after the cut").ledger(), before);
}
