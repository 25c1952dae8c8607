//! Data movement is resumed while POM is stopped, or not at all: what is asked while POM runs is refused before there is a run.

use std::process::Output;

use baton_lab::{
    cluster::until,
    pom::{GROUP, POM_SERVERS, Pom, SERVERS, SERVICE},
    story::{command::newest_run, pom::effects},
};

use crate::driver::{WITHIN, begin, begin_to_resume, drive, from_now, nothing, pom, recovered, start, stop};

const RESUME: [&str; 5] = ["run", GROUP, "resume-data-movement", "-i", "member=db1"];

/// Everything that could have been touched: what was done to POM, and what Baton told any instance.
fn touched(pom: &Pom) -> (usize, usize) {
    let told = |server: &(&str, &str, u8)| {
        let asked = pom.instances.asked(server.1, "alter ").into_iter();
        asked.filter(|one| one.login == "baton").count()
    };
    (effects(pom).expect("POM's journals").len(), SERVERS.iter().map(told).sum())
}

/// Refused with exit code 5 and this code, with all of `words`, and nothing came of it.
fn refused(pom: &Pom, asked: impl FnOnce(&Pom) -> Output, code: &str, words: &[&str]) {
    let before = (newest_run(&pom.cluster, GROUP).expect("the runs"), touched(pom));
    let output = asked(pom);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains(code) && words.iter().all(|word| said.contains(word)), "not all of {words:?}: {said}");
    assert_eq!((newest_run(&pom.cluster, GROUP).expect("the runs"), touched(pom)), before, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resuming_while_pom_runs_is_refused_before_there_is_a_run() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut pom = pom(directory.path(), true).await;
    let mut orders = from_now(&pom);
    let run = begin(&pom, "db2");
    let way = drive(&mut pom, &mut orders, &run, async |_, _| nothing().await, async |_, why| panic!("{why}")).await;
    assert_eq!(way.view["phase"], "succeeded", "{way:#?}");
    recovered(&pom, "pomdb1").await;

    let outside =
        |pom: &Pom| pom.cluster.baton(&[&RESUME[..], &["--yes", "--reason", "a test"]].concat()).expect("run baton");
    refused(&pom, outside, "BTN-0105", &["window maintenance"]);
    let remedy = "baton run pom stop";
    let all =
        ["precheck p1", "POM is stopped on every POM server", "on pom1 is needed", "on pom2 is", "on pom3 is", remedy];
    refused(&pom, |pom| start(pom, &RESUME), "BTN-0106", &all);
    let plan =
        pom.cluster.baton(&["plan", GROUP, "resume-data-movement", "-i", "member=db1", "--override", "window=x"]);
    let plan = String::from_utf8_lossy(&plan.expect("run baton").stdout).into_owned();
    assert!(plan.contains("BTN-0106"), "the dry run says so too: {plan}");

    // On one server only; and on one whose agent does not say.
    stop(&pom);
    pom.fleet.service("pom3", SERVICE, "start").await.expect("somebody starts it");
    refused(&pom, |pom| start(pom, &RESUME), "BTN-0106", &["on pom3 is needed: stop POM", remedy]);
    pom.cluster.kill_agent("pom3");
    until(WITHIN, "agent that is gone", || {
        let hosts = pom.cluster.json(&["hosts"])?;
        let host = hosts.as_array().into_iter().flatten().find(|host| host["name"] == "pom3");
        anyhow::ensure!(host.is_some_and(|host| host["connected"] != true), "{hosts}");
        Ok(())
    })
    .expect("the leader knows that the agent is gone");
    refused(&pom, |pom| start(pom, &RESUME), "BTN-0106", &["pom3 does not say: BTN-0140", remedy]);
    pom.cluster.start_agent(pom.fleet.registry(), "pom3").expect("the agent again");
    pom.cluster.wait_for_agents(&["pom3"], WITHIN).expect("on the line");

    // Overridden it begins, and halts at the same precheck before it touches anything.
    let before = touched(&pom);
    let run = start(&pom, &[&RESUME[..], &["--override", "pom-runs=its server is scrap"]].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let run = String::from_utf8_lossy(&run.stdout).trim().to_owned();
    let halted = until(WITHIN, "halt", || {
        let view = pom.cluster.json(&["show", &run])?;
        anyhow::ensure!(view["phase"] == "halted", "{}", view["phase"]);
        Ok(view)
    });
    let why = halted.expect("halted")["why"].to_string();
    assert!(why.contains("step p1"), "{why}");
    assert_eq!(touched(&pom), before);
    pom.cluster.json(&["abort", &run, "--reason", "a test"]).expect("aborted");
    until(WITHIN, "end", || {
        anyhow::ensure!(pom.cluster.json(&["show", &run])?["over"] == true, "{run} is not over");
        Ok(())
    })
    .expect("over");

    stop(&pom);
    let mut orders = from_now(&pom);
    let run = begin_to_resume(&pom, "db1");
    let way = drive(&mut pom, &mut orders, &run, async |_, _| nothing().await, async |_, why| panic!("{why}")).await;
    assert_eq!(way.view["phase"], "succeeded", "{way:#?}");
    assert!(POM_SERVERS.iter().all(|server| pom.fleet.runs(server.0, SERVICE)), "POM runs");
}
