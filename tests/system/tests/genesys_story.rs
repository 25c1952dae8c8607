//! The Genesys Framework story as `cargo lab genesys-framework` tells it, with every check.

use baton_lab::{
    cluster::Binaries,
    genesys::{Installation, Pace},
    horizon,
    story::{self, Show, Teller},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_genesys_story_is_true_to_its_end() {
    let directory = tempfile::Builder::new().prefix("baton-system-").tempdir().expect("a folder");
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    let mut teller = Teller::new("genesys-framework");
    let mut lab = Installation::build(directory.path(), helper, binaries, Pace::Quick, |_| {}).await.expect("a world");
    story::genesys::tell(&mut lab, &mut teller, Show::Quiet).await.expect("the story is told to its end");
    assert!(teller.finish(), "{}", teller.record.table());
    assert_eq!(teller.record.runs.len(), 8, "{}", teller.record.table());
}
