//! The Avaya POM story as `cargo lab avaya-pom` tells it, with every check.

use baton_lab::{
    cluster::Binaries,
    horizon,
    pom::{Pom, Setting},
    sqlserver::world,
    story::{self, Show, Teller},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_avaya_pom_story_is_true_to_its_end() {
    let directory = tempfile::tempdir().expect("a folder");
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    let setting = Setting { timing: world::Options::quick(), warm_up_ms: 50, ..Setting::default() };
    let mut teller = Teller::new("avaya-pom");
    let mut pom = Pom::build(directory.path(), helper, binaries, &setting, |_| {}).await.expect("a world");
    story::pom::tell(&mut pom, &mut teller, Show::Quiet).await.expect("the story is told to its end");
    assert!(teller.finish(), "{}", teller.record.table());
    assert_eq!(teller.record.runs.len(), 7, "{}", teller.record.table());
}
