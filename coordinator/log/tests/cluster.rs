//! Three nodes in one process over real gRPC: what the log promises to its users.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/disk.rs"]
mod disk;
#[path = "support/ledger.rs"]
mod ledger;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use baton_log::{Error, ProposeError, Role};
use cluster::{Cluster, LONG, block_on, propose, wait_applied, wait_leadership};

#[test]
fn proposals_reach_every_node_and_followers_name_the_leader() {
    let cluster = Cluster::of(3, |_| {});
    let leader = cluster.leader();
    let first = propose(leader.log(), b"one").expect("the leader accepts");
    let second = propose(leader.log(), b"two").expect("the leader accepts");
    assert_eq!(first.response, 1u64.to_be_bytes());
    assert_eq!(second.response, 2u64.to_be_bytes());
    assert_eq!((second.index, second.term), (first.index + 1, leader.log().leadership().borrow().term));
    for member in cluster.running() {
        wait_applied(member.log(), "both applied", |l| l.lines.len() == 2);
        let lines = member.log().with(|l| l.lines.clone());
        assert_eq!(lines, [(first.index, b"one".to_vec()), (second.index, b"two".to_vec())]);
    }
    for follower in cluster.followers() {
        let refusal = propose(follower.log(), b"three").expect_err("a follower refuses");
        assert_eq!(refusal, ProposeError::NotLeader { leader: Some(leader.node.clone()) });
        let refusal = block_on(follower.log().read_index()).expect_err("a follower refuses");
        assert_eq!(refusal, ProposeError::NotLeader { leader: Some(leader.node.clone()) });
    }
    let status = leader.log().status();
    assert_eq!(status.role, Role::Leader);
    assert_eq!(status.members.len(), 3);
    assert!(status.members.values().all(|m| m.voter));
    let again = block_on(leader.log().initialize([(leader.id, leader.node.clone())].into()));
    assert!(matches!(again, Err(Error::AlreadyInitialized)), "{again:?}");
}

#[test]
fn a_linearizable_read_shows_what_was_acknowledged_before_it() {
    let cluster = Cluster::of(3, |_| {});
    for i in 0..50u32 {
        let payload = i.to_be_bytes();
        cluster.propose(&payload);
        let leader = cluster.leader();
        block_on(leader.log().read_index()).expect("the leader reads");
        assert!(leader.log().with(|l| l.has(&payload)), "{i} was acknowledged and is not there");
    }
}

#[test]
fn a_payload_beyond_the_limit_is_refused_and_the_largest_one_is_replicated() {
    let cluster = Cluster::of(3, |o| o.payload_bytes_max = 3 * 1024 * 1024);
    let limit = 3 * 1024 * 1024;
    let refusal = propose(cluster.leader().log(), &vec![0; limit + 1]).expect_err("too large");
    assert_eq!(refusal, ProposeError::TooLarge { bytes: limit + 1, limit });
    for _ in 0..4 {
        cluster.propose(&vec![7; limit]);
    }
    for member in cluster.running() {
        wait_applied(member.log(), "four large entries", |l| {
            l.lines.iter().filter(|(_, p)| p.len() == limit).count() == 4
        });
    }
}

/// Writers propose until told to stop, wherever the leader is, and remember what was acknowledged.
fn write_until(cluster: &Mutex<Cluster>, stop: &AtomicBool, writer: u8, acknowledged: &Mutex<BTreeSet<Vec<u8>>>) {
    let mut n = 0u32;
    while !stop.load(Ordering::SeqCst) {
        let logs: Vec<_> = {
            let cluster = cluster.lock().expect("no panic");
            cluster.running().filter(|m| m.log().leadership().borrow().is_self).map(|m| m.log().clone()).collect()
        };
        for log in logs {
            n += 1;
            let payload = [&[writer][..], &n.to_be_bytes()].concat();
            if block_on(log.propose(payload.clone(), Duration::from_secs(1))).is_ok() {
                acknowledged.lock().expect("no panic").insert(payload);
            }
        }
        std::thread::yield_now();
    }
}

fn with_writers(cluster: Cluster, story: impl FnOnce(&Mutex<Cluster>, &dyn Fn(usize))) -> (Cluster, BTreeSet<Vec<u8>>) {
    let cluster = Mutex::new(cluster);
    let acknowledged = Mutex::new(BTreeSet::new());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            scope.spawn({
                let (cluster, stop, acknowledged) = (&cluster, &stop, &acknowledged);
                move || write_until(cluster, stop, writer, acknowledged)
            });
        }
        let wait_for_more = |more: usize| {
            let target = acknowledged.lock().expect("no panic").len() + more;
            let deadline = Instant::now() + LONG;
            while acknowledged.lock().expect("no panic").len() < target {
                if Instant::now() > deadline {
                    stop.store(true, Ordering::SeqCst);
                    panic!("nothing is acknowledged any more");
                }
                std::thread::yield_now();
            }
        };
        story(&cluster, &wait_for_more);
        stop.store(true, Ordering::SeqCst);
    });
    (cluster.into_inner().expect("no panic"), acknowledged.into_inner().expect("no panic"))
}

fn assert_all_there(cluster: &Cluster, acknowledged: &BTreeSet<Vec<u8>>) {
    let leader = cluster.leader();
    block_on(leader.log().read_index()).expect("the leader reads");
    let there: BTreeSet<Vec<u8>> = leader.log().with(|l| l.lines.iter().map(|(_, p)| p.clone()).collect());
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "lost {} of {} acknowledged", lost.len(), acknowledged.len());
    let index = *leader.log().applied().borrow();
    let lines = leader.log().with(|l| l.lines.clone());
    for member in cluster.running() {
        wait_applied(member.log(), "the same state", |l| l.lines.len() >= lines.len());
        let theirs = member.log().with(|l| l.lines.iter().filter(|(i, _)| *i <= index).cloned().collect::<Vec<_>>());
        let ours: Vec<_> = lines.iter().filter(|(i, _)| *i <= index).cloned().collect();
        assert!(theirs == ours, "{} has another history", member.node.name);
    }
}

#[test]
fn the_leaders_death_loses_nothing_that_was_acknowledged() {
    let cluster = Cluster::on_disks(3, |_| {});
    let (cluster, acknowledged) = with_writers(cluster, |cluster, wait_for_more| {
        for _ in 0..2 {
            wait_for_more(50);
            let killed = {
                let mut cluster = cluster.lock().expect("no panic");
                let leader = cluster.leader().id;
                cluster.member_mut(leader).kill();
                leader
            };
            wait_for_more(50);
            cluster.lock().expect("no panic").member_mut(killed).start();
        }
        wait_for_more(50);
    });
    assert!(acknowledged.len() >= 250);
    assert_all_there(&cluster, &acknowledged);
}

#[test]
fn a_power_cut_of_all_nodes_loses_nothing_that_was_acknowledged() {
    let cluster = Cluster::on_disks(3, |o| {
        o.snapshot_every = 60;
        o.keep_entries = 20;
    });
    let (cluster, acknowledged) = with_writers(cluster, |cluster, wait_for_more| {
        for _ in 0..3 {
            wait_for_more(100);
            let mut cluster = cluster.lock().expect("no panic");
            for member in &mut cluster.members {
                member.kill();
            }
            cluster.start_all();
        }
        wait_for_more(20);
    });
    assert!(acknowledged.len() >= 320);
    assert_all_there(&cluster, &acknowledged);
    assert!(cluster.leader().log().status().snapshot_index > 0, "no snapshot was taken, so none was tested");
}

#[test]
fn a_follower_behind_a_purged_log_gets_a_snapshot() {
    let mut cluster = Cluster::of(3, |o| {
        o.snapshot_every = 20;
        o.keep_entries = 5;
    });
    let follower = cluster.followers()[0].id;
    cluster.propose(b"before");
    cluster.member_mut(follower).kill();
    // A snapshot of several parts.
    for i in 0..60u8 {
        cluster.propose(&[i; 100_000]);
    }
    let deadline = Instant::now() + LONG;
    while cluster.leader().log().status().purged_index < 30 {
        assert!(Instant::now() < deadline, "the log is never purged");
        std::thread::yield_now();
    }
    cluster.member_mut(follower).start();
    let last = cluster.propose(b"after");
    let member = cluster.member(follower);
    wait_applied(member.log(), "caught up", |l| l.lines.last().is_some_and(|(index, _)| *index == last.index));
    assert!(member.log().status().snapshot_index > 30, "it caught up without a snapshot");
    assert!(member.log().with(|l| l.lines.clone()) == cluster.leader().log().with(|l| l.lines.clone()));

    // The snapshot it was sent is durable: it starts from it.
    cluster.member_mut(follower).stop();
    cluster.member_mut(follower).start();
    let last = cluster.propose(b"at the end");
    wait_applied(cluster.member(follower).log(), "caught up again", |l| {
        l.lines.len() == 63 && l.lines.last().is_some_and(|(index, _)| *index == last.index)
    });
}

#[test]
fn a_graceful_stop_hands_the_leadership_over() {
    let mut cluster = Cluster::of(3, |_| {});
    for _ in 0..3 {
        cluster.propose(b"something");
        let leader = cluster.leader();
        let (id, before) = (leader.id, leader.log().leadership().borrow().clone());
        cluster.member_mut(id).stop();
        // Handed over, not elected after a timeout: when the stop returns there is a new leader, one term later. The other
        // follower may not have heard of it yet.
        let successor =
            cluster.running().map(|m| m.log().leadership().borrow().clone()).max_by_key(|l| (l.term, l.leader_id));
        let successor = successor.expect("two nodes run");
        assert_eq!(successor.term, before.term + 1);
        assert!(successor.leader_id.is_some_and(|leader| leader != id), "{successor:?}");
        cluster.propose(b"goes on");
        cluster.member_mut(id).start();
        wait_leadership(cluster.member(id).log(), "the node is back", |l| l.leader_id.is_some());
    }
}

#[test]
fn a_graceful_restart_of_all_nodes_keeps_everything() {
    let mut cluster = Cluster::of(3, |_| {});
    for i in 0..20u8 {
        cluster.propose(&[i]);
    }
    for member in &mut cluster.members {
        member.stop();
    }
    cluster.start_all();
    let leader = cluster.leader();
    block_on(leader.log().read_index()).expect("the leader reads");
    let there: Vec<Vec<u8>> = leader.log().with(|l| l.lines.iter().map(|(_, p)| p.clone()).collect());
    assert_eq!(there, (0..20u8).map(|i| vec![i]).collect::<Vec<_>>());
}

#[test]
fn leadership_moves_to_the_node_that_is_asked_for() {
    let cluster = Cluster::of(3, |_| {});
    cluster.propose(b"something");
    for to in [1, 2, 3, 1] {
        let leader = cluster.leader();
        if leader.id == to {
            continue;
        }
        // A follower that has not caught up refuses; then it is asked again.
        let deadline = Instant::now() + LONG;
        while let Err(e) = block_on(cluster.leader().log().transfer_leadership(Some(to))) {
            assert!(Instant::now() < deadline, "never moved: {e}");
        }
        wait_leadership(cluster.member(to).log(), "it leads", |l| l.ready);
    }
    let follower = cluster.followers()[0];
    let refusal = block_on(follower.log().transfer_leadership(None));
    assert!(matches!(refusal, Err(Error::NotLeader { leader: Some(_) })), "{refusal:?}");
}

#[test]
fn a_restarted_leader_leads_in_a_new_term() {
    let mut cluster = Cluster::on_disks(1, |_| {});
    cluster.propose(b"something");
    let before = cluster.leader().log().leadership().borrow().term;
    cluster.member_mut(1).kill();
    cluster.member_mut(1).start();
    let after = wait_leadership(cluster.member(1).log(), "it leads again", |l| l.ready).term;
    assert!(
        after > before,
        "term {after} after {before}: an order of the first process would still carry a valid fence"
    );
    assert!(cluster.member(1).log().with(|l| l.has(b"something")), "ready before the state is complete");
}

#[test]
fn a_leader_without_a_majority_neither_reads_nor_commits() {
    let mut cluster = Cluster::of(3, |o| o.read_deadline_ms = 800);
    cluster.propose(b"something");
    let leader = cluster.leader().id;
    let followers: Vec<u64> = cluster.followers().iter().map(|m| m.id).collect();
    for id in &followers {
        cluster.member_mut(*id).kill();
    }
    let log = cluster.member(leader).log();
    let read = block_on(log.read_index()).expect_err("nobody confirms the leadership");
    assert!(matches!(read, ProposeError::NoQuorum | ProposeError::NotLeader { .. }), "{read:?}");
    let write = block_on(log.propose(b"lonely".to_vec(), Duration::from_millis(800))).expect_err("nobody has it");
    assert_ne!(write, ProposeError::Stopped(String::new()));
    assert!(!log.with(|l| l.has(b"lonely")), "applied without a majority");
}

#[test]
fn a_node_joins_as_a_learner_and_replaces_a_voter() {
    let mut cluster = Cluster::on_disks(3, |_| {});
    cluster.propose(b"before it came");
    let node = cluster.add(4).node.clone();
    let leader = cluster.leader();
    block_on(leader.log().add_learner(4, node, LONG)).expect("it joins");
    wait_applied(cluster.member(4).log(), "it has caught up", |l| l.has(b"before it came"));
    let leaves = cluster.followers().iter().find(|m| m.id != 4).expect("a follower").id;
    let voters: BTreeSet<u64> = [1, 2, 3, 4].into_iter().filter(|id| *id != leaves).collect();
    block_on(cluster.leader().log().change_members(voters.clone(), LONG)).expect("it votes");
    let members = cluster.leader().log().status().members;
    assert_eq!(members.keys().copied().collect::<BTreeSet<_>>(), voters);
    assert!(members.values().all(|m| m.voter));
}

#[test]
fn a_node_that_is_down_does_not_make_the_leader_spin() {
    let mut cluster = Cluster::of(3, |_| {});
    let down = cluster.followers()[0].id;
    cluster.member_mut(down).kill();
    cluster.propose(b"something");
    // Whatever connects to its address now is the leader, trying.
    let address = cluster.member(down).node.address.clone();
    let deadline = Instant::now() + LONG;
    let listener = loop {
        match std::net::TcpListener::bind(&address) {
            Ok(listener) => break listener,
            Err(e) => assert!(Instant::now() < deadline, "bind {address}: {e}"),
        }
    };
    let began = Instant::now();
    for _ in 0..30 {
        drop(listener.accept().expect("the leader keeps trying"));
    }
    // A heartbeat and a retry every now and then: about fifteen a second. A spin makes thousands.
    assert!(began.elapsed() > Duration::from_millis(600), "30 connections in {:?}", began.elapsed());
}
