//! Files on a real disk: bytes, modes, owners; undone by `file.restore`, as runbooks do.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    agent::Agent,
    cycle::go_through,
    picture::files_below,
    row::{Outside, Row, Undo},
};

rows! {
    properties("file.properties");
    line("file.line");
    replace("file.replace");
    template("file.template");
    copy("file.copy");
    backup("file.backup");
    restore("file.restore");
}

const TEXT: &str = "# kept\r\ndb.hosts = 10.0.0.1,10.0.0.2\r\nother=1\r\nlast line without an end";

/// A folder with a file whose mode, line ends and last line are not the usual ones.
struct Folder {
    directory: tempfile::TempDir,
    /// Whether what the agent keeps belongs to the picture.
    with_kept: bool,
}

impl Folder {
    fn new(with_kept: bool) -> Self {
        let folder = Self { directory: tempfile::tempdir().expect("a directory"), with_kept };
        for (name, text, mode) in [("a", TEXT, 0o640), ("b", "another\n", 0o600)] {
            fs::write(folder.path(name), text).expect("written");
            fs::set_permissions(folder.path(name), fs::Permissions::from_mode(mode)).expect("set");
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().expect("real").join(name)
    }
}

#[async_trait]
impl Outside for Folder {
    async fn picture(&self, kept: &Path) -> String {
        // Copies are told by what they hold: their names are the agent's own.
        let mut copies = Vec::new();
        if self.with_kept {
            let below = files_below(kept);
            copies.extend(below.lines().filter(|line| line.contains("another")).map(|_| "a copy of b\n"));
        }
        files_below(self.directory.path()) + &copies.concat()
    }
}

async fn edits(action: &'static str, params: impl Fn(&Folder) -> Value, path: &str) {
    let folder = Folder::new(false);
    let undo = Undo::Action("file.restore", json!({ "path": folder.path(path) }));
    go_through(&Agent::new(), &Row::changes(action, params(&folder), undo, &folder)).await;
}

async fn properties(action: &'static str) {
    let params = |folder: &Folder| json!({ "path": folder.path("a"), "set": { "new": "x" }, "remove_from_list": { "db.hosts": ["10.0.0.1"] }, "unset": ["other"] });
    edits(action, params, "a").await;
}

async fn line(action: &'static str) {
    edits(action, |folder| json!({ "path": folder.path("a"), "line": "one more" }), "a").await;
}

async fn replace(action: &'static str) {
    let params =
        |folder: &Folder| json!({ "path": folder.path("a"), "find": "10.0.0.", "with": "10.9.9.", "count": 2 });
    edits(action, params, "a").await;
}

async fn template(action: &'static str) {
    // A file that is not there; and one that is.
    for name in ["new", "a"] {
        let params = |folder: &Folder| json!({ "path": folder.path(name), "content": "all of it\n", "mode": "0604" });
        edits(action, params, name).await;
    }
}

async fn copy(action: &'static str) {
    for name in ["new", "b"] {
        edits(action, |folder| json!({ "from": folder.path("a"), "to": folder.path(name) }), name).await;
    }
}

async fn backup(action: &'static str) {
    let folder = Folder::new(true);
    let row = Row::changes(action, json!({ "path": folder.path("b") }), Undo::NextRun, &folder);
    go_through(&Agent::new(), &row).await;
}

async fn restore(action: &'static str) {
    let folder = Folder::new(false);
    let mut row = Row::changes(action, json!({ "path": folder.path("a") }), Undo::NextRun, &folder);
    row.before = vec![("file.line", json!({ "path": folder.path("a"), "line": "to be undone" }))];
    go_through(&Agent::new(), &row).await;
}
