//! Programs and cmdlets: what they leave behind is counted by files of their own. PowerShell is the stand-in that is built with the programs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use baton_model::outcome::Observation;
use serde_json::{Value, json};

use super::{
    agent::Agent,
    cycle::go_through,
    picture::files_below,
    row::{Kind, Outside, Row, Undo},
};

rows! {
    a_program_whose_effect_can_be_seen("exec.run");
    a_program_whose_effect_nobody_can_see("exec.run");
    a_cmdlet("exec.powershell");
}

const POOL: &str = "service:atl-cs-001.litwareinc.com";

/// A folder, and beside it a line for each effect.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a directory"));
        fs::create_dir(folder.path("world")).expect("made");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().expect("real").join(name)
    }

    fn shell(&self, script: &str) -> Value {
        let (world, effects) = (self.path("world"), self.path("effects"));
        let text = format!("set -e; world='{}'; effects='{}'; {script}", world.display(), effects.display());
        json!(["/bin/sh", "-c", text])
    }
}

#[async_trait]
impl Outside for Folder {
    async fn picture(&self, _kept: &Path) -> String {
        files_below(&self.path("world"))
    }

    fn effects(&self) -> Option<usize> {
        Some(fs::read_to_string(self.path("effects")).unwrap_or_default().lines().count())
    }
}

async fn a_program_whose_effect_can_be_seen(action: &'static str) {
    let folder = Folder::new();
    let made = folder.path("world/made");
    let params =
        json!({ "argv": folder.shell("echo x >> \"$effects\"; echo made > \"$world/made\""), "creates": made });
    let gone = json!({ "argv": ["/bin/sh", "-c", format!("! test -e '{}'", made.display())] });
    let undo = Undo::Action("exec.run", json!({ "argv": ["/bin/rm", made], "unless": gone }));
    go_through(&Agent::new(), &Row::changes(action, params, undo, &folder)).await;
}

async fn a_program_whose_effect_nobody_can_see(action: &'static str) {
    let folder = Folder::new();
    let params = json!({ "argv": folder.shell("echo x >> \"$effects\"") });
    let row = Row { action, params, kind: Kind::Blind, world: &folder, before: Vec::new() };
    go_through(&Agent::new(), &row).await;
}

/// The pool, as the shell keeps it, and every call of a cmdlet that sets something.
struct Pool(tempfile::TempDir);

#[async_trait]
impl Outside for Pool {
    async fn picture(&self, _kept: &Path) -> String {
        let text = fs::read_to_string(self.0.path().join("lync.json")).expect("a state");
        let mut state: Value = serde_json::from_str(&text).expect("JSON");
        // How often each cmdlet was called is no part of the pool.
        state.as_object_mut().expect("a map").remove("performed");
        serde_json::to_string_pretty(&state).expect("JSON")
    }

    fn effects(&self) -> Option<usize> {
        let calls = fs::read_to_string(self.0.path().join("lync-calls.jsonl")).unwrap_or_default();
        Some(calls.lines().filter(|line| line.contains("\"Set-") && line.contains("FailedOver")).count())
    }
}

async fn a_cmdlet(action: &'static str) {
    let pool = Pool(tempfile::tempdir().expect("a directory"));
    let shell = Path::new(env!("CARGO_BIN_EXE_baton-agent")).with_file_name("baton-pwsh");
    assert!(shell.is_file(), "{} is not there: run \"cargo build --workspace --bins\" first", shell.display());
    std::os::unix::fs::symlink(&shell, pool.0.path().join("pwsh")).expect("a link");
    let state = json!({
        "modules": ["Lync"], "sql_servers": ["sql-a", "sql-b"],
        "pools": [{ "fqdn": POOL.trim_start_matches("service:"), "computers": ["a1", "b1"], "active": ["a1"], "state": "Normal",
            "primary_sql": "sql-a", "backup_sql": "sql-b" }],
    });
    fs::write(pool.0.path().join("lync.json"), state.to_string()).expect("written");
    let set = |state: &str| {
        json!({
            "shell": pool.0.path().canonicalize().expect("real").join("pwsh"), "modules": ["Lync"],
            "run": { "cmdlet": "Set-CsPersistentChatState", "parameters": { "Identity": POOL, "PoolState": state, "Confirm": false } },
            "get": { "cmdlet": "Get-CsPersistentChatState", "parameters": { "Identity": POOL } },
            "expect": format!("result.PoolState == '{state}'"),
        })
    };
    let undo = Undo::Action("exec.powershell", set("Normal"));
    let agent = Agent::new();
    // At its first call the shell writes down what the state leaves out.
    let seen = agent.observe(action, &set("FailedOver")).await;
    assert!(matches!(seen, Ok(Observation::Differs { .. })), "{seen:?}");
    go_through(&agent, &Row::changes(action, set("FailedOver"), undo, &pool)).await;
}
