//! A quick Data Mover world, and runs in it that are driven to their end, with a word at every order at the moment when it is sent.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

pub use baton_crashes::first_orders::Order;
use baton_crashes::{drive::begin, first_orders::FirstOrders, news::Chronicle};
pub use baton_lab::data_mover::installation::Setting;
use baton_lab::{
    cluster::Binaries,
    data_mover::{Installation, installation::NAME},
    horizon, packages,
};

/// How long a run may take with all its accidents, on a loaded machine.
const WITHIN: Duration = Duration::from_secs(180);

/// User postgres must be able to enter it.
pub fn folder() -> tempfile::TempDir {
    let open = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("baton-system-").permissions(open).tempdir().expect("a folder")
}

pub async fn build(directory: &Path, setting: &Setting) -> Installation {
    let programs = packages::ensure(&packages::DATA_MOVER, |line| eprintln!("{line}")).await.expect("packages");
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    Installation::build(directory, programs, helper, binaries, setting, |_| {}).await.expect("a world")
}

/// Begins a run and drives it to its end, which must be a good one; `at` is told of the first order of every step. Returns the
/// steps that were ordered.
pub async fn drive(
    lab: &mut Installation,
    arguments: &[&str],
    at: impl AsyncFnMut(&mut Installation, &Order),
) -> BTreeSet<String> {
    let mut chronicle = Chronicle::of(&lab.cluster).expect("the logs");
    let run = begin(&lab.cluster, arguments).expect("a run");
    let mut attendant = FirstOrders::new(at, async |_: &mut Installation, why: &str| panic!("{run} of {NAME}: {why}"));
    let driven = baton_crashes::drive::drive(lab, &mut chronicle, &run, WITHIN, &mut attendant).await;
    driven.unwrap_or_else(|error| panic!("{run} of {NAME}: {error:#}")).ordered
}
