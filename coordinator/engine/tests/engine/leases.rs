//! The role of a group with a lease moves when every host of the old primary has let go of it, and not before.

use std::collections::{BTreeMap, BTreeSet};

use baton_engine::{
    assign::{holders, part_of, surely_over},
    command::{Answer, Command, LeaseRule},
    state::{Phase, run::Verdict},
};
use baton_model::{
    assignment::Part,
    group::Lease,
    ids::{Epoch, RunId},
    time::Span,
};

use super::world::*;

fn leased() -> World {
    let mut world = World::new();
    let mut definition = definition(&["db1", "db2"]);
    let holders = BTreeMap::from([
        (name("db1"), BTreeSet::from([name("h1"), name("h2")])),
        (name("db2"), BTreeSet::from([name("h3")])),
    ]);
    let lease = Lease { lasts: Span::from_secs(10), stop_within: Span::from_secs(5) };
    definition.lease = Some(LeaseRule { lease, holders });
    let answer = world.tell(Command::DefineGroup { group: group(), definition });
    assert!(matches!(answer, Answer::Defined { .. }));
    world
}

fn end(world: &mut World, run: &RunId, index: u64, host: &str) -> Answer {
    let (step, how) = (baton_model::ids::StepId("1".to_owned()), "it said so".to_owned());
    world.tell(Command::EndLease { run: run.clone(), step, index, host: name(host), how })
}

fn part(world: &World, member: &str) -> Part {
    part_of(&world.state, &group(), &world.state.groups[&group()], Some(&name(member)))
}

#[test]
fn the_role_moves_when_every_host_of_the_old_primary_has_let_go() {
    let mut world = leased();
    assert_eq!((part(&world, "db1"), part(&world, "db2")), (Part::Primary, Part::Standby));
    let run = world.start(vec![vec![transfer("1", false)], vec![act("2", &["h3"])]]);
    assert_eq!(world.state.groups[&group()].epoch, Epoch(1), "nothing has moved");
    assert_eq!(part(&world, "db1"), Part::Yielding);
    let due = world.due();
    assert_eq!(due.leases.len(), 1);
    assert!(due.orders.is_empty(), "what comes after the transfer is not ordered before it");
    let index = due.leases[0].index;
    assert_eq!(due.leases[0].hosts, [name("h1"), name("h2")]);
    assert_eq!(end(&mut world, &run, index, "h1"), Answer::Done);
    assert_eq!(world.due().leases[0].hosts, [name("h2")]);
    assert_eq!(end(&mut world, &run, index, "h3"), Answer::Already, "h3 holds nothing of the old primary");
    assert_eq!(end(&mut world, &run, index + 1, "h2"), Answer::Already, "what was proven for another wait");
    assert_eq!(world.state.groups[&group()].epoch, Epoch(1));
    assert_eq!(end(&mut world, &run, index, "h2"), Answer::Done);
    assert_eq!(world.state.groups[&group()].epoch, Epoch(2));
    assert_eq!((part(&world, "db1"), part(&world, "db2")), (Part::Standby, Part::Primary));
    assert_eq!(world.due().orders.len(), 1);
}

#[test]
fn a_lease_that_does_not_end_halts_and_a_retry_waits_anew() {
    let mut world = leased();
    let run = world.start(vec![vec![transfer("1", false)]]);
    let index = world.due().leases[0].index;
    end(&mut world, &run, index, "h1");
    world.later(3600);
    assert!(world.due().leases[0].give_up);
    let (step, why) = (baton_model::ids::StepId("1".to_owned()), "h2 still runs it".to_owned());
    world.tell(Command::GiveUpLease { run: run.clone(), step, index, why });
    assert!(matches!(&world.run(&run).phase, Phase::Halted { why } if why.contains("h2 still runs it")));
    assert_eq!(part(&world, "db1"), Part::Primary, "the primary goes on while nobody knows better");
    world.retry(&run, None, None);
    let again = world.due().leases[0].clone();
    assert!(again.index > index);
    assert_eq!(again.hosts, [name("h1"), name("h2")], "what had ended was renewed meanwhile");
    assert_eq!(end(&mut world, &run, index, "h2"), Answer::Already);
    assert!(matches!(world.run(&run).steps[&again.step].verdict, Verdict::AwaitsLease { .. }));
}

#[test]
fn an_abort_while_it_waits_gives_the_lease_back_to_the_primary() {
    let mut world = leased();
    let run = world.start(vec![vec![undoable("0", &["h1"])], vec![transfer("1", false)]]);
    world.report(&run, "0@h1#1", baton_model::outcome::Outcome::Changed);
    let index = world.due().leases[0].index;
    assert_eq!(part(&world, "db1"), Part::Yielding);
    world.tell(Command::AbortRun { run: run.clone() });
    assert_eq!(part(&world, "db1"), Part::Primary, "before what undoes is ordered");
    assert!(world.due().leases.is_empty());
    assert_eq!(end(&mut world, &run, index, "h1"), Answer::Already);
    assert_eq!(end(&mut world, &run, index, "h2"), Answer::Already);
    assert_eq!(world.state.groups[&group()].epoch, Epoch(1));
}

#[test]
fn a_file_that_shortens_or_drops_a_lease_shortens_nothing_that_was_promised_before() {
    let mut world = leased();
    let before = surely_over(&world.state.groups[&group()]).expect("a lease");
    let mut shorter = world.state.groups[&group()].definition.clone();
    shorter.lease.as_mut().expect("a lease").lease.lasts = Span::from_secs(1);
    world.tell(Command::DefineGroup { group: group(), definition: shorter.clone() });
    assert_eq!(surely_over(&world.state.groups[&group()]), Some(before));
    let mut none = shorter.clone();
    none.lease = None;
    world.tell(Command::DefineGroup { group: group(), definition: none });
    assert_eq!(surely_over(&world.state.groups[&group()]), Some(before));
    let run = world.start(vec![vec![transfer("1", false)]]);
    let index = world.due().leases[0].index;
    assert_eq!(world.due().leases[0].hosts, [name("h1"), name("h2")], "they may hold what they were promised");
    end(&mut world, &run, index, "h1");
    end(&mut world, &run, index, "h2");
    assert_eq!(world.state.groups[&group()].epoch, Epoch(2));
    assert_eq!(surely_over(&world.state.groups[&group()]), None, "nothing was promised in this epoch");
    assert_eq!(holders(&world.state.groups[&group()]).count(), 0);
}
