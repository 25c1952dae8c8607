//! What a planned switchover never does: speak to a database while POM runs, and send FORCE.

use std::{process::Stdio, time::Duration};

use baton_lab::{
    pom::{AVAILABILITY_GROUP, GROUP, POM_SERVERS, Pom, SERVERS, SERVICE},
    sqlserver::{
        self,
        control::{StatementFault, What},
    },
    story::{command, pom::milliseconds},
};

use crate::driver::{begin, drive, from_now, instance, nothing, pom, recovered};

/// When each POM server's service ended last, by its own journal.
fn last_stops(pom: &Pom) -> Vec<i64> {
    let stops = |machine: &str| {
        let effects = pom.fleet.effects(machine).expect("its journal");
        effects.iter().filter(|effect| effect.verb == "stop").map(milliseconds).max()
    };
    POM_SERVERS.iter().map(|server| stops(server.0).expect("it was stopped")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_database_is_told_anything_before_pom_is_stopped_on_every_server() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut pom = pom(directory.path(), true).await;
    // One server hangs: its script ends it the hard way after ten seconds.
    assert!(pom.fleet.freeze("pom3", SERVICE, true));
    let mut orders = from_now(&pom);
    let run = begin(&pom, "db2");
    let way =
        drive(&mut pom, &mut orders, &run, async |_, _| nothing().await, async |_, why| panic!("it halts: {why}"))
            .await;
    assert_eq!(way.view["phase"], "succeeded", "{way:#?}");
    let stops = last_stops(&pom);
    let (first, last) = (*stops.iter().min().expect("three"), *stops.iter().max().expect("three"));
    assert!(last - first > 5_000, "one server hung: {stops:?}");
    let mut told = 0;
    for (_, name, _) in SERVERS {
        let by_baton = pom.instances.asked(name, "alter ").into_iter().filter(|one| one.login == "baton");
        for one in by_baton {
            assert!(
                one.at > last,
                "{name} was told {:?} {} ms before the last POM server had stopped",
                one.text,
                last - one.at
            );
            told += 1;
        }
    }
    assert_eq!(told, 1, "the failover itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switchover_never_sends_force_whatever_goes_wrong_at_the_failover() {
    let directory = tempfile::tempdir().expect("a folder");
    // Nothing is paused afterwards here: the runbook works that way too, and the role can go to and fro.
    let mut pom = pom(directory.path(), false).await;
    let faults = [
        ("error, though it happened", Some(What::FailAfterEffect { number: 41131, text: None })),
        ("error, and nothing happened", Some(What::Refuse { number: 41142, text: None })),
        ("cut before", Some(What::DropBefore)),
        ("cut after", Some(What::DropAfter)),
        ("dead before", Some(What::DieBefore)),
        ("dead after", Some(What::DieAfter)),
        ("no answer for a while", Some(What::AnswerLate { ms: 1500 })),
        ("the link between both is cut", None),
    ];
    for (round, (words, what)) in faults.into_iter().enumerate() {
        let (old, new, member) = if round % 2 == 0 { ("pomdb1", "pomdb2", "db2") } else { ("pomdb2", "pomdb1", "db1") };
        let control = pom.instances.control().clone();
        if let Some(what) = &what {
            let fault = StatementFault {
                instance: Some(instance(new).to_owned()),
                statement: FAILOVER.to_owned(),
                times: Some(1),
                what: what.clone(),
            };
            control.add_fault(fault).expect("a fault");
        }
        let mut orders = from_now(&pom);
        let run = begin(&pom, member);
        // What died is started again, as an init system would.
        let revived = matches!(what, Some(What::DieBefore | What::DieAfter)).then(|| revive(&pom, new));
        let way = drive(
            &mut pom,
            &mut orders,
            &run,
            async |pom, order| {
                // Through the failover; the step after it waits for the previous primary's word.
                match order.step.as_str() {
                    "3" if what.is_none() => {
                        pom.instances.control().cut_link(instance(old), instance(new)).expect("cut");
                    }
                    "4" => pom.instances.control().heal().expect("healed"),
                    _ => {}
                }
            },
            async |pom, why| {
                eprintln!("{words}: {why}");
                pom.instances.control().heal().expect("healed");
                recovered(pom, new).await;
                recovered(pom, old).await;
            },
        )
        .await;
        drop(revived);
        control.heal().expect("healed");
        for machine in [old, new] {
            if !pom.fleet.runs(machine, sqlserver::SERVICE) {
                recovered(&pom, machine).await;
            }
        }
        assert_eq!(way.view["phase"], "succeeded", "{words}: {way:#?}");
        let forced: usize = SERVERS.iter().map(|server| pom.instances.asked(server.1, "force").len()).sum();
        assert_eq!(forced, 0, "{words}: FORCE was sent");
        assert_eq!(control.primaries(AVAILABILITY_GROUP).expect("the truth"), [instance(new)], "{words}");
        let group = command::group(&pom.cluster, GROUP).expect("status");
        assert_eq!((&group["primary"], &group["limits"]), (&member.into(), &serde_json::json!([])), "{words}: {group}");
        eprintln!("{words}: {} halts", way.halts.len());
    }
    assert!(sent(&pom) >= 8, "every round sent its failover");
}

/// Starts an instance again as soon as it is dead, until dropped.
fn revive(pom: &Pom, machine: &str) -> tokio_util::task::AbortOnDropHandle<()> {
    let script = pom.fleet.machine(machine).init_scripts().join(sqlserver::SERVICE);
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let asked = tokio::process::Command::new(&script).arg("status").stdout(Stdio::null()).status().await;
            // 1: dead, but its pid file is there.
            if asked.is_ok_and(|status| status.code() == Some(1)) {
                let started = tokio::process::Command::new(&script).arg("start").stdout(Stdio::null()).status().await;
                drop(started);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }))
}

/// What the action sends, and nothing else.
const FAILOVER: &str = "availability group [pom] failover";

/// How often it was sent.
fn sent(pom: &Pom) -> usize {
    SERVERS.iter().map(|server| pom.instances.asked(server.1, FAILOVER).len()).sum()
}
