//! How a process is told to end or to read its files again.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use baton_platform::shutdown::Signals;
use rustix::process::{Signal, getpid, kill_process};
use tokio_util::sync::CancellationToken;

use crate::installation::{DEADLINE, wait_until};

#[tokio::test]
async fn hangup_reloads_and_terminate_ends_the_whole_tree() {
    let (stop, reloads) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let counted = reloads.clone();
    let signals = Signals::listen(stop.clone(), move || {
        counted.fetch_add(1, Ordering::SeqCst);
    })
    .unwrap();
    let child = stop.child_token();
    for expected in 1..=2 {
        kill_process(getpid(), Signal::HUP).unwrap();
        wait_until("the files are read again", async || reloads.load(Ordering::SeqCst) == expected).await;
    }
    assert!(!stop.is_cancelled());
    kill_process(getpid(), Signal::TERM).unwrap();
    tokio::time::timeout(DEADLINE, child.cancelled()).await.expect("the token is cancelled");
    drop(signals);
}

/// Set for the process that the next test starts: this test again, as its own victim.
const VICTIM: &str = "BATON_TEST_VICTIM";

#[tokio::test]
async fn a_second_request_to_end_ends_at_once() {
    if std::env::var_os(VICTIM).is_some() {
        let stop = CancellationToken::new();
        let _signals = Signals::listen(stop.clone(), || {}).unwrap();
        kill_process(getpid(), Signal::INT).unwrap();
        stop.cancelled().await;
        kill_process(getpid(), Signal::INT).unwrap();
        // Bounded, so that a victim which survives is not left behind.
        tokio::time::timeout(DEADLINE, std::future::pending::<()>())
            .await
            .expect("the second request ends this process");
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["signals::a_second_request_to_end_ends_at_once", "--exact"])
        .env(VICTIM, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut status = None;
    wait_until("the victim ends", async || {
        status = victim.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(130));
}
