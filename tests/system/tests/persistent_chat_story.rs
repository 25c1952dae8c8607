//! The Persistent Chat story as `cargo lab persistent-chat` tells it, with every check; and what it has no room for: a share that
//! is down, and ways back from the middle of both runbooks.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::bail;
use baton_lab::{
    cluster::{Binaries, until},
    horizon,
    persistent_chat::{DATABASE, GROUP, Installation, Site},
    sqlserver::{
        Writer,
        control::{StatementFault, What},
    },
    story::{
        self, Show, Teller,
        persistent_chat::{begin, first_failure, follow},
    },
};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

async fn build(directory: &Path, standby: bool) -> Installation {
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    Installation::build(directory, helper, binaries, standby, |_| {}).await.expect("a world")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_persistent_chat_story_is_true_to_its_end() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut chat = build(directory.path(), true).await;
    let mut teller = Teller::new("persistent-chat");
    story::persistent_chat::tell(&mut chat, &mut teller, Show::Quiet).await.expect("the story is told to its end");
    assert!(teller.finish(), "{}", teller.record.table());
    assert_eq!(teller.record.runs.len(), 3, "{}", teller.record.table());
}

/// Follows a run until a person is asked this; every other question is confirmed.
fn until_asked(chat: &Installation, run: &str, words: &str) -> Value {
    let begun = Instant::now();
    loop {
        let view = chat.cluster.json(&["show", run]).expect("a view");
        let asked = view["steps"].as_array().into_iter().flatten().find(|step| step["state"] == "waiting");
        match asked.and_then(|step| step["question"].as_str()) {
            Some(question) if question.contains(words) => return view,
            Some(_) => drop(chat.cluster.baton(&["confirm", run, "--reason", "seen"])),
            None => {}
        }
        assert!(begun.elapsed() < WITHIN && view["over"] != true, "nobody was asked {words:?}: {view}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Aborts, and waits until what was done is undone.
fn abort(chat: &Installation, run: &str) {
    chat.cluster.json(&["abort", run, "--reason", "not like this"]).expect("aborted");
    let view = until(WITHIN, "end", || {
        let view = chat.cluster.json(&["show", run])?;
        if view["over"] == true { Ok(view) } else { bail!("{}", view["phase"]) }
    });
    let view = view.expect("an end");
    assert_eq!(view["phase"], "rolled back", "{}", view["why"]);
}

fn succeeds(chat: &Installation, teller: &Teller, run: &str) -> Value {
    let view = follow(chat, teller, Show::Quiet, run).expect("an end");
    assert_eq!(view["phase"], "succeeded", "{} {}", view["why"], first_failure(&view));
    view
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_middle_of_either_runbook_there_is_a_way_back() {
    let (dead, new) = (Site::Atlanta, Site::Dallas);
    let directory = tempfile::tempdir().expect("a folder");
    let mut chat = build(directory.path(), false).await;
    let teller = Teller::new("persistent-chat");
    let writer = Writer::start(vec![chat.endpoint(dead)], PAUSE);
    let (_, covered) = chat.five_uncopied(&writer).await.expect("five log backups");
    let record = writer.stop().await;
    let last = record.acknowledged.iter().chain(&record.unknown).max().copied().expect("rows");
    let shipped = chat.shipped_to(new).expect("msdb");
    let [one, two] = dead.chat();
    chat.crash(&[dead.database(), one, two]).expect("the power cut");

    // A site with a low latency connection may be active too, where the group says so.
    let files = chat.fleet.directory().join("files");
    let text = fs::read_to_string(files.join("group.yaml")).expect("the group");
    let apply = |name: &str, text: &str| {
        fs::write(files.join(name), text).expect("written");
        let path = files.join(name).display().to_string();
        chat.cluster.json(&["apply", &path, "--reason", "a test"]).expect("applied");
    };
    let servers = format!("active_servers={},{}", new.chat()[0], dead.chat()[0]);
    let plan = || chat.cluster.baton(&["plan", GROUP, "failover", "-i", &servers]).expect("run baton");
    let refused = plan();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("BTN-0139"), "Atlanta is not near: {refused:?}");
    apply("near.yaml", &text.replace("vars:\n  pool", "vars:\n  near: { dallas: [atlanta] }\n  pool"));
    let planned = plan();
    assert!(
        String::from_utf8_lossy(&planned.stdout).contains("Set the active servers"),
        "Atlanta is near: {planned:?}"
    );
    apply("group.yaml", &text);

    // The share went down with its site: a person decides, with the list of what is missing.
    let (share, away) = (chat.share(), chat.fleet.directory().join("away"));
    fs::rename(&share, &away).expect("the share goes");
    let run = begin(&chat, &teller, &["failover", GROUP, "--reason", "Atlanta is lost"]).expect("a run");
    let view = until_asked(&chat, &run, "cannot be read");
    assert!(view.to_string().contains("nothing was copied"), "{view}");
    assert!(chat.shipped_to(new).expect("msdb").is_none(), "log shipping is removed by then");
    abort(&chat, &run);
    assert_eq!(chat.shipped_to(new).expect("msdb"), shipped, "log shipping is as it was");
    fs::rename(&away, &share).expect("the share is back");
    let run = begin(&chat, &teller, &["failover", GROUP, "--reason", "Atlanta is lost"]).expect("a run");
    succeeds(&chat, &teller, &run);
    assert!(covered.is_subset(&chat.rows(new).expect("rows")));

    // The way home fails before the role has moved.
    chat.boot(dead).await.expect("Atlanta is back");
    let writer = Writer::start_after(vec![chat.endpoint(new)], PAUSE, last);
    writer.has_written(10, WITHIN).await.expect("writes");
    let (instance, statement) = (Some(dead.instance()), "RESTORE DATABASE".to_owned());
    let what = What::Refuse { number: 3201, text: None };
    chat.control().add_fault(StatementFault { instance, statement, times: None, what }).expect("a fault");
    let run = begin(&chat, &teller, &["run", GROUP, "failback", "--reason", "home"]).expect("a run");
    let view = follow(&chat, &teller, Show::Quiet, &run).expect("a halt");
    assert_eq!(view["phase"], "halted", "{}", view["why"]);
    assert_eq!(chat.topology().active().expect("the topology"), [""; 0]);
    abort(&chat, &run);
    assert_eq!(chat.topology().active().expect("the topology"), new.chat());
    writer.has_written(10, WITHIN).await.expect("Dallas' mgc is open again");
    chat.control().heal().expect("healed");
    let again = ["run", GROUP, "failback", "-i", "attempt=2", "--reason", "home"];
    let run = begin(&chat, &teller, &again).expect("a run");
    succeeds(&chat, &teller, &run);
    let record = writer.stop().await;
    assert_eq!(record.acknowledged.difference(&chat.rows(dead).expect("rows")).count(), 0, "nothing is lost");
    assert_eq!(chat.restored(new, DATABASE).expect("msdb").last().map(|one| one.kind), Some('L'), "shipping works");
}
