//! Real processes: one that ignores TERM, one that a watchdog brings back, one with children.

use super::*;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use baton_model::time::Span;

/// A script under a name that no other process of this machine has.
struct Bench {
    directory: tempfile::TempDir,
    children: Vec<Child>,
}

impl Bench {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), children: Vec::new() }
    }
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, format!("#!/bin/bash\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }
    fn start(&mut self, path: &Path) -> i32 {
        let child = Command::new(path).spawn().unwrap();
        let pid = child.id() as i32;
        self.children.push(child);
        // The script is itself once bash has taken the fork's place and has installed its traps.
        wait_for(|| up(path).exists());
        pid
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let matcher = matcher(self.directory.path());
        for seen in processes::find(&matcher) {
            if let Ok(Some(held)) = Held::hold(&seen) {
                let _ = held.signal(Signal::KILL);
            }
        }
    }
}

/// What a script touches once it is at work.
fn up(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.up", path.display()))
}

fn matcher(directory: &Path) -> Matcher {
    let arguments_contain = Some(directory.to_str().unwrap().to_owned());
    Matcher::new(&Selector { arguments_contain, ..Selector::default() }).unwrap()
}

fn wait_for(condition: impl Fn() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(std::time::Instant::now() < end, "waited in vain");
        std::thread::yield_now();
    }
}

fn stop_of(path: &Path) -> Stop {
    Stop {
        program: Some(path.to_str().unwrap().to_owned()),
        arguments_contain: None,
        user: None,
        watchdogs: Vec::new(),
        grace: Span(300),
        settle: Span(400),
    }
}

async fn perform(what: &Stop) -> Result<Stopped, Fault> {
    perform_under("/**", what).await
}

async fn perform_under(programs: &str, what: &Stop) -> Result<Stopped, Fault> {
    let policy = Policy::parse(Path::new("policy"), &format!("programs = ['{programs}']")).unwrap();
    stop(what, &policy, Instant::now() + Duration::from_secs(30), &|_| {}).await
}

#[tokio::test]
async fn what_only_calls_itself_by_an_allowed_name_is_not_ended() {
    let mut bench = Bench::new();
    let path = bench.script("guise", "mkfifo $0.fifo; exec 3<> $0.fifo; : > $0.up; read -r _ <&3");
    let real = path.canonicalize().unwrap();
    let seen = processes::look(bench.start(&path)).unwrap();
    // By its name it is meant, and neither bash nor the script is listed.
    let fault = perform_under("/opt/absent/guise", &stop_of(&path)).await.unwrap_err();
    assert_eq!(fault.code, "BTN-0403", "{fault}");
    assert!(seen.alive());
    perform_under(real.to_str().unwrap(), &stop_of(&path)).await.unwrap();
    assert!(!seen.alive());
}

#[tokio::test]
async fn a_process_that_heeds_term_is_ended_and_then_observed_as_gone() {
    let mut bench = Bench::new();
    // One process: a child of the shell would be a worker too, until it has become something else.
    let path = bench.script("worker", "touch $0.up; exec -a $0 sleep 1000");
    let up = path.with_file_name("worker.up");
    let child = Command::new(&path).spawn().unwrap();
    let pid = child.id() as i32;
    bench.children.push(child);
    wait_for(|| up.exists());
    let what = stop_of(&path);
    assert!(
        matches!(observe_stop(&what).unwrap(), Observation::Differs { change } if change.contains(&format!("worker[{pid}]")))
    );
    assert_eq!(perform(&what).await.unwrap().terminated, [format!("worker[{pid}]")]);
    // Nobody has reaped it: it is a zombie, and counts as gone.
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    assert!(matches!(observe_stop(&what).unwrap(), Observation::InPlace { .. }));
    assert_eq!(perform(&what).await.unwrap(), Stopped::default());
}

#[tokio::test]
async fn a_process_that_ignores_term_is_killed_after_the_grace() {
    let mut bench = Bench::new();
    let path = bench.script("stubborn", "trap '' TERM; mkfifo $0.fifo; exec 3<> $0.fifo; : > $0.up; read -r _ <&3");
    let pid = bench.start(&path);
    let before = Instant::now();
    let stopped = perform(&stop_of(&path)).await.unwrap();
    assert!(before.elapsed() >= Duration::from_millis(300), "the grace was not given");
    assert_eq!(stopped.killed, [format!("stubborn[{pid}]")]);
}

const WATCHDOG: &str = "touch $0.up; while :; do ${0%/*}/worker & wait $!; done";

#[tokio::test]
async fn what_a_watchdog_brings_back_is_a_failure_that_names_the_watchdog() {
    let mut bench = Bench::new();
    let worker = bench.script("worker", "touch $0.up; exec -a $0 sleep 1000");
    let watchdog = bench.script("watchdog", WATCHDOG);
    let pid = bench.start(&watchdog);
    wait_for(|| up(&worker).exists());
    let fault = perform(&stop_of(&worker)).await.unwrap_err();
    assert_eq!(fault.code, "BTN-0513");
    assert!(fault.message.contains(&format!("started by watchdog[{pid}]")), "{fault}");
}

#[tokio::test]
async fn watchdogs_that_are_named_go_first_and_nothing_comes_back() {
    let mut bench = Bench::new();
    let worker = bench.script("worker", "touch $0.up; exec -a $0 sleep 1000");
    let watchdog = bench.script("watchdog", WATCHDOG);
    let pid = bench.start(&watchdog);
    wait_for(|| up(&worker).exists());
    let program = Some(watchdog.to_str().unwrap().to_owned());
    let what = Stop { watchdogs: vec![Selector { program, ..Selector::default() }], ..stop_of(&worker) };
    let stopped = perform(&what).await.unwrap();
    assert_eq!(stopped.terminated[0], format!("watchdog[{pid}]"));
    assert_eq!(stopped.terminated.len(), 2, "{stopped:?}");
    assert!(matches!(observe_stop(&what).unwrap(), Observation::InPlace { .. }));
}

#[tokio::test]
async fn a_pid_that_was_given_to_another_is_not_signalled() {
    let mut bench = Bench::new();
    let path = bench.script("worker", "touch $0.up; exec -a $0 sleep 1000");
    let pid = bench.start(&path);
    wait_for(|| processes::look(pid).is_some_and(|seen| seen.arguments.last().is_some_and(|last| last == "1000")));
    let seen = processes::look(pid).unwrap();
    let earlier = Seen { started_ticks: seen.started_ticks - 1, ..seen.clone() };
    assert!(Held::hold(&earlier).unwrap().is_none(), "another process of the same number was held");
    assert!(Held::hold(&seen).unwrap().is_some());
}
