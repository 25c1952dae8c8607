//! What a step has started and what has died since: the run starts it again before it says that all went well.

use baton_lab::data_mover::{Installation, side::DSA};

use crate::driver::{self, Order, Setting, drive};

/// The last step before those that look.
const SYNCHRONIZATION: &str = "19";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_run_has_started_and_what_has_died_since_is_started_again_at_its_end() {
    let directory = driver::folder();
    let mut lab = driver::build(directory.path(), &Setting::by_hand()).await;
    let mut died = 0;
    // No step asks for the bundled DSA between its start and the end.
    let at = async |lab: &mut Installation, order: &Order| {
        if died == 0 && order.step == SYNCHRONIZATION {
            assert!(lab.world.fleet.kill("dm1", DSA).expect("a signal"));
            died += 1;
        }
    };
    drive(&mut lab, &["run", "dm", "configure"], at).await;
    assert_eq!(died, 1);
    assert!(lab.world.fleet.runs("dm1", DSA));
}
