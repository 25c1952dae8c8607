//! A real `baton-agent` process against coordinators on loopback: real TLS, real gRPC, real programs, SIGKILL.

#[allow(dead_code, reason = "each file of tests uses a part")]
#[path = "support/coordinator.rs"]
mod support;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use baton_model::{
    order::Order,
    outcome::{Observation, Outcome},
    time::Span,
};
use baton_platform::{ca::IssueOptions, clock::SystemClock};
use baton_proto::v1::{self as pb, from_agent::Message as Up, to_agent::Message as Down};
use baton_wire::agent as wire;
use support::{
    Coordinator, exec, order,
    world::{World, ready, until},
};

const LONG: Span = Span::from_secs(60);

#[tokio::test]
async fn an_order_is_performed_once_however_often_it_comes() {
    let mut world = World::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let order = order("db1", "1", (1, 10), &format!("echo done | tee -a {}", world.shown("effects")), LONG);
    peer.execute(&order).await;
    peer.execute(&order).await;
    let report = peer.finished(&order.task).await;
    assert_eq!((report.outcome, report.output.head.as_str()), (Outcome::Changed, "done\n"), "{report:?}");
    peer.execute(&order).await;
    assert_eq!(peer.finished(&order.task).await.outcome, Outcome::Changed);
    peer.send(Down::Forget(pb::Forget { task: Some(wire::task_id(&order.task)) })).await;
    peer.execute(&order).await;
    assert_eq!(peer.declined(&order.task).await.code, "BTN-0434");
    assert_eq!(world.lines("effects"), 1);
}

#[tokio::test]
async fn an_observation_that_takes_its_time_is_waited_for() {
    let mut world = World::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    // It differs at once the first time; the second time it takes longer than a quick look would.
    let unless = format!("echo asked >> {0}; test $(wc -l < {0}) = 1 || sleep 11; exit 1", world.shown("asked"));
    let params =
        serde_json::json!({ "argv": ["/bin/sh", "-c", "true"], "unless": { "argv": ["/bin/sh", "-c", unless] } });
    let order = exec("db1", "1", (1, 10), params, LONG);
    peer.execute(&order).await;
    let report = peer.finished(&order.task).await;
    assert_eq!(report.outcome, Outcome::Failed, "its effect was not seen: {report:?}");
    assert_eq!(report.fault.map(|fault| fault.code).as_deref(), Some("BTN-0460"));
}

#[tokio::test]
async fn what_an_action_advises_survives_the_end_of_its_time() {
    let mut world = World::new();
    world.policy += "services = ['app']\n";
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let shell = |script: &str| serde_json::json!({ "argv": ["/bin/sh", "-c", script] });
    let commands = serde_json::json!({ "start": shell("true"), "stop": shell("true"), "status": shell("exit 3") });
    let params = serde_json::json!({ "name": "app", "manager": { "commands": commands } });
    let order = Order { action: "service.start".into(), ..exec("db1", "1", (1, 10), params, Span::from_secs(2)) };
    peer.execute(&order).await;
    let fault = peer.finished(&order.task).await.fault.expect("it never runs");
    assert_eq!(fault.code, "BTN-0461", "{fault:?}");
    assert!(fault.message.contains("app did not start in time; last seen:"), "{fault:?}");
    // Its own advice first: more time is the second thing to try.
    let (own, more) = (fault.remedy.find("the service's own log"), fault.remedy.find("give the step a longer timeout"));
    assert!(own.is_some() && own < more, "{fault:?}");
}

#[tokio::test]
async fn what_may_be_done_already_is_not_done_where_its_condition_gives_no_answer() {
    let mut world = World::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let (effects, quiet) = (world.shown("effects"), world.shown("quiet"));
    let unless = format!("if [ -e {quiet} ]; then kill -9 $$; fi; test -e {effects}");
    let params = serde_json::json!({
        "argv": ["/bin/sh", "-c", format!("echo done >> {effects}; touch {quiet}; exit 1")],
        "unless": { "argv": ["/bin/sh", "-c", unless] },
    });
    let mut attempt = exec("db1", "1", (1, 10), params, LONG);
    // It was done, and it is said to have failed: nobody would know from the outside.
    peer.execute(&attempt).await;
    assert_eq!(peer.finished(&attempt.task).await.outcome, Outcome::Failed);
    attempt.task.attempt += 1;
    peer.execute(&attempt).await;
    let report = peer.finished(&attempt.task).await;
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    assert_eq!(report.fault.map(|fault| fault.code).as_deref(), Some("BTN-0466"));
    std::fs::remove_file(world.path("quiet")).expect("removed");
    attempt.task.attempt += 1;
    peer.execute(&attempt).await;
    assert_eq!(peer.finished(&attempt.task).await.outcome, Outcome::Unchanged, "it has been seen");
    assert_eq!(world.lines("effects"), 1);
}

#[tokio::test]
async fn who_is_ended_while_the_condition_is_asked_is_refused_and_not_failed() {
    let mut world = World::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let (effects, asks) = (world.shown("effects"), world.shown("asks"));
    let params = serde_json::json!({
        "argv": ["/bin/sh", "-c", format!("echo done >> {effects}")],
        "unless": { "argv": ["/bin/sh", "-c", format!("touch {asks}; sleep 600")] },
    });
    let order = exec("db1", "1", (1, 10), params, LONG);
    peer.execute(&order).await;
    until("the question", || world.path("asks").exists()).await;
    let mut fence = order.fence;
    fence.index = 11;
    let raised = wire::Raised { request: 99, run: order.task.run.clone(), fence };
    peer.send(Down::Raise(wire::raise(&raised))).await;
    let report = peer.finished(&order.task).await;
    assert_eq!(report.outcome, Outcome::Refused, "{report:?}");
    assert_eq!(report.fault.map(|fault| fault.code).as_deref(), Some("BTN-0462"));
    assert_eq!(world.lines("effects"), 0);
}

#[tokio::test]
async fn a_deposed_leader_is_refused_after_a_newer_reign_was_acknowledged() {
    let mut world = World::new();
    let (mut old, mut new) = (world.coordinator("c1").await, world.coordinator("c2").await);
    world.start(&[&old, &new]);
    let (mut deposed, mut leader) = (old.peer().await, new.peer().await);
    deposed.reign(1).await;
    leader.reign(2).await;
    let script = format!("echo done >> {}", world.shown("effects"));
    let stale = order("db1", "1", (1, 10), &script, LONG);
    deposed.execute(&stale).await;
    assert_eq!(deposed.declined(&stale.task).await.code, "BTN-0431");
    // Nor with the new term, which was announced by another.
    let forged = order("db1", "2", (2, 10), &script, LONG);
    deposed.execute(&forged).await;
    assert_eq!(deposed.declined(&forged.task).await.code, "BTN-0432");
    let good = order("db1", "3", (2, 10), &script, LONG);
    leader.execute(&good).await;
    assert_eq!(leader.finished(&good.task).await.outcome, Outcome::Changed);
    assert_eq!(world.lines("effects"), 1);
}

#[tokio::test]
async fn an_outcome_goes_to_whoever_rules_when_it_is_known() {
    let mut world = World::new();
    let (mut old, mut new) = (world.coordinator("c1").await, world.coordinator("c2").await);
    world.start(&[&old, &new]);
    let (mut deposed, mut leader) = (old.peer().await, new.peer().await);
    deposed.reign(1).await;
    let gate = world.shown("gate");
    let order = order("db1", "1", (1, 10), &format!("until [ -e {gate} ]; do sleep 0.05; done"), LONG);
    deposed.execute(&order).await;
    deposed.accepted(&order.task).await;
    assert_eq!(leader.reign(2).await.open_tasks, std::slice::from_ref(&order.task));
    std::fs::write(world.path("gate"), "").expect("written");
    assert_eq!(leader.finished(&order.task).await.outcome, Outcome::Changed);
}

#[tokio::test]
async fn a_killed_agent_observes_first_and_does_not_do_it_twice() {
    let mut world = World::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let (effects, marker) = (world.shown("effects"), world.shown("marker"));
    // The effect is visible, and the program not at its end.
    let script = format!("echo done >> {effects}; touch {marker}; sleep 300");
    let params = serde_json::json!({ "argv": ["/bin/sh", "-c", script], "creates": marker });
    let observed = exec("db1", "1", (1, 10), params, LONG);
    // Nobody can tell from outside what this one did.
    let blind = order("db1", "2", (1, 10), &format!("echo begun >> {}; sleep 300", world.shown("blind")), LONG);
    peer.execute(&observed).await;
    peer.execute(&blind).await;
    until("the effects", || world.lines("effects") == 1 && world.lines("blind") == 1 && Path::new(&marker).exists())
        .await;
    world.kill();

    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let report = peer.finished(&observed.task).await;
    assert_eq!(report.outcome, Outcome::Changed, "{report:?}");
    assert!(report.summary.contains("interrupted"), "{report:?}");
    let seen = peer.log.iter().find_map(|message| match message {
        Up::Finished(finished) => Some(wire::parse_finished(finished.clone()).expect("well formed")),
        _ => None,
    });
    let report = match seen {
        Some((task, _, report)) if task == blind.task => report,
        _ => peer.finished(&blind.task).await,
    };
    assert_eq!(report.outcome, Outcome::Unknown, "{report:?}");
    assert_eq!((world.lines("effects"), world.lines("blind")), (1, 1));
}

#[tokio::test]
async fn a_killed_agent_repeats_what_may_be_repeated_and_nothing_of_it_still_runs_meanwhile() {
    let mut world = World::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let (effects, gate) = (world.shown("effects"), world.shown("gate"));
    // A grandchild that would go on by itself after the shell is gone.
    let script =
        format!("echo $$ >> {effects}; (until [ -e {gate} ]; do sleep 0.05; done; echo late >> {effects}.late) & wait");
    let params = serde_json::json!({ "argv": ["/bin/sh", "-c", script], "repeatable": true });
    let order = exec("db1", "1", (1, 10), params, LONG);
    peer.execute(&order).await;
    until("the first time", || world.lines("effects") == 1).await;
    world.kill();
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    until("the second time", || world.lines("effects") == 2).await;
    std::fs::write(world.path("gate"), "").expect("written");
    assert_eq!(peer.finished(&order.task).await.outcome, Outcome::Changed);
    assert_eq!(world.lines("effects.late"), 1, "the first one's grandchild was ended before the second began");
}

#[tokio::test]
async fn what_failed_the_second_time_may_have_happened_the_first_time() {
    let mut world = World::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let effects = world.shown("effects");
    let script = format!("[ -e {effects} ] && exit 1; echo done >> {effects}; sleep 300");
    let params = serde_json::json!({ "argv": ["/bin/sh", "-c", script], "repeatable": true });
    let order = exec("db1", "1", (1, 10), params, LONG);
    peer.execute(&order).await;
    until("the effect", || world.lines("effects") == 1).await;
    world.kill();
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let report = peer.finished(&order.task).await;
    assert_eq!(report.outcome, Outcome::Unknown, "{report:?}");
    let fault = report.fault.expect("a fault");
    assert!(
        fault.code == "BTN-0533" && fault.message.contains("what it had done by then nobody has seen"),
        "{fault:?}"
    );
}

#[tokio::test]
async fn a_raise_ends_what_is_older_before_it_is_acknowledged() {
    let mut world = World::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let (pid, late) = (world.shown("pid"), world.shown("late"));
    let order = order("db1", "1", (1, 10), &format!("echo $$ > {pid}; sleep 300; echo late > {late}"), LONG);
    peer.execute(&order).await;
    until("the program", || world.lines("pid") == 1).await;
    let mut fence = order.fence;
    fence.index = 11;
    let raised = wire::Raised { request: 99, run: order.task.run.clone(), fence };
    peer.send(Down::Raise(wire::raise(&raised))).await;
    let report = peer.finished(&order.task).await;
    assert_eq!(report.outcome, Outcome::Unknown, "{report:?}");
    assert_eq!(report.fault.expect("a fault").code, "BTN-0462");
    assert_eq!(peer.acknowledged(99).await.index, 11);
    let pid: i32 = std::fs::read_to_string(&pid).expect("read").trim().parse().expect("a number");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    peer.execute(&support::order("db1", "2", (1, 10), "true", LONG)).await;
    let stale = support::order("db1", "2", (1, 10), "true", LONG);
    assert_eq!(peer.declined(&stale.task).await.code, "BTN-0435");
}

#[tokio::test]
async fn a_task_that_is_overdue_is_killed_with_all_that_it_started() {
    let mut world = World::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let pids = world.shown("pids");
    let script = format!(
        "trap '' TERM; echo $$ >> {pids}; (trap '' TERM; sleep 300 & echo $! >> {pids}; wait) & wait; sleep 300"
    );
    let order = order("db1", "1", (1, 10), &script, Span(1000));
    peer.execute(&order).await;
    let report = peer.finished(&order.task).await;
    assert_eq!(report.fault.expect("a fault").code, "BTN-0461");
    assert_eq!(report.outcome, Outcome::Unknown);
    for pid in std::fs::read_to_string(&pids).expect("read").lines() {
        until("the end of its processes", || !is_running(pid)).await;
    }
}

fn is_running(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}

#[tokio::test]
async fn policy_secrets_dry_runs_and_files() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::new();
    std::fs::create_dir(world.path("secrets")).expect("made");
    std::fs::write(world.path("secrets/fdb"), "hunter2\n").expect("written");
    std::fs::set_permissions(world.path("secrets/fdb"), std::fs::Permissions::from_mode(0o600)).expect("set");
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;

    let denied = exec("db1", "1", (1, 10), serde_json::json!({ "argv": ["/bin/rm", "-rf", "/"] }), LONG);
    peer.execute(&denied).await;
    let report = peer.finished(&denied.task).await;
    assert_eq!((report.outcome, report.fault.expect("a fault").code.as_str()), (Outcome::Refused, "BTN-0403"));

    let params = serde_json::json!({
        "argv": ["/bin/sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo \"$i $P\"; i=$((i+1)); done"],
        "environment": { "P": { "pieces": [{ "text": "pw=" }, { "secret": "fdb" }] } },
    });
    let secret = exec("db1", "2", (1, 10), params, LONG);
    peer.execute(&secret).await;
    let report = peer.finished(&secret.task).await;
    assert_eq!(report.outcome, Outcome::Changed, "{report:?}");
    assert!(report.output.head.contains("0 pw=[secret fdb]\n"), "{report:?}");
    assert!(report.output.omitted_bytes > 0);

    let task = Some(wire::task_id(&secret.task));
    peer.send(Down::ReadFile(pb::ReadFile { request: 5, task: task.clone(), name: "output.txt".into() })).await;
    let mut content = Vec::new();
    peer.wait("the file", |message| match message {
        Up::FilePart(part) => {
            assert!(part.fault.is_empty(), "{part:?}");
            content.extend_from_slice(&part.content);
            part.last.then_some(())
        }
        _ => None,
    })
    .await;
    let text = String::from_utf8(content).expect("text");
    assert_eq!(text.lines().count(), 3000);
    for name in ["../output.txt", "", "sessions/../output.txt", ".."] {
        peer.send(Down::ReadFile(pb::ReadFile { request: 6, task: task.clone(), name: name.into() })).await;
        let fault = peer.wait("a fault", |message| match message {
            Up::FilePart(part) => wire::parse_file_fault(part).expect("well formed"),
            _ => None,
        });
        assert_eq!(fault.await.code, "BTN-0472", "{name}");
    }

    for (params, expected) in [
        (serde_json::json!({ "argv": ["/bin/sh", "-c", "true"] }), Ok(())),
        (serde_json::json!({ "argv": ["/bin/rm"] }), Err("BTN-0403")),
        (serde_json::json!({ "argw": [] }), Err("BTN-0497")),
    ] {
        let bytes = serde_json::to_vec(&params).expect("JSON").into();
        peer.send(Down::Observe(pb::Observe {
            request: 7,
            action: "exec.run".into(),
            params: bytes,
            timeout_ms: 5000,
        }))
        .await;
        let answer = peer
            .wait("Observed", |message| match message {
                Up::Observed(observed) => Some(wire::parse_observed(observed.clone()).expect("well formed").1),
                _ => None,
            })
            .await;
        match expected {
            Ok(()) => assert!(
                matches!(answer, Ok(Observation::CannotTell { .. } | Observation::Differs { .. })),
                "{answer:?}"
            ),
            Err(code) => assert_eq!(answer.expect_err("refused").code, code),
        }
    }

    world.kill();
    for entry in files_below(world.directory.path()) {
        if entry.ends_with("secrets/fdb") {
            continue;
        }
        let bytes = std::fs::read(&entry).expect("read");
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{entry:?} holds the secret");
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("read").flatten() {
        if entry.file_type().expect("a type").is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

#[tokio::test]
async fn a_server_that_is_no_coordinator_gets_no_session() {
    let mut world = World::new();
    // Signed by the same authority, good for the address, and an operator.
    let issued = world
        .authority
        .issue(
            "baton://operator/eve?role=admin".parse().expect("an identity"),
            &["127.0.0.1".to_owned()],
            &IssueOptions::default(),
            &SystemClock::new(),
        )
        .expect("issued");
    issued.write(&world.path("eve")).expect("written");
    let mut eve = Coordinator::start_as("c1", &world.path("eve")).await;
    let mut good = world.coordinator("c2").await;
    world.start(&[&eve, &good]);
    good.peer().await;
    assert!(!eve.is_called(Duration::from_secs(1)).await);
}

#[tokio::test]
async fn what_undoes_waits_for_what_it_undoes_and_a_raise_is_answered_with_its_own_index() {
    let mut world = World::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let effects = world.shown("effects");
    let script = format!(
        "trap 'sleep 0.7; echo ended >> {effects}; exit' TERM; echo begun >> {effects}; while :; do sleep 0.05; done"
    );
    let stale = order("db1", "1", (1, 10), &script, LONG);
    let undo = order("db1", "undo", (1, 20), &format!("echo undone >> {effects}"), LONG);
    peer.execute(&stale).await;
    until("the effect", || world.lines("effects") == 1).await;
    let fence = baton_model::fence::Fence { index: 15, ..stale.fence };
    let raised = wire::Raised { request: 99, run: stale.task.run.clone(), fence };
    peer.send(Down::Raise(wire::raise(&raised))).await;
    peer.execute(&undo).await;
    let answer = peer.acknowledged(99).await;
    assert_eq!((answer.reign, answer.index), (fence.reign(), 15));
    assert_eq!(peer.finished(&undo.task).await.outcome, Outcome::Changed);
    assert_eq!(std::fs::read_to_string(world.path("effects")).expect("read"), "begun\nended\nundone\n");
}

#[tokio::test]
async fn a_coordinator_that_calls_itself_by_anothers_name_is_refused() {
    let mut world = World::new();
    let mut good = world.coordinator("c1").await;
    let place = world.path("coordinator-c2");
    drop(world.coordinator("c2").await);
    let mut impostor = Coordinator::start_as("c1", &place).await;
    world.start(&[&impostor, &good]);
    good.peer().await.reign(1).await;
    impostor.peer().await;
    let log = || std::fs::read_to_string(world.path("log")).unwrap_or_default();
    until("the refusal", || log().lines().any(|line| line.contains("a coordinator is refused") && line.contains("c2")))
        .await;
    // A refused session is over; the agent tries again, in case it was put right.
    impostor.peer().await;
}
