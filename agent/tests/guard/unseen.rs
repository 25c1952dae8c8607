//! What must not run and cannot be looked at: it is stopped all the same, and what is not there intrudes nowhere.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use baton_model::{
    assignment::{Health, Part, Stop, Watched},
    group::ComponentProbe,
    time::Span,
};

use crate::{
    EVERY,
    daemon::{Daemon, assignment, lease},
    support::{
        Peer,
        world::{World, ready, until},
    },
};

#[tokio::test]
async fn what_is_to_stop_is_stopped_though_its_condition_cannot_be_started() {
    is_stopped_whatever(|nowhere| serde_json::json!({ "argv": [nowhere] })).await;
}

#[tokio::test]
async fn what_is_to_stop_is_stopped_though_its_conditions_secret_cannot_be_had() {
    // The policy allows it, and nobody has put it there.
    let secret = serde_json::json!({ "pieces": [{ "secret": "fdb" }] });
    is_stopped_whatever(|_| serde_json::json!({ "argv": ["/bin/sh", "-c", "exit 1"], "environment": { "P": secret } }))
        .await;
}

/// `unless` is given the path of a program that is not there.
async fn is_stopped_whatever(unless: impl Fn(&str) -> serde_json::Value) {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let nowhere = missing_program(&mut world);
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let stop = Some(kill_unless(daemon.borrow_mut().start(), unless(&nowhere)));
    let watched = Watched { stop, ..daemon.borrow().watched(EVERY) };
    peer.assign((1, 10), &[assignment(Part::Standby, 10, None, vec![watched])]).await;
    peer.until("its end", async |_| !daemon.borrow_mut().runs()).await;
    let quiet = |peer: &Peer| peer.tenures.iter().any(|tenure| tenure.quiet);
    peer.until("quiet", async |peer| quiet(peer)).await;
    assert!(peer.deeds.iter().all(|deed| !deed.failed), "{:?}", peer.deeds);
    // It stays so, although no look ever sees it.
    let begun = Instant::now();
    peer.until("many intervals", async |peer| {
        assert!(quiet(peer), "{:?}", peer.seen);
        begun.elapsed() > Duration::from_secs(2)
    })
    .await;
}

#[tokio::test]
async fn a_probe_that_hangs_holds_up_no_stop_once_a_lease_is_over() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let nowhere = missing_program(&mut world);
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let pid = daemon.borrow_mut().start();
    // It gives no answer for as long as what is to be stopped lives.
    let asked = world.shown("asked");
    let hangs = format!("echo asked >> {asked}; exec /usr/bin/tail --pid={pid} -f /dev/null");
    let hangs = serde_json::json!({ "argv": ["/bin/sh", "-c", hangs] });
    let watched = Watched {
        probe: Ok(ComponentProbe::Command(serde_json::from_value(hangs).expect("a command"))),
        timeout: Span::from_secs(3600),
        stop: Some(kill_unless(pid, serde_json::json!({ "argv": [nowhere] }))),
        ..daemon.borrow().watched(EVERY)
    };
    let primary = assignment(Part::Primary, 10, lease(3_000), vec![watched]);
    peer.renew(1, std::slice::from_ref(&primary));
    peer.assign((1, 10), &[primary]).await;
    peer.until("the lease, and a probe", async |peer| {
        world.lines("asked") > 0 && peer.tenures.iter().any(|tenure| tenure.lease_left.0 > 0)
    })
    .await;
    assert!(daemon.borrow_mut().runs());
    drop(peer);
    drop(coordinator);
    until("its end", || !daemon.borrow_mut().runs()).await;
    assert!(world.lines("asked") > 1, "it was asked once more when the lease was over");
}

/// Allowed, and not there.
fn missing_program(world: &mut World) -> String {
    let nowhere = world.shown("nowhere");
    world.policy = world.policy.replace("programs = [", &format!("programs = ['{nowhere}', "));
    nowhere
}

fn kill_unless(pid: u32, unless: serde_json::Value) -> Stop {
    let params = serde_json::json!({ "argv": ["/bin/sh", "-c", format!("kill -9 {pid}")], "unless": unless });
    Stop { action: "exec.run".into(), params }
}

/// A unit that this host has not, as where the product is not installed.
#[tokio::test]
async fn what_cannot_be_seen_and_cannot_be_stopped_intrudes_nowhere() {
    let mut world = World::new();
    world.policy += "services = ['baton-nowhere']\n";
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let service = serde_json::json!({ "name": "baton-nowhere" });
    let watched = Watched {
        component: "worker".parse().expect("a name"),
        probe: Ok(ComponentProbe::Service(serde_json::from_value(service.clone()).expect("a selector"))),
        every: EVERY,
        timeout: Span::from_secs(2),
        checks: 3,
        exclusive: true,
        stop: Some(Stop { action: "service.stop".into(), params: service }),
    };
    peer.assign((1, 10), &[assignment(Part::Standby, 10, None, vec![watched])]).await;
    peer.until("a look", async |peer| !peer.seen.is_empty()).await;
    let begun = Instant::now();
    peer.until("many intervals", async |peer| {
        assert!(peer.seen.iter().all(|seen| seen.health == Health::Unknown), "{:?}", peer.seen);
        begun.elapsed() > Duration::from_secs(2)
    })
    .await;
    assert!(peer.deeds.is_empty(), "{:?}", peer.deeds);
}
