//! The Data Mover story as `cargo lab teradata-data-mover` tells it, with every check.

use baton_lab::story::{self, Show, Teller};

use crate::driver::{self, Setting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_mover_story_is_true_to_its_end() {
    let directory = driver::folder();
    let mut lab = driver::build(directory.path(), &Setting::default()).await;
    let mut teller = Teller::new("teradata-data-mover");
    story::data_mover::tell(&mut lab, &mut teller, Show::Quiet).await.expect("the story is told to its end");
    assert!(teller.finish(), "{}", teller.record.table());
    assert_eq!(teller.record.runs.len(), 4, "{}", teller.record.table());
}
