//! Tables: a state, and what follows.

use super::super::state::*;
use super::*;

const DATABASES: [&str; 2] = ["db1", "db2"];

type Change = Box<dyn Fn(&mut Replica)>;

/// A group of S1 (primary), S2 (synchronous), S3 (asynchronous), all well; the action is about S2.
struct World {
    cluster: Cluster,
    silent: Vec<&'static str>,
    change: Vec<Change>,
    about: &'static str,
}

impl World {
    fn new() -> Self {
        Self { cluster: Cluster::Wsfc, silent: Vec::new(), change: Vec::new(), about: "S2" }
    }
    fn cluster(mut self, cluster: Cluster) -> Self {
        self.cluster = cluster;
        self
    }
    fn about(mut self, name: &'static str) -> Self {
        self.about = name;
        self
    }
    fn silent(mut self, name: &'static str) -> Self {
        self.silent.push(name);
        self
    }
    fn with(mut self, name: &'static str, change: impl Fn(&mut Replica) + 'static) -> Self {
        self.change.push(Box::new(move |replica| {
            if replica.name == name {
                change(replica);
            }
        }));
        self
    }
    /// The primary is gone, and the others have noticed.
    fn leaderless(self) -> Self {
        let cut = |replica: &mut Replica| {
            replica.connected = Some(false);
            for copy in replica.copies.iter_mut() {
                copy.movement = Some(Movement::NotSynchronizing);
            }
        };
        self.silent("S1").with("S2", cut).with("S3", cut)
    }

    fn state(&self) -> GroupState {
        let mut names = vec!["S1", "S2", "S3"];
        names.sort_by_key(|name| *name != self.about);
        let told = names.into_iter().map(|name| {
            let told = if self.silent.contains(&name) {
                Told::Silent(Fault::new("BTN-0601", format!("cannot connect to {name}"), "start it"))
            } else {
                let mut replica = replica(name, self.cluster);
                for change in &self.change {
                    change(&mut replica);
                }
                Told::Said(Box::new(replica))
            };
            (name.to_owned(), told)
        });
        GroupState { group: "ag1".to_owned(), told: told.collect() }
    }
}

fn movement(name: &str) -> Movement {
    if name == "S3" { Movement::Synchronizing } else { Movement::Synchronized }
}

fn copy(replica: &str, database: &str, local: bool) -> Copy {
    Copy {
        database: database.to_owned(),
        replica: replica.to_owned(),
        local,
        movement: Some(movement(replica)),
        suspended: Some(false),
        reason: None,
        state: Some("ONLINE"),
        hardened: Some(200),
        end_of_log: Some(200),
        recovery: None,
        last_commit: None,
        send_queue_kb: Some(0),
        send_rate_kb: Some(0),
        redo_queue_kb: Some(0),
    }
}

fn replica(name: &str, cluster: Cluster) -> Replica {
    let sees: &[&str] = if name == "S1" { &["S1", "S2", "S3"] } else { &[name] };
    let copies = sees.iter().flat_map(|of| DATABASES.map(|database| copy(of, database, *of == name)));
    let memberships = ["S1", "S2", "S3"].iter().flat_map(|of| {
        DATABASES.map(|database| Membership {
            database: database.to_owned(),
            replica: (*of).to_owned(),
            ready: Some(*of != "S3"),
            joined: Some(true),
        })
    });
    let mode = |name: &str| {
        let availability = if name == "S3" { Availability::Asynchronous } else { Availability::Synchronous };
        (name.to_owned(), Mode { availability: Some(availability), failover: Some(Failover::Manual) })
    };
    Replica {
        name: name.to_owned(),
        cluster,
        role: if name == "S1" { Role::Primary } else { Role::Secondary },
        operation: Some(Operation::Online),
        connected: Some(true),
        health: Some("HEALTHY"),
        primary: Some("S1".to_owned()),
        modes: ["S1", "S2", "S3"].map(mode).into_iter().collect(),
        databases: DATABASES.map(str::to_owned).to_vec(),
        copies: copies.collect(),
        memberships: memberships.collect(),
    }
}

fn suspend(reason: &'static str) -> impl Fn(&mut Replica) {
    move |replica| {
        for copy in replica.copies.iter_mut().filter(|copy| copy.database == "db2" && copy.local) {
            copy.suspended = Some(true);
            copy.reason = Some(reason.to_owned());
            copy.movement = Some(Movement::NotSynchronizing);
        }
    }
}

fn promote(replica: &mut Replica) {
    replica.role = Role::Primary;
}

fn demote(replica: &mut Replica) {
    replica.role = Role::Secondary;
}

/// `ready S1>S2`, `there`, `between`, `not BTN-0633`, `refused BTN-0630`.
fn word(verdict: Result<Way, Fault>) -> String {
    match verdict {
        Ok(Way::Ready(start)) => format!("ready {}>{}", start.from.unwrap_or_else(|| "-".to_owned()), start.target),
        Ok(Way::There(_)) => "there".to_owned(),
        Ok(Way::Between(_)) => "between".to_owned(),
        Ok(Way::NotReady(fault)) => format!("not {}", fault.code),
        Err(fault) => format!("refused {}", fault.code),
    }
}

#[test]
fn a_planned_failover_is_sent_only_where_nothing_can_be_lost() {
    let pending = |replica: &mut Replica| {
        replica.role = Role::Resolving;
        replica.operation = Some(Operation::PendingFailover);
    };
    let recovering = |replica: &mut Replica| {
        promote(replica);
        replica.copies[0].state = Some("RECOVERING");
    };
    let stale = |replica: &mut Replica| {
        replica.memberships.iter_mut().filter(|one| one.replica == "S2").for_each(|one| one.ready = Some(false));
    };
    let report_behind = |replica: &mut Replica| {
        replica
            .copies
            .iter_mut()
            .filter(|copy| copy.replica == "S2")
            .for_each(|copy| copy.movement = Some(Movement::Synchronizing));
    };
    let asynchronous = |replica: &mut Replica| {
        replica.modes.get_mut("S1").expect("S1").availability = Some(Availability::Asynchronous);
    };
    let table: Vec<(&str, World, &str)> = vec![
        ("all is well", World::new(), "ready S1>S2"),
        ("Pacemaker's", World::new().cluster(Cluster::External), "ready S1>S2"),
        ("only we cannot reach the primary", World::new().silent("S1"), "ready ->S2"),
        ("nor Pacemaker's, whom nobody demotes", World::new().cluster(Cluster::External).silent("S1"), "not BTN-0633"),
        ("Pacemaker's is dead", World::new().cluster(Cluster::External).leaderless(), "ready ->S2"),
        ("cluster type none", World::new().cluster(Cluster::None), "refused BTN-0634"),
        ("cluster type none without its primary", World::new().cluster(Cluster::None).leaderless(), "refused BTN-0634"),
        ("the primary itself", World::new().about("S1"), "there"),
        ("cluster type none and primary already", World::new().cluster(Cluster::None).about("S1"), "there"),
        ("an asynchronous target", World::new().about("S3"), "not BTN-0633"),
        ("an asynchronous primary", World::new().with("S1", asynchronous), "not BTN-0633"),
        ("a suspended copy", World::new().with("S2", suspend("SUSPEND_FROM_USER")), "not BTN-0633"),
        ("the primary knows better", World::new().with("S1", report_behind), "not BTN-0633"),
        ("a copy that has not joined", World::new().with("S2", |replica| replica.copies.clear()), "not BTN-0633"),
        ("two primaries", World::new().with("S2", promote), "refused BTN-0630"),
        ("two other primaries", World::new().with("S3", promote), "refused BTN-0630"),
        ("a dead primary, ready copies", World::new().leaderless(), "ready ->S2"),
        ("a dead primary, stale copies", World::new().leaderless().with("S2", stale), "not BTN-0633"),
        ("a target that cannot be asked", World::new().silent("S2"), "refused BTN-0601"),
        ("under way", World::new().with("S1", demote).with("S2", pending), "between"),
        ("databases still recovering", World::new().with("S1", demote).with("S2", recovering), "between"),
    ];
    for (name, world, expected) in table {
        assert_eq!(word(planned(&world.state())), expected, "{name}");
    }
}

#[test]
fn force_is_refused_wherever_it_is_not_needed_or_makes_two_primaries() {
    let broken = |movement: Movement| move |replica: &mut Replica| replica.copies[0].movement = Some(movement);
    let suspect = |replica: &mut Replica| replica.copies[0].state = Some("SUSPECT");
    let pending = |replica: &mut Replica| replica.copies[0].state = Some("RECOVERY_PENDING");
    let follow = |replica: &mut Replica| replica.connected = Some(true);
    let unreachable = World::new().silent("S1");
    let table: Vec<(&str, World, &str)> = vec![
        ("a planned one works", World::new(), "refused BTN-0638"),
        ("the primary answers, the target lags", World::new().about("S3"), "refused BTN-0639"),
        ("the primary answers, cluster type none", World::new().cluster(Cluster::None), "refused BTN-0639"),
        ("only we cannot reach the primary, synchronized", unreachable, "not BTN-0638"),
        ("only we cannot reach the primary, lagging", World::new().silent("S1").about("S3"), "not BTN-0639"),
        ("only we cannot reach it, none", World::new().silent("S1").cluster(Cluster::None), "not BTN-0639"),
        ("a dead primary", World::new().leaderless(), "ready ->S2"),
        ("a dead primary, asynchronous target", World::new().leaderless().about("S3"), "ready ->S3"),
        ("a dead primary, none", World::new().leaderless().cluster(Cluster::None), "ready ->S2"),
        ("a primary that another one still follows", World::new().leaderless().with("S3", follow), "not BTN-0639"),
        ("the same, lagging", World::new().leaderless().about("S3").with("S2", follow), "not BTN-0639"),
        ("initializing", World::new().leaderless().with("S2", broken(Movement::Initializing)), "refused BTN-0640"),
        ("reverting", World::new().leaderless().with("S2", broken(Movement::Reverting)), "refused BTN-0640"),
        ("suspect", World::new().leaderless().with("S2", suspect), "refused BTN-0640"),
        ("recovery pending", World::new().leaderless().with("S2", pending), "refused BTN-0640"),
        ("two primaries", World::new().with("S3", promote), "refused BTN-0630"),
        ("primary already", World::new().silent("S1").with("S2", promote), "there"),
        ("another one took over", World::new().silent("S1").with("S3", promote), "refused BTN-0639"),
    ];
    for (name, world, expected) in table {
        assert_eq!(word(forced(&world.state())), expected, "{name}");
    }
}

#[test]
fn a_change_counts_when_everybody_says_so() {
    let resolving = |replica: &mut Replica| replica.role = Role::Resolving;
    let opening = |replica: &mut Replica| {
        promote(replica);
        replica.operation = Some(Operation::Pending);
    };
    let swapped = || World::new().with("S1", demote).with("S2", promote);
    let table: Vec<(&str, World, &str)> = vec![
        ("as before", World::new(), "untouched"),
        ("the old one is going", World::new().with("S1", resolving), "coming"),
        ("nobody is primary any more", World::new().with("S1", demote), "coming"),
        ("both, for a moment", World::new().with("S2", promote), "coming"),
        ("not open yet", World::new().with("S1", demote).with("S2", opening), "coming"),
        ("done", swapped(), "there"),
        ("done, and the old one is gone", World::new().silent("S1").with("S2", promote), "there"),
        ("done, and the old one is resolving", World::new().with("S1", resolving).with("S2", promote), "coming"),
        ("a third one says so too", swapped().with("S3", promote), "coming"),
        ("the target cannot be asked", World::new().silent("S2"), "coming"),
        ("the old one is gone, nothing came", World::new().silent("S1"), "untouched"),
    ];
    for (name, world, expected) in table {
        let word = match after(&world.state(), "S2", Some("S1")) {
            After::There(_) => "there",
            After::Coming(_) => "coming",
            After::Untouched(_) => "untouched",
        };
        assert_eq!(word, expected, "{name}");
    }
}

#[test]
fn two_primaries_are_named_and_stop_whatever_was_asked() {
    let state = World::new().with("S2", promote).state();
    let fault = two_primaries(&state).expect("two");
    assert!(fault.message.contains("S1") && fault.message.contains("S2"), "{fault}");
    for code in [
        planned(&state).expect_err("stopped").code,
        forced(&state).expect_err("stopped").code,
        synchronized(&state, true).expect_err("stopped").code,
        copies(&state, &[]).expect_err("stopped").code,
        paused(&state, &[]).expect_err("stopped").code,
    ] {
        assert_eq!(code, "BTN-0630");
    }
    assert_eq!(two_primaries(&World::new().state()), None);
}

#[test]
fn waiting_in_vain_is_said_at_once() {
    let behind = |replica: &mut Replica| {
        for copy in replica.copies.iter_mut().filter(|copy| copy.replica == "S2") {
            copy.movement = Some(Movement::Synchronizing);
            copy.send_queue_kb = Some(if copy.database == "db1" { 10 } else { 4000 });
            copy.send_rate_kb = Some(100);
        }
    };
    let unready = |replica: &mut Replica| replica.memberships.iter_mut().for_each(|one| one.ready = Some(false));
    let table: Vec<(&str, World, bool, &str)> = vec![
        ("synchronized", World::new(), true, "holds"),
        ("synchronizing is enough", World::new().about("S3"), false, "holds"),
        ("asynchronous never is", World::new().about("S3"), true, "never"),
        ("the primary itself", World::new().about("S1"), true, "holds"),
        ("behind", World::new().with("S1", behind), true, "waits Some(4000) Some(100)"),
        ("behind, by the copy's own word", World::new().with("S2", behind), true, "waits Some(0) Some(0)"),
        ("not ready by the cluster's store", World::new().with("S1", unready), true, "waits None None"),
        ("suspended", World::new().with("S2", suspend("SUSPEND_FROM_USER")), false, "never"),
        ("no primary", World::new().leaderless(), true, "waits None None"),
        ("not joined", World::new().with("S2", |replica| replica.copies.clear()), true, "waits None None"),
    ];
    for (name, world, strict, expected) in table {
        let word = match synchronized(&world.state(), strict).expect("one primary") {
            Progress::Holds(_) => "holds".to_owned(),
            Progress::Waits { behind_kb, rate_kb, .. } => format!("waits {behind_kb:?} {rate_kb:?}"),
            Progress::Never(_) => "never".to_owned(),
        };
        assert_eq!(word, expected, "{name}");
    }
}

#[test]
fn what_resuming_throws_away_is_told_only_where_it_is_known() {
    let recovered = |lsn: u128| {
        move |replica: &mut Replica| {
            replica.copies.iter_mut().filter(|copy| copy.local).for_each(|copy| copy.recovery = Some(lsn))
        }
    };
    let one = |world: World| {
        let paused = paused(&world.state(), &[]).expect("one primary");
        assert_eq!(paused.len(), 1, "{paused:?}");
        assert_eq!(paused[0].database, "db2");
        paused[0].thrown.clone()
    };
    let partner = || World::new().with("S2", suspend("SUSPEND_FROM_PARTNER"));
    let user = || World::new().with("S2", suspend("SUSPEND_FROM_USER"));
    assert_eq!(one(partner().with("S1", recovered(150))), Thrown::Log { above: 150, until: 200 });
    assert_eq!(one(partner().with("S1", recovered(200))), Thrown::Nothing);
    assert!(matches!(one(partner()), Thrown::Unknown(_)), "the primary gave no recovery point");
    assert_eq!(one(user().with("S1", recovered(300))), Thrown::Nothing);
    assert!(matches!(one(user().with("S1", recovered(150))), Thrown::Unknown(_)), "its log may be the primary's own");
    assert!(matches!(one(partner().silent("S1")), Thrown::Unknown(_)), "nobody to compare with");
    assert_eq!(paused(&World::new().state(), &[]).expect("none").len(), 0);
    assert_eq!(paused(&partner().state(), &["db1".to_owned()]).expect("none of these").len(), 0);
    assert_eq!(paused(&partner().state(), &["dbX".to_owned()]).expect_err("unknown").code, "BTN-0642");
}

#[test]
fn paused_copies_are_seen_from_both_sides_once() {
    let reported = |replica: &mut Replica| {
        for copy in replica.copies.iter_mut().filter(|copy| copy.replica == "S3" && copy.database == "db1") {
            copy.suspended = Some(true);
        }
    };
    let state = World::new().with("S2", suspend("SUSPEND_FROM_USER")).with("S1", reported).silent("S3").state();
    let names: Vec<(String, String)> =
        state.paused().into_iter().map(|(replica, database, _)| (replica, database)).collect();
    assert_eq!(names, [("S2".to_owned(), "db2".to_owned()), ("S3".to_owned(), "db1".to_owned())]);
}
