//! openraft's own storage suite, run on our store and state machine in every way they can be configured.

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::disk::Disk;
use crate::machine::Machine;
use crate::options::Storage;
use crate::raft::{Tokio, Types};
use crate::store::LogStore;
use crate::{Application, AppliedEntry};

#[derive(Default)]
struct Counter(u64);

impl Application for Counter {
    fn apply(&mut self, _: AppliedEntry<'_>) -> Result<Vec<u8>, String> {
        self.0 += 1;
        Ok(self.snapshot())
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.0 = u64::from_be_bytes(snapshot.try_into().map_err(|_| "not eight bytes")?);
        Ok(())
    }
}

struct Builder<F>(F);

impl<F> StoreBuilder<Types<Tokio>, LogStore, Machine<Counter>, TempDir> for Builder<F>
where
    F: Fn(&TempDir) -> Storage + Send + Sync,
{
    async fn build(&self) -> Result<(TempDir, LogStore, Machine<Counter>), StorageError<Types<Tokio>>> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = LogStore::open(self.0(&directory)).expect("a new store opens");
        let machine = Machine::new(Counter::default(), store.clone());
        Ok((directory, store, machine))
    }
}

async fn suite(storage: impl Fn(&TempDir) -> Storage + Send + Sync) {
    Suite::test_all(Builder(storage)).await.expect("the suite passes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes_on_a_file() {
    suite(|directory| Storage::file(directory.path().join("log.redb"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes_on_a_file_when_nothing_durable_stays_in_memory() {
    suite(|directory| Storage::file(directory.path().join("log.redb")).tail_bytes_max(0)).await;
}

#[tokio::test]
async fn the_suite_passes_in_memory_with_inline_commits() {
    suite(|_| Storage::backend(Disk::default().open()).inline_commit()).await;
}

#[tokio::test]
async fn the_suite_passes_with_inline_commits_when_nothing_durable_stays_in_memory() {
    suite(|_| Storage::backend(Disk::default().open()).inline_commit().tail_bytes_max(0)).await;
}
