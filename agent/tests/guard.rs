//! A real `baton-agent` process that guards a real process: what is exclusive does not run where the role is not, with a
//! coordinator or without one.

#[allow(dead_code, reason = "each file of tests uses a part")]
#[path = "support/coordinator.rs"]
mod support;
#[allow(dead_code, reason = "each file of tests uses a part")]
#[path = "support/daemon.rs"]
mod daemon;
#[path = "guard/unseen.rs"]
mod unseen;

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use baton_model::{
    assignment::{Health, Part},
    outcome::Outcome,
    time::Span,
};
use baton_proto::v1::{self as pb, from_agent::Message as Up, to_agent::Message as Down};
use daemon::{Daemon, assignment, lease};
use support::{
    Coordinator, Peer, order,
    world::{World, ready, until},
};

const EVERY: Span = Span(200);
const LONG: Span = Span::from_secs(60);

/// An agent whose host is primary and holds a lease, as long as it is renewed.
async fn primary(world: &mut World, coordinator: &mut Coordinator, daemon: &RefCell<Daemon>, lasts_ms: u64) -> Peer {
    let mut peer = ready(world, coordinator, 1).await;
    let primary = assignment(Part::Primary, 10, lease(lasts_ms), vec![daemon.borrow().watched(EVERY)]);
    peer.renew(1, std::slice::from_ref(&primary));
    peer.assign((1, 10), &[primary]).await;
    peer.assigned(10).await;
    peer.until("the lease", async |peer| peer.tenures.iter().any(|tenure| tenure.lease_left.0 > 0)).await;
    peer
}

#[tokio::test]
async fn what_is_started_by_hand_where_the_role_is_not_is_stopped_and_told() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let standby = assignment(Part::Standby, 10, None, vec![daemon.borrow().watched(EVERY)]);
    peer.assign((1, 10), &[standby]).await;
    peer.assigned(10).await;
    peer.until("quiet", async |peer| peer.tenures.iter().any(|tenure| tenure.quiet && tenure.index == 10)).await;
    for round in 1..=2 {
        daemon.borrow_mut().start();
        peer.until("its end", async |_| !daemon.borrow_mut().runs()).await;
        peer.until("the deed", async |peer| {
            let mut numbers: Vec<u64> = peer.deeds.iter().map(|deed| deed.number).collect();
            numbers.dedup();
            numbers.len() >= round
        })
        .await;
    }
    let deed = peer.deeds.last().expect("a deed");
    assert!(!deed.failed && deed.what.contains("stopped worker: it ran on db1"), "{deed:?}");
    peer.until("stopped", async |peer| peer.seen.iter().any(|seen| seen.health == Health::Stopped)).await;
}

#[tokio::test]
async fn a_lease_that_is_over_stops_what_runs_without_any_network() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let primary = assignment(Part::Primary, 10, lease(3_000), vec![daemon.borrow().watched(Span::from_secs(3600))]);
    peer.renew(1, std::slice::from_ref(&primary));
    peer.assign((1, 10), &[primary]).await;
    peer.assigned(10).await;
    peer.until("the lease", async |peer| peer.tenures.iter().any(|tenure| tenure.lease_left.0 > 0)).await;
    daemon.borrow_mut().start();
    // As long as it is renewed it goes on, and much longer than one lease.
    let begun = Instant::now();
    peer.until("some leases", async |_| begun.elapsed().as_millis() > 7_000).await;
    assert!(daemon.borrow_mut().runs());
    drop(peer);
    drop(coordinator);
    until("its end", || !daemon.borrow_mut().runs()).await;
}

#[tokio::test]
async fn an_agent_that_comes_back_without_a_coordinator_stops_what_it_guards_by_what_is_on_its_disk() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = primary(&mut world, &mut coordinator, &daemon, 60_000).await;
    daemon.borrow_mut().start();
    peer.until("healthy", async |peer| peer.seen.iter().any(|seen| seen.health == Health::Healthy)).await;
    world.kill();
    drop(peer);
    assert!(daemon.borrow_mut().runs(), "an agent that is dead stops nothing");
    let nobody = world.coordinator("c2").await;
    // Long before the lease of a minute could be over.
    world.start(&[&nobody]);
    until("its end", || !daemon.borrow_mut().runs()).await;
}

#[tokio::test]
async fn an_agent_that_is_told_to_end_stops_first_what_nobody_would_stop_afterwards() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = primary(&mut world, &mut coordinator, &daemon, 60_000).await;
    daemon.borrow_mut().start();
    peer.until("healthy", async |peer| peer.seen.iter().any(|seen| seen.health == Health::Healthy)).await;
    world.signal(libc::SIGTERM);
    world.ended().await;
    assert!(!daemon.borrow_mut().runs(), "it was stopped before the agent ended");
    // Whether its last session still carried the deed or not: its journal has it until somebody keeps it.
    let mut coordinator = world.coordinator("c2").await;
    let mut peer = ready(&mut world, &mut coordinator, 2).await;
    peer.until("the deed", async |peer| {
        peer.deeds.iter().any(|deed| !deed.failed && deed.what.contains("the agent was told to end"))
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_comes_back_to_a_coordinator_that_renews_touches_nothing() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let peer = primary(&mut world, &mut coordinator, &daemon, 60_000).await;
    daemon.borrow_mut().start();
    world.kill();
    let (confirms, renews) = (peer.confirms, peer.renews.clone());
    world.start(&[&coordinator]);
    let mut peer = coordinator.peer().await;
    (peer.confirms, peer.renews) = (confirms, renews);
    peer.until("a lease again", async |peer| peer.tenures.iter().any(|tenure| tenure.lease_left.0 > 0)).await;
    let begun = Instant::now();
    peer.until("the time of a first word", async |_| begun.elapsed() > Duration::from_secs(2)).await;
    assert!(daemon.borrow_mut().runs());
    assert!(peer.deeds.is_empty(), "{:?}", peer.deeds);
}

#[tokio::test]
async fn nothing_that_it_was_told_before_a_pause_is_done_after_it() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = primary(&mut world, &mut coordinator, &daemon, 3_000).await;
    daemon.borrow_mut().start();
    let script = format!("echo done >> {}", world.shown("effects"));
    let before = order("db1", "1", (1, 10), &script, LONG);
    peer.execute(&before).await;
    assert_eq!(peer.finished(&before.task).await.outcome, Outcome::Changed, "while the leader is certain");
    peer.until("healthy", async |peer| peer.seen.iter().any(|seen| seen.health == Health::Healthy)).await;

    world.signal(libc::SIGSTOP);
    let late = order("db1", "2", (1, 11), &script, LONG);
    peer.execute(&late).await;
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    assert!(daemon.borrow_mut().runs(), "nobody is there to stop it");
    world.signal(libc::SIGCONT);
    until("its end", || !daemon.borrow_mut().runs()).await;
    // The session is opened anew; and there, what is ordered again is done.
    let (confirms, renews) = (peer.confirms, peer.renews.clone());
    let mut peer = coordinator.peer().await;
    assert_eq!(world.lines("effects"), 1);
    assert!(!peer.reign(1).await.open_tasks.contains(&late.task), "it was not taken");
    (peer.confirms, peer.renews) = (confirms, renews);
    let again = order("db1", "3", (1, 12), &script, LONG);
    peer.execute(&again).await;
    assert_eq!(peer.finished(&again.task).await.outcome, Outcome::Changed);
    assert_eq!(world.lines("effects"), 2);
}

#[tokio::test]
async fn an_order_waits_until_the_leader_is_certain_and_is_refused_when_its_time_is_over() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let standby = assignment(Part::Standby, 10, lease(60_000), vec![daemon.borrow().watched(EVERY)]);
    peer.assign((1, 10), &[standby]).await;
    peer.assigned(10).await;
    let script = format!("echo done >> {}", world.shown("effects"));
    let refused = order("db1", "1", (1, 10), &script, Span(1_000));
    peer.execute(&refused).await;
    peer.accepted(&refused.task).await;
    let report = peer.finished(&refused.task).await;
    assert_eq!((report.outcome, report.fault.expect("a fault").code.as_str()), (Outcome::Refused, "BTN-0445"));
    let waits = order("db1", "2", (1, 10), &script, LONG);
    peer.execute(&waits).await;
    peer.accepted(&waits.task).await;
    let begun = Instant::now();
    peer.until("some heartbeats", async |_| begun.elapsed() > Duration::from_secs(1)).await;
    assert_eq!(world.lines("effects"), 0);
    peer.confirms = 1;
    assert_eq!(peer.finished(&waits.task).await.outcome, Outcome::Changed);
    assert_eq!(world.lines("effects"), 1);
}

#[tokio::test]
async fn an_assignment_that_is_older_or_anothers_is_not_taken() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let (mut old, mut new) = (world.coordinator("c1").await, world.coordinator("c2").await);
    world.start(&[&old, &new]);
    let (mut deposed, mut leader) = (old.peer().await, new.peer().await);
    deposed.reign(1).await;
    leader.reign(2).await;
    let of = |part, index| assignment(part, index, None, vec![daemon.borrow().watched(EVERY)]);
    leader.assign((2, 10), &[of(Part::Primary, 10)]).await;
    leader.assigned(10).await;
    daemon.borrow_mut().start();
    deposed.assign((1, 11), &[of(Part::Standby, 11)]).await;
    deposed.assign((2, 11), &[of(Part::Standby, 11)]).await;
    leader.assign((1, 11), &[of(Part::Standby, 11)]).await;
    leader.assign((2, 9), &[of(Part::Standby, 9)]).await;
    // What comes after them is taken, so they have been looked at.
    leader.assign((2, 12), &[of(Part::Primary, 12)]).await;
    leader.assigned(12).await;
    leader.until("its word", async |peer| peer.tenures.iter().any(|tenure| tenure.index == 12)).await;
    let log = || std::fs::read_to_string(world.path("log")).unwrap_or_default();
    deposed.until("refusals", async |_| log().matches("an assignment is not taken").count() == 4).await;
    assert!(daemon.borrow_mut().runs());
    for answered in deposed.log.iter().chain(&leader.log) {
        assert!(!matches!(answered, Up::Assigned(answer) if answer.index == 9 || answer.index == 11), "{answered:?}");
    }
    // And a group that is not in the list is not this host's any more.
    leader.assign((2, 13), &[]).await;
    leader.assigned(13).await;
    leader.until("nothing", async |peer| peer.tenures.is_empty()).await;
}

#[tokio::test]
async fn it_is_quiet_only_once_all_was_seen_stopped() {
    let mut world = World::new();
    let stubborn = RefCell::new(Daemon::stubborn(&mut world, "stubborn"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let of = |part, index| assignment(part, index, lease(60_000), vec![stubborn.borrow().watched(EVERY)]);
    peer.renew(1, &[of(Part::Primary, 10)]);
    peer.assign((1, 10), &[of(Part::Primary, 10)]).await;
    stubborn.borrow_mut().start();
    peer.until("serving", async |peer| {
        let healthy = peer.seen.iter().any(|seen| seen.health == Health::Healthy);
        healthy && peer.tenures.iter().any(|tenure| tenure.lease_left.0 > 0)
    })
    .await;
    peer.assign((1, 11), &[of(Part::Yielding, 11)]).await;
    // It does not heed TERM: for as long as it runs the host is not quiet. The lease ends with the word.
    peer.until("quiet", async |peer| {
        let Some(tenure) = peer.tenures.iter().find(|tenure| tenure.index == 11) else { return false };
        assert_eq!(tenure.lease_left, Span(0));
        assert!(!tenure.quiet || !stubborn.borrow_mut().runs(), "quiet, and it runs");
        tenure.quiet
    })
    .await;
}

#[tokio::test]
async fn a_deed_survives_a_restart_and_is_sent_until_it_is_kept() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let standby = assignment(Part::Standby, 10, None, vec![daemon.borrow().watched(EVERY)]);
    peer.assign((1, 10), &[standby]).await;
    peer.assigned(10).await;
    drop(peer);
    drop(coordinator);
    daemon.borrow_mut().start();
    until("its end", || !daemon.borrow_mut().runs()).await;
    let log = || std::fs::read_to_string(world.path("log")).unwrap_or_default();
    until("its account", || log().contains("stopped worker")).await;
    world.kill();

    let mut coordinator = world.coordinator("c2").await;
    let mut peer = ready(&mut world, &mut coordinator, 2).await;
    // Again and again, while nobody keeps it.
    peer.until("the deed, twice", async |peer| peer.deeds.len() >= 2).await;
    assert_eq!(peer.deeds[0], peer.deeds[1]);
    let number = peer.deeds[0].number;
    peer.send(Down::DeedsKept(pb::DeedsKept { number })).await;
    // After it was kept, only what is new comes.
    daemon.borrow_mut().start();
    peer.until("the next", async |peer| peer.deeds.iter().any(|deed| deed.number > number)).await;
    let begun = Instant::now();
    peer.until("the next again", async |_| begun.elapsed() > Duration::from_secs(4)).await;
    let first_new = peer.deeds.iter().position(|deed| deed.number > number).expect("it came");
    assert!(peer.deeds[first_new..].iter().all(|deed| deed.number > number), "{:?}", peer.deeds);
}

#[tokio::test]
async fn a_stop_that_the_policy_forbids_is_a_deed_that_failed() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    world.policy = String::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    daemon.borrow_mut().start();
    let standby = assignment(Part::Standby, 10, None, vec![daemon.borrow().watched(EVERY)]);
    peer.assign((1, 10), &[standby]).await;
    peer.until("the deed", async |peer| !peer.deeds.is_empty()).await;
    let deed = &peer.deeds[0];
    assert!(deed.failed && deed.what.contains("BTN-0403"), "{deed:?}");
    peer.until("intruding", async |peer| peer.seen.iter().any(|seen| seen.health == Health::Intruding)).await;
    assert!(daemon.borrow_mut().runs() && peer.tenures.iter().all(|tenure| !tenure.quiet));
    let begun = Instant::now();
    peer.until("many intervals", async |_| begun.elapsed() > Duration::from_secs(2)).await;
    let numbers: std::collections::BTreeSet<u64> = peer.deeds.iter().map(|deed| deed.number).collect();
    assert_eq!(numbers.len(), 1, "said once, and not at every interval");
}

#[tokio::test]
async fn what_may_run_is_asked_and_its_death_is_told() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let harmless = baton_model::assignment::Watched { exclusive: false, ..daemon.borrow().watched(EVERY) };
    peer.assign((1, 10), &[assignment(Part::Standby, 10, None, vec![harmless])]).await;
    let health = |health: Health| move |peer: &Peer| peer.seen.iter().any(|seen| seen.health == health);
    peer.until("failed", async |peer| health(Health::Failed)(peer)).await;
    assert!(peer.tenures.iter().all(|tenure| tenure.quiet), "nothing exclusive is here");
    daemon.borrow_mut().start();
    peer.until("healthy", async |peer| health(Health::Healthy)(peer)).await;
    daemon.borrow_mut().kill();
    peer.until("failed at once", async |peer| {
        assert!(!health(Health::Unknown)(peer), "a death counts at once");
        health(Health::Failed)(peer)
    })
    .await;
}

#[tokio::test]
async fn the_watchdog_is_kept_alive_while_the_agent_is_and_not_while_it_hangs() {
    use std::io::Read;
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let device = world.path("watchdog");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &device, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    let mut options = std::fs::OpenOptions::new();
    let reader = std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), libc::O_NONBLOCK)
        .open(&device)
        .expect("the reader's end");
    world.configuration = format!("[watchdog]\ndevice = {device:?}\nmode = \"required\"\n");
    let reader = RefCell::new(reader);
    let take = || {
        let mut buffer = [0; 4096];
        let length = reader.borrow_mut().read(&mut buffer).unwrap_or(0);
        buffer[..length].to_vec()
    };
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = primary(&mut world, &mut coordinator, &daemon, 60_000).await;
    for _ in 0..5 {
        peer.until("a sign of life", async |_| !take().is_empty()).await;
    }
    world.signal(libc::SIGSTOP);
    until("what was written before", || take().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(take(), b"", "an agent that hangs says nothing");
    world.signal(libc::SIGCONT);
    until("a sign of life", || !take().is_empty()).await;
    drop(peer);
    let mut peer = coordinator.peer().await;
    peer.reign(1).await;
    // Where nothing is left to stop it is closed, as the kernel wants to be told.
    let standby = assignment(Part::Standby, 11, lease(60_000), vec![daemon.borrow().watched(EVERY)]);
    peer.assign((1, 11), &[standby]).await;
    peer.until("quiet", async |peer| peer.tenures.iter().any(|tenure| tenure.quiet)).await;
    let mut last = Vec::new();
    until("the end", || {
        last.extend(take());
        last.last() == Some(&b'V')
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_ends_again_and_again_does_not_wait_for_a_first_word_each_time() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let peer = primary(&mut world, &mut coordinator, &daemon, 60_000).await;
    daemon.borrow_mut().start();
    world.kill();
    drop(peer);
    let nobody = world.coordinator("c2").await;
    let started = |world: &World| {
        let log = std::fs::read_to_string(world.path("log")).unwrap_or_default();
        log.matches("agent started").count()
    };
    for round in 2..8 {
        world.start(&[&nobody]);
        until("its start", || started(&world) == round).await;
        // Less than the time of a first word, each time.
        tokio::time::sleep(Duration::from_millis(600)).await;
        world.kill();
    }
    assert!(!daemon.borrow_mut().runs(), "six starts are not six first words");
}

/// What a load balancer reads: the status, and the body.
fn page(port: u16, path: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, body.to_owned())
}

#[tokio::test]
async fn load_balancers_are_sent_here_while_the_lease_lives_and_not_afterwards() {
    let mut world = World::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    world.configuration = format!("[http]\nlisten = \"127.0.0.1:{port}\"\n");
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = primary(&mut world, &mut coordinator, &daemon, 3_000).await;
    let group = assignment(Part::Primary, 10, lease(3_000), Vec::new()).group;
    let here = format!("/groups/{group}/primary");
    let (status, body) = page(port, &here);
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"lease_left_ms\""), "{body}");
    assert_eq!(page(port, &format!("/groups/{group}/standby")).0, 503);
    assert_eq!(page(port, "/groups/nobody/primary").0, 404);
    assert_eq!(page(port, &format!("{here}/another-host")).0, 404, "an agent speaks for its own host");
    assert_eq!(page(port, "/health").0, 200);
    let standby = assignment(Part::Standby, 11, lease(3_000), vec![daemon.borrow().watched(EVERY)]);
    peer.assign((1, 11), &[standby]).await;
    peer.assigned(11).await;
    assert_eq!(page(port, &here).0, 503);
    assert_eq!(page(port, &format!("/groups/{group}/standby")).0, 200);
    // Primary again, in another epoch, and then nobody renews: without a network it says so itself.
    let mut again = assignment(Part::Primary, 12, lease(3_000), vec![daemon.borrow().watched(EVERY)]);
    again.epoch.0 += 1;
    peer.renew(1, std::slice::from_ref(&again));
    peer.assign((1, 12), &[again]).await;
    peer.assigned(12).await;
    peer.until("the lease", async |peer| peer.tenures.iter().any(|t| t.index == 12 && t.lease_left.0 > 0)).await;
    assert_eq!(page(port, &here).0, 200);
    drop(peer);
    drop(coordinator);
    until("503", || page(port, &here).0 == 503).await;
    let (_, body) = page(port, &here);
    assert!(body.contains("its lease is over"), "{body}");
}
