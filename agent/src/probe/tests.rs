//! Real processes, sockets, pages and programs. (systemd: `tests/system`; PostgreSQL: `tests/probes.rs`.)

use std::{
    future::Future,
    process::{Child, Command},
    time::Duration,
};

use baton_model::group::ComponentProbe;
use futures::FutureExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Answer, Probe};
use crate::action::trial::{Trial, wait_for};
use crate::policy::need::{Need, needs};

const LONG: Duration = Duration::from_secs(20);

fn question(value: Value) -> ComponentProbe {
    serde_json::from_value(value).unwrap()
}

fn probe(value: Value) -> Probe {
    Probe::new(&question(value)).unwrap()
}

/// Waits for a line, once it has said that it is up, and without a fork: for a moment that would be a second process of the same program.
const WAITS: &str = "[ -p $0.fifo ] || mkfifo $0.fifo; exec 3<> $0.fifo; : > $0.up; read -r _ <&3";

/// A program under a name that no other process of this machine has, ended with the test.
struct Daemon {
    child: Child,
}

impl Daemon {
    /// Returns when the script is itself.
    async fn start(trial: &Trial, name: &str) -> Self {
        let up = trial.path(&format!("{name}.up"));
        let _ = std::fs::remove_file(&up);
        let path = trial.script(name, WAITS);
        let child = Command::new(path).spawn().unwrap();
        wait_for(|| up.exists()).await;
        Self { child }
    }
    fn pid(&self) -> u32 {
        self.child.id()
    }
    /// SIGKILL; it stays a zombie, since nobody waits for it.
    fn kill(&mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, what).await.expect("it was waited for in vain")
}

#[tokio::test]
async fn a_processs_death_is_noticed_although_nobody_asks_and_is_told_once() {
    let trial = Trial::new();
    let mut daemon = Daemon::start(&trial, "moverd").await;
    let mut probe = probe(json!({ "process": { "program": trial.path("moverd") } }));
    let context = trial.context("1", LONG);
    assert_eq!(probe.ask(&context).await, Answer::Healthy(format!("moverd[{}] runs", daemon.pid())));
    assert_eq!(probe.disturbed().now_or_never(), None, "it lives");
    daemon.kill();
    soon(probe.disturbed()).await;
    assert_eq!(probe.disturbed().now_or_never(), Some(()), "until somebody asks");
    assert_eq!(probe.ask(&context).await, Answer::Died(format!("moverd[{}] has ended", daemon.pid())));
    let none = format!("no process {:?} runs", trial.path("moverd"));
    assert_eq!(probe.ask(&context).await, Answer::Unhealthy(none));
    assert_eq!(probe.disturbed().now_or_never(), None, "there is nothing whose death could be noticed");
}

#[tokio::test]
async fn a_process_that_came_back_before_the_question_is_healthy_with_another_pid() {
    let trial = Trial::new();
    let mut daemon = Daemon::start(&trial, "moverd").await;
    let mut probe = probe(json!({ "process": { "program": trial.path("moverd") } }));
    let context = trial.context("1", LONG);
    assert!(matches!(probe.ask(&context).await, Answer::Healthy(_)));
    daemon.kill();
    let mut again = Daemon::start(&trial, "moverd").await;
    soon(probe.disturbed()).await;
    let seen = format!("moverd[{}] runs; moverd[{}] ended before", again.pid(), daemon.pid());
    assert_eq!(probe.ask(&context).await, Answer::Healthy(seen));
    assert_eq!(probe.disturbed().now_or_never(), None, "the old one's death was told");
    again.kill();
    soon(probe.disturbed()).await;
    assert!(matches!(probe.ask(&context).await, Answer::Died(_)));
}

#[tokio::test]
async fn of_several_processes_the_last_ones_death_disturbs() {
    let trial = Trial::new();
    let (mut one, mut other) = (Daemon::start(&trial, "moverd").await, Daemon::start(&trial, "moverd").await);
    let mut probe = probe(json!({ "process": { "program": "moverd", "arguments_contain": trial.path("") } }));
    let context = trial.context("1", LONG);
    let seen = format!("moverd[{}], moverd[{}] runs", one.pid(), other.pid());
    assert_eq!(probe.ask(&context).await, Answer::Healthy(seen));
    one.kill();
    wait_for(|| !crate::host::processes::look(one.pid() as i32).is_some_and(|seen| seen.alive())).await;
    assert_eq!(probe.disturbed().now_or_never(), None);
    assert_eq!(probe.ask(&context).await, Answer::Healthy(format!("moverd[{}] runs", other.pid())));
    other.kill();
    soon(probe.disturbed()).await;
    assert!(matches!(probe.ask(&context).await, Answer::Died(_)));
}

#[tokio::test]
async fn a_process_that_became_another_program_is_down_and_not_dead() {
    let trial = Trial::new();
    let script = trial.script("moverd", &format!("{WAITS}; exec sleep 1000"));
    let mut daemon = Daemon { child: Command::new(&script).spawn().unwrap() };
    wait_for(|| trial.path("moverd.up").exists()).await;
    let mut probe = probe(json!({ "process": { "program": script } }));
    let context = trial.context("1", LONG);
    assert!(matches!(probe.ask(&context).await, Answer::Healthy(_)));
    std::fs::write(trial.path("moverd.fifo"), "go\n").unwrap();
    let pid = daemon.pid() as i32;
    wait_for(|| crate::host::processes::look(pid).is_some_and(|seen| seen.arguments[0] == "sleep")).await;
    assert_eq!(probe.ask(&context).await, Answer::Unhealthy(format!("moverd[{pid}] runs something else now")));
    daemon.kill();
}

#[tokio::test]
async fn a_port_is_healthy_while_somebody_listens() {
    let trial = Trial::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut probe = probe(json!({ "tcp": { "host": "127.0.0.1", "port": port } }));
    let context = trial.context("1", LONG);
    assert_eq!(probe.ask(&context).await, Answer::Healthy(format!("127.0.0.1:{port} answers")));
    drop(listener);
    assert_eq!(probe.ask(&context).await, Answer::Unhealthy(format!("127.0.0.1:{port} refuses")));
    assert_eq!(probe.disturbed().now_or_never(), None);
}

#[tokio::test]
async fn a_page_that_never_comes_is_unhealthy_at_the_deadline() {
    let trial = Trial::new();
    // It accepts (the kernel does), and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut probe = probe(json!({ "http": { "url": url } }));
    let Answer::Unhealthy(seen) = probe.ask(&trial.context("1", Duration::from_millis(200))).await else {
        panic!("unhealthy")
    };
    assert!(seen.starts_with(&format!("{url}: no answer within")), "{seen}");
    trial.cancel.cancel();
    let answer = probe.ask(&trial.context("2", LONG)).await;
    assert!(matches!(answer, Answer::CannotTell(_)), "who ends the question learns nothing: {answer:?}");
}

#[tokio::test]
async fn a_program_is_healthy_by_its_exit_code_and_one_that_cannot_be_started_tells_nothing() {
    let trial = Trial::new();
    let script = trial.script("ask", "echo queue is $(cat ${0%/*}/queue); [ \"$(cat ${0%/*}/queue)\" = open ]");
    let mut probe = probe(json!({ "command": { "argv": [script] } }));
    let context = trial.context("1", LONG);
    trial.file("queue", "open");
    assert_eq!(probe.ask(&context).await, Answer::Healthy(format!("{script}: exit code 0")));
    trial.file("queue", "shut");
    let seen = format!("{script}: exit code 1, \"queue is shut\"");
    assert_eq!(probe.ask(&context).await, Answer::Unhealthy(seen));
    std::fs::remove_file(&script).unwrap();
    assert!(matches!(probe.ask(&context).await, Answer::CannotTell(_)));
}

#[tokio::test]
async fn a_program_that_hangs_is_unhealthy_and_nothing_of_it_is_left() {
    let trial = Trial::new();
    let script = trial.script("ask", "sleep 1000 & echo $! > $0.child; wait");
    let mut probe = probe(json!({ "command": { "argv": [script] } }));
    let answer = probe.ask(&trial.context("1", Duration::from_millis(500))).await;
    assert!(matches!(&answer, Answer::Unhealthy(seen) if seen.contains("its time was over")), "{answer:?}");
    let child: i32 = std::fs::read_to_string(trial.path("ask.child")).unwrap().trim().parse().unwrap();
    wait_for(|| crate::host::processes::look(child).is_none()).await;
}

#[tokio::test]
async fn a_service_is_what_its_manager_says_and_a_missing_one_is_not_a_stopped_one() {
    let mut trial = Trial::new();
    trial.host.init_scripts = trial.path("");
    trial.script("moverd", "exit $(cat ${0%/*}/code)");
    let mut probe = probe(json!({ "service": { "name": "moverd", "manager": "sysv" } }));
    let context = trial.context("1", LONG);
    for (code, wanted) in [("0", "healthy"), ("3", "unhealthy"), ("4", "cannot tell")] {
        trial.file("code", code);
        let seen = match probe.ask(&context).await {
            Answer::Healthy(_) => "healthy",
            Answer::Unhealthy(_) => "unhealthy",
            Answer::Died(_) => "died",
            Answer::CannotTell(_) => "cannot tell",
        };
        assert_eq!(seen, wanted, "exit code {code}");
    }
    assert_eq!(probe.disturbed().now_or_never(), None);
    std::fs::remove_file(trial.path("moverd")).unwrap();
    assert!(matches!(probe.ask(&context).await, Answer::CannotTell(_)));
}

#[tokio::test]
async fn a_bus_that_is_not_there_tells_nothing() {
    let mut trial = Trial::new();
    trial.host.bus = Some(format!("unix:path={}", trial.path("bus").display()));
    let mut probe = probe(json!({ "service": { "name": "moverd", "manager": "systemd" } }));
    let answer = probe.ask(&trial.context("1", LONG)).await;
    assert!(matches!(&answer, Answer::CannotTell(why) if why.contains("BTN-0501")), "{answer:?}");
    assert_eq!(probe.disturbed().now_or_never(), None);
}

#[tokio::test]
async fn words_are_one_line_and_bounded() {
    let trial = Trial::new();
    let script = trial.script("ask", "printf 'a\\tb%.0s' {1..1000}; exit 1");
    let Answer::Unhealthy(seen) =
        probe(json!({ "command": { "argv": [script] } })).ask(&trial.context("1", LONG)).await
    else {
        panic!("unhealthy")
    };
    assert!(seen.len() <= super::WORDS_MAX && !seen.contains(['\t', '\n']), "{seen:?}");
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let code = |value: Value| Probe::new(&question(value)).err().map(|fault| fault.code);
    let refused = [
        (json!({ "service": { "name": "/etc/init.d/x" } }), "BTN-0508"),
        (json!({ "process": {} }), "BTN-0511"),
        (json!({ "http": { "url": "h:80" } }), "BTN-0542"),
        (json!({ "http": { "url": "http://h/", "verify": false } }), "BTN-0542"),
        (json!({ "command": { "argv": ["relative"] } }), "BTN-0531"),
    ];
    for (value, wanted) in refused {
        assert_eq!(code(value.clone()).as_deref(), Some(wanted), "{value}");
    }
}

#[test]
fn the_policy_is_asked_for_what_a_question_touches() {
    let asked = |value: Value| needs(&Probe::action(&question(value)));
    assert_eq!(asked(json!({ "service": { "name": "moverd" } })), [Need::Service("moverd".into())]);
    let command = json!({ "command": { "argv": ["/bin/ask"], "user": "dm",
        "environment": { "P": { "pieces": [{ "secret": "repository" }] } } } });
    let wanted = [Need::Program("/bin/ask".into()), Need::User("dm".into()), Need::Secret("repository".into())];
    assert_eq!(asked(command), wanted);
    let page = json!({ "http": { "url": "https://h/", "ca_file": "/etc/dm/ca.pem" } });
    assert_eq!(asked(page), [Need::Path("/etc/dm/ca.pem".into())]);
    let query = json!({ "sql": { "connection": { "host": "h", "database": "dm", "user": "u" }, "sql": "select 1" } });
    assert_eq!(asked(query), [Need::Database { host: "h".into(), port: 5432, database: "dm".into() }]);
    assert_eq!(asked(json!({ "tcp": { "host": "h", "port": 1 } })), []);
    assert_eq!(asked(json!({ "process": { "program": "moverd" } })), []);
}
