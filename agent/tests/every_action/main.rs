//! Every action that this agent knows: acted out twice, killed at each point between the journal and the effect, undone, acted out again; and
//! each time what is outside is compared with what it was.
//!
//! The rows are held against the product's own registry: an action without one fails the first test. Tasks are performed by the real executor over
//! a real journal, in a process of its own that ends by SIGKILL where it is told to ([`life`]).

#[path = "../log_shipping/world.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod instances;
#[path = "../slony/appliances.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod appliances;

use baton_agent::{host, policy, secrets};

/// Tests, each with the actions that it is for. A test is given their names, so that none can be listed and not be used. Those that wait for
/// servers most of their time are gone through side by side, as one.
macro_rules! rows {
    (side by side; $($test:ident($($action:literal),+);)+) => {
        pub const ROWS: &[&str] = &[$($($action),+),+];

        #[test]
        fn rows() {
            $crate::side_by_side(&[$((stringify!($test), || $crate::wait_for($test($($action),+)))),+]);
        }
    };
    ($($test:ident($($action:literal),+);)+) => {
        pub const ROWS: &[&str] = &[$($($action),+),+];

        mod rows {
            $(
                #[test]
                fn $test() {
                    $crate::wait_for(super::$test($($action),+));
                }
            )+
        }
    };
}

mod action;
mod agent;
mod cycle;
mod files;
mod groups;
mod life;
mod picture;
mod programs;
mod row;
mod services;
mod shipping;
mod slony;
mod sql;
mod waits;

use std::{collections::BTreeSet, future::Future, sync::Mutex, thread};

/// Of every family: what it has rows for.
fn rows() -> Vec<&'static str> {
    [files::ROWS, groups::ROWS, programs::ROWS, services::ROWS, shipping::ROWS, slony::ROWS, sql::ROWS, waits::ROWS]
        .concat()
}

/// A runtime for one row.
fn wait_for(row: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(row);
}

/// So many at once: they wait for servers most of their time, and a small machine bears so many servers.
const SIDE_BY_SIDE: usize = 3;

/// Each on a thread of its own, all of them to their end.
fn side_by_side(rows: &[(&'static str, fn())]) {
    let (next, failed) = (Mutex::new(rows.iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let Some(&(name, row)) = next.lock().expect("whole").next() else { return };
                    let thread = thread::Builder::new().name(name.to_owned()).spawn(row).expect("a thread");
                    if thread.join().is_err() {
                        failed.lock().expect("whole").push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("whole");
    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[test]
fn every_action_of_the_registry_has_a_row_and_every_row_an_action() {
    let registered: BTreeSet<&str> = baton_model::action::catalogue().iter().map(|entry| entry.name).collect();
    let with_a_row: BTreeSet<&str> = rows().into_iter().collect();
    let without: Vec<_> = registered.difference(&with_a_row).collect();
    assert!(without.is_empty(), "no row in agent/tests/every_action: {without:?}");
    let unknown: Vec<_> = with_a_row.difference(&registered).collect();
    assert!(unknown.is_empty(), "the agent does not know {unknown:?}");
}

/// Not a test: an agent's process, until it is done or dies (see [`life`]).
#[test]
#[ignore = "an agent's process, started by the tests"]
fn agent_life() {
    life::live();
}

/// Not a test: the process of one instance of SQL Server (see [`instances::World::start`]).
#[test]
#[ignore = "the process of one instance, started by the tests"]
fn instance_process() {
    instances::be_instance();
}
