//! What a step has started and what has died since: a run does not say that all went well.

use std::time::Duration;

use baton_crashes::{
    drive::{begin, drive},
    first_orders::FirstOrders,
    news::Chronicle,
};
use baton_lab::data_mover::{Installation, installation::NAME, side::DSA};

use crate::driver::{self, Order, Setting};

const WITHIN: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_halts_at_its_end_where_what_it_started_has_died_and_goes_on_once_that_is_started_by_hand() {
    let directory = driver::folder();
    let mut lab = driver::build(directory.path(), &Setting::by_hand()).await;
    let mut chronicle = Chronicle::of(&lab.cluster).expect("the logs");
    let run = begin(&lab.cluster, &["run", NAME, "configure"]).expect("a run");
    let (mut died, mut halts) = (0, Vec::new());
    // Nothing asks for the bundled DSA after its own start, but the look at the end.
    let at = async |lab: &mut Installation, _: &Order| {
        if died == 0 && lab.world.fleet.runs("dm1", DSA) {
            assert!(lab.world.fleet.kill("dm1", DSA).expect("a signal"));
            died += 1;
        }
    };
    let halted = async |lab: &mut Installation, why: &str| {
        halts.push(why.to_owned());
        lab.world.start_service("dm1", DSA).await.expect("it starts");
    };
    let mut attendant = FirstOrders::new(at, halted);
    let driven = drive(&mut lab, &mut chronicle, &run, WITHIN, &mut attendant).await;
    let way = driven.unwrap_or_else(|error| panic!("{run} of {NAME}: {error:#}"));
    assert_eq!(died, 1);
    assert!(halts.len() == 1 && halts[0].contains(DSA), "{halts:?}");
    assert_eq!(way.view["phase"], "succeeded", "{:#}", way.view);
    assert!(lab.world.fleet.runs("dm1", DSA));
}
