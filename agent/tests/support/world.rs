//! An agent's process, with its files, between kills.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use baton_platform::ca::CertificateAuthority;

use super::{Coordinator, PATIENCE, Peer, agent_identity, authority};

pub struct World {
    pub directory: tempfile::TempDir,
    pub authority: CertificateAuthority,
    pub policy: String,
    /// More of the configuration: whole tables.
    pub configuration: String,
    agent: Option<Child>,
}

impl World {
    pub fn new() -> Self {
        baton_platform::tls::install_crypto_provider();
        let directory = tempfile::tempdir().expect("a directory");
        let authority = authority(directory.path());
        let root = directory.path().canonicalize().expect("real");
        let policy = format!("programs = ['/bin/sh']\npaths = ['{}/**']\nsecrets = ['fdb']\n", root.display());
        Self { directory, authority, policy, configuration: String::new(), agent: None }
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
    pub async fn coordinator(&self, name: &str) -> Coordinator {
        Coordinator::start(&self.authority, self.directory.path(), name).await
    }
    pub fn start(&mut self, coordinators: &[&Coordinator]) {
        let identity = agent_identity_once(&self.authority, self.directory.path());
        let policy = self.path("policy.toml");
        std::fs::write(&policy, &self.policy).expect("written");
        let addresses: Vec<String> = coordinators.iter().map(|c| format!("{:?}", c.address.to_string())).collect();
        let config = format!(
            "identity = {identity:?}\ncoordinators = [{}]\nstate = {:?}\npolicy = {policy:?}\n[secrets]\ndirectory = {:?}\n{}",
            addresses.join(", "),
            self.path("state"),
            self.path("secrets"),
            self.configuration,
        );
        std::fs::write(self.path("agent.toml"), config).expect("written");
        let log = std::fs::OpenOptions::new().append(true).create(true).open(self.path("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_baton-agent"))
            .arg("--config")
            .arg(self.path("agent.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("started");
        self.agent = Some(child);
    }
    pub fn kill(&mut self) {
        let mut child = self.agent.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
    /// Waits until it has ended by itself, and well.
    pub async fn ended(&mut self) {
        let child = self.agent.as_mut().expect("it runs");
        let mut status = None;
        until("the agent's end", || {
            status = child.try_wait().expect("it is ours");
            status.is_some()
        })
        .await;
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
        self.agent = None;
    }
    pub fn signal(&self, signal: i32) {
        let pid = self.agent.as_ref().expect("it runs").id() as i32;
        // SAFETY: a plain system call; the process is ours and was not waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "signalled");
    }
    pub fn lines(&self, name: &str) -> usize {
        std::fs::read_to_string(self.path(name)).unwrap_or_default().lines().count()
    }
    pub fn shown(&self, name: &str) -> String {
        self.path(name).canonicalize().unwrap_or_else(|_| self.path(name)).display().to_string()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.agent.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
        }
    }
}

fn agent_identity_once(authority: &CertificateAuthority, directory: &Path) -> PathBuf {
    let place = directory.join("agent-db1");
    if place.exists() { place } else { agent_identity(authority, directory, "db1") }
}

/// Waits for a condition, with a deadline.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn ready(world: &mut World, coordinator: &mut Coordinator, term: u64) -> Peer {
    world.start(&[coordinator]);
    let mut peer = coordinator.peer().await;
    peer.reign(term).await;
    peer
}
