//! The Horizon story as `cargo lab horizon-daas` tells it, with every check.

use std::os::unix::fs::PermissionsExt as _;

use baton_lab::{
    cluster::Binaries,
    horizon,
    installation::{Installation, Size},
    packages,
    story::{self, Teller, horizon::Show},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_horizon_story_is_true_to_its_end() {
    let open = std::fs::Permissions::from_mode(0o755);
    let directory = tempfile::Builder::new().prefix("baton-system-").permissions(open).tempdir().expect("a folder");
    let programs = packages::ensure(&packages::HORIZON, |line| eprintln!("{line}")).await.expect("packages");
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    let size = Size { tenant: true, thousands: 1 };
    let mut teller = Teller::new("horizon-daas");
    let mut installation =
        Installation::build(directory.path(), programs, helper, binaries, size, |_| {}).await.expect("a world");
    story::horizon::tell(&mut installation, &mut teller, Show::Quiet).await.expect("the story is told to its end");
    assert!(teller.finish(), "{}", teller.record.table());
    assert_eq!(teller.record.runs.len(), 8, "{}", teller.record.table());
}
