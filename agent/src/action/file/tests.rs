//! Real files: edits, undo, links, modes, and a SIGKILL at any moment.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use baton_model::outcome::Observation;
use serde_json::{Value, json};

use crate::action::trial::{Trial, action};
use crate::action::{Effect, Failure};

const LONG: Duration = Duration::from_secs(20);

async fn act(trial: &Trial, step: &str, name: &str, params: Value) -> Result<Effect, Failure> {
    action(name, params).act(&trial.context(step, LONG)).await
}

fn code(failure: Failure) -> String {
    match failure {
        Failure::Failed(fault) | Failure::Unclear(fault) => fault.code,
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn properties_are_edited_observed_as_in_place_and_undone_byte_for_byte() {
    let trial = Trial::new();
    let before = "# hosts\r\nhost = a\r\nlist=x, y,\\\r\n  z\r\nold=1";
    let path = trial.file("app.properties", before);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let edit = action(
        "file.properties",
        json!({ "path": path, "set": { "host": "b", "new": "n" }, "unset": ["old"], "remove_from_list": { "*": ["y"] }, "add_to_list": { "list": ["w"] } }),
    );
    let context = trial.context("4", LONG);
    let Observation::Differs { change } = edit.observe(&context).await.unwrap() else { panic!("it differs") };
    assert!(change.contains("-host = a") && change.contains("+host = b"), "{change}");
    assert_eq!(read(&path), before, "observing changed something");
    edit.act(&context).await.unwrap();
    assert_eq!(read(&path), "# hosts\r\nhost = b\r\nlist=x,\\\r\n  z,w\r\nnew=n");
    assert_eq!(Path::new(&path).metadata().unwrap().mode() & 0o7777, 0o640);
    assert!(matches!(edit.observe(&context).await.unwrap(), Observation::InPlace { .. }));
    assert_eq!(edit.act(&context).await.unwrap().changed, Some(false));
    let undo = action("file.restore", json!({ "path": path }));
    let undoing = trial.context("4/undo", LONG);
    assert!(matches!(undo.observe(&undoing).await.unwrap(), Observation::Differs { .. }));
    undo.act(&undoing).await.unwrap();
    assert_eq!((read(&path), Path::new(&path).metadata().unwrap().mode() & 0o7777), (before.to_owned(), 0o640));
    assert!(matches!(undo.observe(&undoing).await.unwrap(), Observation::InPlace { .. }));
}

#[tokio::test]
async fn steps_are_undone_one_by_one_in_reverse() {
    let trial = Trial::new();
    let path = trial.file("a.conf", "one\n");
    for (step, find, with) in [("1", "one", "two"), ("2", "two", "three")] {
        act(&trial, step, "file.replace", json!({ "path": path, "find": find, "with": with })).await.unwrap();
    }
    act(&trial, "2/undo", "file.restore", json!({ "path": path })).await.unwrap();
    assert_eq!(read(&path), "two\n");
    act(&trial, "1/undo", "file.restore", json!({ "path": path })).await.unwrap();
    assert_eq!(read(&path), "one\n");
}

#[tokio::test]
async fn a_file_that_a_step_made_is_removed_by_its_undo_and_what_others_wrote_is_kept() {
    let trial = Trial::new();
    let path = trial.path("made.conf").to_str().unwrap().to_owned();
    act(&trial, "1", "file.template", json!({ "path": path, "content": "ours\n", "mode": "0600" })).await.unwrap();
    assert_eq!(Path::new(&path).metadata().unwrap().mode() & 0o7777, 0o600);
    trial.file("made.conf", "theirs\n");
    let effect = act(&trial, "1/undo", "file.restore", json!({ "path": path })).await.unwrap();
    assert!(!Path::new(&path).exists());
    let kept = effect.summary.rsplit(' ').next().unwrap().to_owned();
    assert_eq!(read(&kept), "theirs\n");
}

#[tokio::test]
async fn a_link_stays_and_the_file_behind_it_changes_with_its_attributes() {
    let trial = Trial::new();
    let path = trial.file("real.conf", "old\n");
    let attribute = rustix::fs::setxattr(&path, "user.note", b"kept", rustix::fs::XattrFlags::empty());
    let link = trial.path("link.conf");
    std::os::unix::fs::symlink("real.conf", &link).unwrap();
    act(&trial, "1", "file.template", json!({ "path": link, "content": "new\n" })).await.unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(read(&path), "new\n");
    if attribute.is_ok() {
        assert!(super::original::attributes(Path::new(&path)).contains(&("user.note".into(), b"kept".to_vec())));
    }
}

#[tokio::test]
async fn one_line_is_made_present_or_absent() {
    let trial = Trial::new();
    let path = trial.file("hosts", "127.0.0.1 localhost\r\n10.0.0.1 db # old\r\n");
    let line = |line: &str, matching: Option<&str>, absent: bool| json!({ "path": path, "line": line, "matching": matching, "absent": absent });
    act(&trial, "1", "file.line", line("10.0.0.2 db", Some(r"\sdb\b"), false)).await.unwrap();
    assert_eq!(read(&path), "127.0.0.1 localhost\r\n10.0.0.2 db\r\n");
    act(&trial, "2", "file.line", line("10.0.0.3 web", None, false)).await.unwrap();
    assert_eq!(read(&path), "127.0.0.1 localhost\r\n10.0.0.2 db\r\n10.0.0.3 web\r\n");
    assert_eq!(act(&trial, "2", "file.line", line("10.0.0.3 web", None, false)).await.unwrap().changed, Some(false));
    assert_eq!(code(act(&trial, "3", "file.line", line("x", Some("^10"), false)).await.unwrap_err()), "BTN-0526");
    act(&trial, "4", "file.line", line("", Some("^10"), true)).await.unwrap();
    assert_eq!(read(&path), "127.0.0.1 localhost\r\n");
}

#[tokio::test]
async fn text_is_replaced_as_often_as_was_said_or_not_at_all() {
    let trial = Trial::new();
    let path = trial.file("a", "x=1 x=1");
    let replace = |find: &str, with: &str, count: Option<u32>| json!({ "path": path, "find": find, "with": with, "count": count });
    assert_eq!(code(act(&trial, "1", "file.replace", replace("x=1", "x=12", Some(1))).await.unwrap_err()), "BTN-0525");
    assert_eq!(code(act(&trial, "1", "file.replace", replace("y", "z", None)).await.unwrap_err()), "BTN-0525");
    act(&trial, "1", "file.replace", replace("x=1", "x=12", Some(2))).await.unwrap();
    assert_eq!(read(&path), "x=12 x=12");
    assert_eq!(act(&trial, "1", "file.replace", replace("x=1", "x=12", Some(2))).await.unwrap().changed, Some(false));
}

#[tokio::test]
async fn files_are_copied_and_kept() {
    let trial = Trial::new();
    let (from, to) = (trial.file("from", b"\x00\xff"), trial.path("to"));
    act(&trial, "1", "file.copy", json!({ "from": from, "to": to })).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), b"\x00\xff");
    let backup = action("file.backup", json!({ "path": from }));
    let context = trial.context("2", LONG);
    let effect = backup.act(&context).await.unwrap();
    assert_eq!(std::fs::read(effect.data["copy"].as_str().unwrap()).unwrap(), b"\x00\xff");
    assert!(matches!(backup.observe(&context).await.unwrap(), Observation::InPlace { .. }));
    let absent = json!({ "path": trial.path("absent") });
    assert_eq!(code(act(&trial, "3", "file.backup", absent).await.unwrap_err()), "BTN-0528");
}

#[tokio::test]
async fn a_secret_is_written_and_neither_it_nor_the_one_before_is_shown() {
    let mut trial = Trial::new();
    trial.secrets.insert("db".into(), "hunter2".into());
    let path = trial.file("a.properties", "db.login=hunter1\nhost=a\n");
    let secret = json!({ "pieces": [{ "secret": "db" }] });
    let edit = action("file.properties", json!({ "path": path, "set": { "db.login": secret, "host": "b" } }));
    let context = trial.context("1", LONG);
    let observation = format!("{:?}", edit.observe(&context).await.unwrap());
    let effect = format!("{:?}", edit.act(&context).await.unwrap());
    assert_eq!(read(&path), "db.login=hunter2\nhost=b\n");
    assert!(observation.contains("+host=b"), "{observation}");
    for shown in [observation, effect] {
        assert!(!shown.contains("hunter"), "{shown}");
    }
}

const VICTIM: &str = "BATON_TEST_VICTIM";

fn content(byte: u8) -> String {
    format!("{}\n", String::from_utf8(vec![byte; 300_000]).unwrap())
}

/// Not a test: what [`a_sigkill_at_any_moment_leaves_the_old_file_or_the_new_one`] starts and kills.
#[tokio::test]
#[ignore = "started by another test"]
async fn victim() {
    let Ok(path) = std::env::var(VICTIM) else { return };
    let trial = Trial::new();
    let write = |byte: u8| action("file.template", json!({ "path": path, "content": content(byte) }));
    for step in 0.. {
        let byte = if step % 2 == 0 { b'a' } else { b'b' };
        write(byte).act(&trial.context(&step.to_string(), LONG)).await.unwrap();
    }
}

#[tokio::test]
async fn a_sigkill_at_any_moment_leaves_the_old_file_or_the_new_one() {
    let trial = Trial::new();
    let path = trial.file("app.conf", content(b'b'));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o604)).unwrap();
    let inode = || Path::new(&path).metadata().unwrap().ino();
    let mut seen = [0; 2];
    for round in 0..40u64 {
        let before = inode();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "action::file::tests::victim", "--ignored", "--nocapture"])
            .env(VICTIM, &path)
            .env("TMPDIR", trial.directory.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // It is at work once the file has been replaced. Then a moment that differs from round to round: the one place
        // where a duration is what is meant.
        crate::action::trial::wait_for(|| inode() != before).await;
        std::thread::sleep(Duration::from_micros(round * 7919 % 20_011));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it was killed, and had not ended by itself");
        let now = std::fs::read_to_string(&path).unwrap();
        let which = [b'a', b'b'].into_iter().position(|byte| now == content(byte));
        seen[which.unwrap_or_else(|| panic!("round {round}: a part of a file, {} bytes", now.len()))] += 1;
        assert_eq!(Path::new(&path).metadata().unwrap().mode() & 0o7777, 0o604);
    }
    assert!(seen[0] > 0 && seen[1] > 0, "the moments were not spread: {seen:?}");
    // What was left beside goes with the next write.
    act(&trial, "1", "file.template", json!({ "path": path, "content": "end" })).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(trial.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".new"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
