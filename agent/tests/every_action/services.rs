//! A service that is a real process, by a SysV script of the host; and processes that are found by what they are.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use async_trait::async_trait;
use baton_model::time::Span;
use serde_json::{Value, json};

use super::{
    agent::Agent,
    cycle::go_through,
    picture::until,
    row::{Kind, Outside, Row, Undo},
};

rows! {
    start("service.start");
    stop("service.stop");
    restart("service.restart");
    running("service.running");
    stopped("service.stopped");
    processes_are_stopped("process.stop");
    processes_run("process.running");
}

const SHORT: Span = Span::from_secs(2);

/// `$d/asked` has a line for each word that changes something.
const SCRIPT: &str = r#"#!/bin/sh
d=${0%/*}; p=$d/pid
running() { [ -s $p ] && grep -q '^State:.[^Z]' /proc/$(cat $p)/status 2>/dev/null; }
case $1 in
start) running && exit 0; echo start >> $d/asked; setsid sleep 1000 >/dev/null 2>&1 & echo $! > $p ;;
stop) running || exit 0; echo stop >> $d/asked; kill $(cat $p); while running; do sleep 0.01; done; rm -f $p ;;
status) running || exit 3; echo is running ;;
esac
exit 0
"#;

/// The service `pom`.
struct Product {
    directory: tempfile::TempDir,
    /// Which word is the effect.
    counted: &'static str,
    /// How it is at the beginning.
    runs: bool,
}

impl Product {
    fn new(counted: &'static str, runs: bool) -> Self {
        let product = Self { directory: tempfile::tempdir().expect("a directory"), counted, runs };
        fs::write(product.path("pom"), SCRIPT).expect("written");
        fs::set_permissions(product.path("pom"), fs::Permissions::from_mode(0o755)).expect("set");
        product.word(if runs { "start" } else { "stop" });
        product
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().expect("real").join(name)
    }

    fn word(&self, word: &str) {
        let status = Command::new(self.path("pom")).arg(word).stdout(Stdio::null()).status().expect("it starts");
        assert!(status.success(), "{word}: {status:?}");
    }

    fn is_running(&self) -> bool {
        let pid = fs::read_to_string(self.path("pid")).unwrap_or_default();
        is_running(pid.trim())
    }

    fn agent(&self) -> Agent {
        let mut agent = Agent::new();
        agent.init_scripts = Some(self.path(""));
        agent
    }

    fn params(&self) -> Value {
        json!({ "name": "pom", "manager": "sysv" })
    }
}

fn is_running(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    !pid.is_empty()
        && status.is_ok_and(|text| text.lines().any(|line| line.starts_with("State:") && !line.contains('Z')))
}

#[async_trait]
impl Outside for Product {
    async fn picture(&self, _kept: &Path) -> String {
        // Which process it is does not matter, that there is one does.
        if self.is_running() { "pom runs\n".to_owned() } else { "pom does not run\n".to_owned() }
    }

    fn effects(&self) -> Option<usize> {
        let asked = fs::read_to_string(self.path("asked")).unwrap_or_default();
        Some(asked.lines().filter(|line| *line == self.counted).count())
    }

    async fn undo(&self) {
        self.word(if self.runs { "start" } else { "stop" });
    }

    async fn spoil(&self) {
        self.word(if self.runs { "stop" } else { "start" });
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        if self.is_running() {
            self.word("stop");
        }
    }
}

async fn start(action: &'static str) {
    let product = Product::new("start", false);
    let undo = Undo::Action("service.stop", product.params());
    go_through(&product.agent(), &Row::changes(action, product.params(), undo, &product)).await;
}

async fn stop(action: &'static str) {
    let product = Product::new("stop", true);
    let undo = Undo::Action("service.start", product.params());
    go_through(&product.agent(), &Row::changes(action, product.params(), undo, &product)).await;
}

async fn restart(action: &'static str) {
    let product = Product::new("start", true);
    let row = Row { action, params: product.params(), kind: Kind::Blind, world: &product, before: Vec::new() };
    go_through(&product.agent(), &row).await;
    assert!(product.is_running());
}

async fn running(action: &'static str) {
    let product = Product::new("start", true);
    go_through(&product.agent(), &Row::checks(action, product.params(), SHORT, &product)).await;
}

async fn stopped(action: &'static str) {
    let product = Product::new("start", false);
    go_through(&product.agent(), &Row::checks(action, product.params(), SHORT, &product)).await;
}

/// Two processes of one program, which nothing but their executable tells.
struct Workers {
    directory: tempfile::TempDir,
    children: Mutex<Vec<Child>>,
}

const WORKER: &str = "#!/bin/bash\ntrap 'exit' TERM\n[ -p $0.fifo ] || mkfifo $0.fifo; exec 3<> $0.fifo\necho up >> \"$0.up\"\nwhile :; do read -t 0.05 <&3; done\n";

impl Workers {
    async fn new() -> Self {
        let workers = Self { directory: tempfile::tempdir().expect("a directory"), children: Mutex::default() };
        fs::write(workers.program(), WORKER).expect("written");
        fs::set_permissions(workers.program(), fs::Permissions::from_mode(0o755)).expect("set");
        workers.undo().await;
        workers
    }

    fn program(&self) -> PathBuf {
        self.directory.path().canonicalize().expect("real").join("worker")
    }

    fn params(&self) -> Value {
        json!({ "program": self.program() })
    }

    fn reap(&self) -> usize {
        let mut children = self.children.lock().expect("whole");
        children.retain_mut(|child| child.try_wait().expect("a child").is_none());
        children.len()
    }
}

#[async_trait]
impl Outside for Workers {
    async fn picture(&self, _kept: &Path) -> String {
        format!("{} workers\n", self.reap())
    }

    async fn undo(&self) {
        let up = self.program().with_extension("up");
        let _ = fs::remove_file(&up);
        assert_eq!(self.reap(), 0, "the old ones are gone");
        for _ in 0..2 {
            let child = Command::new(self.program()).spawn().expect("started");
            self.children.lock().expect("whole").push(child);
        }
        until("the workers", || fs::read_to_string(&up).unwrap_or_default().lines().count() == 2).await;
    }

    async fn spoil(&self) {
        self.end();
    }
}

impl Workers {
    fn end(&self) {
        for child in self.children.lock().expect("whole").iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}

async fn processes_are_stopped(action: &'static str) {
    let workers = Workers::new().await;
    let mut params = workers.params();
    params["grace"] = json!("5s");
    params["settle"] = json!("100ms");
    go_through(&Agent::new(), &Row::changes(action, params, Undo::World, &workers)).await;
}

async fn processes_run(action: &'static str) {
    let workers = Workers::new().await;
    go_through(&Agent::new(), &Row::checks(action, workers.params(), SHORT, &workers)).await;
}
