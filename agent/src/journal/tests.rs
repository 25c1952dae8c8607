use baton_model::{
    fence::{Fence, Reign},
    ids::StepId,
    order::Order,
    time::{Moment, Span},
};

use super::*;
use crate::ledger::{Entry, Ruler};

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
    ]
}

#[test]
fn what_was_committed_is_there_when_it_is_opened_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.redb");
    let mut journal = Journal::open(&path).expect("a journal");
    journal.commit(changes()).expect("committed");
    let before = journal.ledger().clone();
    assert_eq!(before.tasks.len(), 1);
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
