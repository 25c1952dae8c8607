//! stub
use baton_lab::{horizon::*, packages};
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up() {
    let directory = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let programs = packages::ensure(&packages::HORIZON, |l| eprintln!("{l}")).await.unwrap();
    let o = Options::new(directory.path().join("w"), Network::claim_any().unwrap(), programs, env!("CARGO_BIN_EXE_baton-lab").into());
    let w = World::build(o).await;
    if let Err(e) = &w { eprintln!("{e}"); std::process::Command::new("sh").arg("-c").arg(format!("cp -r {} /tmp/failed; ps auxf | tail -50", directory.path().display())).status().unwrap(); }
    let w = w.unwrap();
    eprintln!("{:#?}", w.timings());
    eprintln!("{}", w.running().unwrap().len());
}
