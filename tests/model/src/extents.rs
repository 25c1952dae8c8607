//! The explorations by name: small ones, which a test does, and full ones, which take minutes.

use crate::{
    exploration::{Exploration, explore},
    lease::{self, Lease},
    orders::{self, Actions, Orders},
};

/// One exploration of the product as it is.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    pub name: &'static str,
    pub extent: Extent,
    /// Too large for a test.
    pub full: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum Extent {
    Orders(orders::Extent),
    Lease(lease::Extent),
}

impl Extent {
    pub fn explore(self) -> Exploration {
        match self {
            Extent::Orders(extent) => explore(Orders::new(extent)),
            Extent::Lease(extent) => explore(Lease::new(extent)),
        }
    }
}

/// What most begin with: one run, one change of leader, nothing that goes wrong.
pub const ORDERS: orders::Extent = orders::Extent {
    switch: orders::Switch::Whole,
    actions: Actions::Observed,
    terms: 2,
    twin: false,
    runs: 1,
    budget: orders::Budget { faults: 0, cuts: 0, words: 0, expiries: 0, left_out: 0 },
};

/// Long enough for a lease to be waited for and the other to serve, with a change of leader and a primary that falls silent.
pub const LEASE: lease::Extent = lease::Extent {
    switch: lease::Switch::Whole,
    ticks: 5,
    terms: 2,
    runs: 1,
    late_questions: false,
    budget: lease::Budget { crashes: 0, losses: 1, beats: [2, 1] },
};

/// All of them.
pub fn all() -> Vec<Named> {
    let budget = ORDERS.budget;
    let small = |name, extent| Named { name, extent: Extent::Orders(extent), full: false };
    let full = |name, extent| Named { name, extent: Extent::Orders(extent), full: true };
    let blind = orders::Extent { actions: Actions::Blind, ..ORDERS };
    let waited = |name, extent, full| Named { name, extent: Extent::Lease(extent), full };
    vec![
        small("orders-word", orders::Extent { budget: orders::Budget { words: 1, ..budget }, ..ORDERS }),
        small("orders-doubt", orders::Extent { budget: orders::Budget { faults: 1, expiries: 1, ..budget }, ..blind }),
        small(
            "orders-retry",
            orders::Extent { terms: 1, budget: orders::Budget { words: 2, expiries: 1, ..budget }, ..ORDERS },
        ),
        small("orders-twice", orders::Extent { runs: 2, ..ORDERS }),
        small(
            "orders-left-out",
            orders::Extent { budget: orders::Budget { left_out: 2, cuts: 1, ..budget }, ..ORDERS },
        ),
        small("orders-twin", orders::Extent { twin: true, ..ORDERS }),
        small("orders-leaders", orders::Extent { terms: 3, ..ORDERS }),
        waited("lease-silence", LEASE, false),
        waited(
            "lease-death",
            lease::Extent { terms: 1, budget: lease::Budget { crashes: 1, ..LEASE.budget }, ..LEASE },
            false,
        ),
        full(
            "orders-word-fault",
            orders::Extent { budget: orders::Budget { faults: 1, words: 1, ..budget }, ..ORDERS },
        ),
        full("orders-cut-fault", orders::Extent { budget: orders::Budget { faults: 1, cuts: 1, ..budget }, ..ORDERS }),
        full(
            "orders-left-out-word-fault",
            orders::Extent { budget: orders::Budget { left_out: 1, faults: 1, words: 1, ..budget }, ..ORDERS },
        ),
        full(
            "orders-words-fault",
            orders::Extent { terms: 1, budget: orders::Budget { faults: 1, words: 2, ..budget }, ..blind },
        ),
        waited(
            "lease-silence-death",
            lease::Extent { budget: lease::Budget { crashes: 1, losses: 1, beats: [2, 1] }, ..LEASE },
            true,
        ),
        waited("lease-late-questions", lease::Extent { late_questions: true, ..LEASE }, true),
    ]
}
